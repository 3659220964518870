"""Models that come with the package: folders as galaxy_jax.packed makes them, each with a model card."""
from pathlib import Path

#: The one that answers where no other is named.
DEFAULT = "simulated-gz2"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
  """What they are called."""
  return sorted(path.parent.name for path in _FOLDER.glob("*/config.json"))


def is_shipped(source: str | Path) -> bool:
  """Whether this is one of their names; a folder here that is called the same is meant instead."""
  return str(source) in names() and not Path(source).exists()


def folder(source: str | Path | None) -> Path:
  """The folder of a run, or of a model that comes with the package.

  Args:
    source: a workdir, the name of a shipped model, or None for DEFAULT.

  Raises:
    FileNotFoundError: it is neither.
  """
  source = DEFAULT if source is None else source
  if is_shipped(source):
    return _FOLDER / str(source)
  if not (Path(source) / "config.json").exists():
    raise FileNotFoundError(f"{source} is no run of galaxy_jax.main (it holds no config.json), and no model of that "
                            f"name comes with the package; there is {', '.join(names()) or 'none'}.")
  return Path(source)


def name_of(path: Path) -> str | None:
  """What a shipped model is called whose folder this is; None of others."""
  return path.name if path.parent == _FOLDER else None
