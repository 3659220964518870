"""Galaxy Zoo 2 (Willett et al. 2013, Hart et al. 2016) as a TFDS data set."""
