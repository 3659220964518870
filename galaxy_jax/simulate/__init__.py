"""Galaxies as the Sloan Digital Sky Survey sees them, and the volunteers who vote on them: keys in, arrays out.

`galaxy` makes one cut-out with votes, classes and outline, `scene` a field of many; both are pure jax and run under
jit and vmap on any device. What there is in the sky is `population`, what it looks like `light` and `profiles`, what
the telescope makes of it `instrument`, what people make of that `volunteers`.
"""
from galaxy_jax.simulate.cutout import galaxy
from galaxy_jax.simulate.field import scene
from galaxy_jax.simulate.population import MIXES
from tfds_builders.class_lists import FIVE_CLASSES, SCENE_CLASSES, TEN_CLASSES
from tfds_builders.class_lists import SIMULATED_KINDS as KINDS

#: Changes whenever the same key means another galaxy, so that data sets and runs know what made them.
VERSION = "2"

#: The classes that `galaxy` gives, by label.
CLASSES = {"five_class": FIVE_CLASSES, "ten_class": TEN_CLASSES, "kind": KINDS}

__all__ = ["CLASSES", "FIVE_CLASSES", "KINDS", "MIXES", "SCENE_CLASSES", "TEN_CLASSES", "VERSION", "galaxy", "scene"]
