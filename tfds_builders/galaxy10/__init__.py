"""Galaxy10, DECaLS and SDSS (Leung & Bovy), as a TFDS data set."""
