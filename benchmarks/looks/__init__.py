"""What the simulator's benchmarks share: sets of galaxies, statistics of images, judges, figures."""
