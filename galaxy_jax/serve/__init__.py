"""The web page where images of galaxies are dropped and what a model says of them is read; see `__main__`."""
