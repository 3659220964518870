"""Galaxy morphology in JAX: vote fractions, classes and outlines from images of galaxies.

Importing the package loads nothing heavy; each module says in its docstring what it is for.
"""
__version__ = "0.1.0"
