"""Finding and outlining objects: pure functions on arrays, with static shapes and masks for what is padding.

Coordinates are pixels throughout, y before x, and pixel i reaches from i to i + 1: its centre is at i + 0.5. A box is
y0, x0, y1, x1 with its ends outside, so that its height is y1 - y0, without the +1 that some code has.
"""
