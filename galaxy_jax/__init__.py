"""Galaxy morphology in JAX: vote fractions, classes and outlines from images of galaxies.

  import galaxy_jax
  table = galaxy_jax.load().predict(["a.jpg", "b.jpg"])

Importing the package loads nothing heavy; each module says in its docstring what it is for.
"""
__version__ = "0.1.0"


def __getattr__(name):
  if name == "load":
    from galaxy_jax.api import load
    return load
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
