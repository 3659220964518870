"""The one exception for data that cannot be used as they are."""


class DataError(ValueError):
  """Source files or a prepared data set that cannot be used.

  The message is for people: the file, the row and the value found, what was expected, and the command that mends it.
  """


class MissingDataError(DataError):
  """Source files that are not there at all: where a caller has another way to get data, it may take it."""
