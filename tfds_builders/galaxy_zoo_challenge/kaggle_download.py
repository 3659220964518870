"""Fetches the competition's files with the official `kaggle` client, for users who have its credentials."""
import os
import tempfile
from pathlib import Path

from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge.kaggle_files import COMPETITION, how_to_get


def has_credentials() -> bool:
  """Whether the `kaggle` client would find credentials: in the environment or in its own folder."""
  if os.environ.get("KAGGLE_API_TOKEN") or (os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY")):
    return True
  folders = [Path("~/.kaggle").expanduser(), Path("~/.config/kaggle").expanduser()]
  if os.environ.get("KAGGLE_CONFIG_DIR"):
    folders.insert(0, Path(os.environ["KAGGLE_CONFIG_DIR"]))
  return any((folder / name).is_file() for folder in folders for name in ("kaggle.json", "access_token"))


def download(manual_dir, *, progress: bool = True) -> None:
  """Downloads the competition's files, about 2 GB in one zip, into a folder.

  Args:
    manual_dir: the folder, made if needed. The zip appears there when it is complete.
    progress: let the client show its progress.

  Raises:
    DataError: the client is not installed, or Kaggle refuses; for instance, the rules have not been accepted.
  """
  manual_dir = Path(manual_dir)
  try:
    # The client looks for credentials when imported, and older ones leave the process where there are none.
    from kaggle import api
    api.authenticate()
  except ImportError:
    raise DataError("There are Kaggle credentials but no client to download with: pip install 'galaxy_jax[kaggle]'. Or "
                    f"get the files by hand. {how_to_get(manual_dir)}") from None
  except (Exception, SystemExit) as error:
    raise DataError(f"Kaggle's client does not accept the credentials ({_reason(error)}). Make a new token at "
                    f"https://www.kaggle.com/settings, or get the files by hand. {how_to_get(manual_dir)}") from None
  manual_dir.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=manual_dir, prefix=".download_") as folder:
    try:
      api.competition_download_files(COMPETITION, path=folder, quiet=not progress)
      os.replace(Path(folder, f"{COMPETITION}.zip"), manual_dir / f"{COMPETITION}.zip")
    except (Exception, SystemExit) as error:
      raise DataError(f"The download from Kaggle failed ({_reason(error)}). {how_to_get(manual_dir)}") from None


def _reason(error: BaseException) -> str:
  lines = str(error).strip().splitlines()
  return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
