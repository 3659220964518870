"""Libraries that only some data sets need, imported where they are."""
import importlib
from types import ModuleType

from tfds_builders.errors import DataError


def load(module: str, *, extra: str, purpose: str) -> ModuleType:
  """Imports a module of one of the package's extras.

  Args:
    module: its name, "astropy.wcs" for instance.
    extra: of galaxy_jax, that installs it.
    purpose: what it is needed for, to begin a sentence.

  Raises:
    DataError: it is not installed; with the command that installs it.
  """
  try:
    return importlib.import_module(module)
  except ImportError:
    raise DataError(f"{purpose} needs {module.partition('.')[0]}: pip install 'galaxy_jax[{extra}]'.") from None
