"""From a prepared dataset to batches: the same rows, pixels and order however they are delivered.

`sources` gives records by index, `decode` turns their bytes into pixels (kept by `cache`), `order` says which rows
batch t holds, and `resident` and `stream` deliver them: from the accelerators' memory, or decoded on the way.
"""
