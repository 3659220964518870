"""A user's own survey as a TFDS data set: a table and images, described by a settings file."""
