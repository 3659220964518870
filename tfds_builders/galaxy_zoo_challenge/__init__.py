"""The Galaxy Zoo challenge (Kaggle, 2013-2014) as a TFDS data set."""
