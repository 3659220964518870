"""What a search may try: the ranges and choices of a config's section `search`, checked."""
import sys
from typing import Any, NamedTuple

import ml_collections


class Setting(NamedTuple):
  """What a key of the config may be: a range of numbers, even or in the logarithm, or one of some values.

  `values` are a range's two ends, both whole numbers (int) where all in it are and float elsewhere, or the choices.
  """
  kind: str
  values: tuple

  @property
  def whole(self) -> bool:
    """Whether it is a range of whole numbers."""
    return self.kind != "choice" and isinstance(self.values[0], int)

  @property
  def examples(self) -> tuple:
    """What stands for all of it in a check: its values; of whole numbers two neighbours too, which share no divisor."""
    return tuple(sorted({*self.values, self.values[0] + 1})) if self.whole else self.values

  def of(self, tried: Any) -> Any:
    """The config's value for what Optuna tries, which for a choice is the value's label."""
    return next(v for v in self.values if label(v) == tried) if self.kind == "choice" else tried


def space(config: ml_collections.ConfigDict) -> dict[str, Setting]:
  """The settings that a config's section `search` names, by their keys, "optimizer.learning_rate" for instance.

  Raises:
    ValueError: there are none, or one is no key of the config or no range that the key can have.
  """
  result = {}
  for key, given in _leaves(config.search):
    what = f"config.search.{key} is {given!r}"
    try:
      ours = at(config, key)
    except (KeyError, TypeError) as error:
      raise ValueError(f"config.search.{key} is for config.{key}, which there is not.") from error
    if isinstance(ours, ml_collections.ConfigDict):
      raise ValueError(f"config.search.{key} is for config.{key}, which is a whole section; name one of its keys, "
                       f"config.search.{key}.{next(iter(ours), 'KEY')} for instance.")
    kind, *values = given if isinstance(given, (tuple, list)) and given else ("",)
    if kind == "choice":
      values = tuple(tuple(value) if isinstance(value, list) else value for value in values)
      if len({label(value) for value in values}) < max(1, len(values)):
        raise ValueError(f"{what}; expected ('choice', value, …) with different values.")
    elif kind in ("uniform", "log"):
      if not _is_range(values) or (kind == "log" and values[0] <= 0):
        raise ValueError(f"{what}; expected ('{kind}', lowest, highest), two finite numbers, the lower one first"
                         + (", both above 0." * (kind == "log") or "."))
      whole = isinstance(ours, int) and not isinstance(ours, bool)
      if whole and any(value != int(value) for value in values):
        raise ValueError(f"{what}, but config.{key} is {ours}, a whole number; expected ('{kind}', lowest, highest), "
                         "both whole numbers too.")
      values = map(int if whole else float, values)
    else:
      raise ValueError(f"{what}; expected ('uniform', lowest, highest), ('log', lowest, highest) or "
                       "('choice', value, …).")
    result[key] = Setting(kind, tuple(values))
  if not result:
    raise ValueError("config.search names no settings to try; configs/morph5_vgg16.py does, for instance.")
  return result


def _is_range(values):
  """Whether these are the two ends of a range that can be drawn from: its width must be a finite number too."""
  numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
  return numbers and len(values) == 2 and values[0] < values[1] and values[1] - values[0] <= sys.float_info.max


def _leaves(section, prefix=""):
  """("optimizer.name", value), … of a nested section."""
  for key, value in section.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def at(config: ml_collections.ConfigDict, key: str) -> Any:
  """The config's value at "optimizer.name", for instance; raises KeyError."""
  for name in key.split("."):
    config = config[name]
  return config


def label(value: Any) -> Any:
  """A value as Optuna stores a choice: several as one text."""
  return ("+".join(map(str, value)) or "none") if isinstance(value, tuple) else value
