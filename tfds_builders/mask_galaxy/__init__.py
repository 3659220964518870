"""Galaxies of the Sloan Digital Sky Survey with outlines and classes, as mask_galaxy has them, as a TFDS data set."""
