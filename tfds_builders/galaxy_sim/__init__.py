"""Simulated galaxies with simulated votes, and fields of them, as a TFDS data set."""
