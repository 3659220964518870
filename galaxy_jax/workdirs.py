"""A run's place on disk: whose it is, and with which config and data it was made."""
import json
from pathlib import Path
from typing import Any

import jax
import ml_collections

from galaxy_jax import experiment
from galaxy_jax.configs import base
from galaxy_jax.files import write_json

#: Keys that say where things lie and what else there might be. What `simulated` changed is in the keys themselves.
PLACES = ("name", "simulated", "search", "data.manual_dir", "data.data_dir", "data.cache_dir", "data.workers",
          "data.skip_bad")
#: Those and others that say how often to report or how to evaluate, not what is trained: a resumed run may change them.
FREE_KEYS = (*PLACES, "data.source", "data.loader", "data.test", "train.steps_per_call", "train.log_every",
             "train.keep", "train.checkpoint_minutes", "eval.batch_size", "eval.checkpoint", "eval.rotations",
             "eval.flips", "eval.zooms")
#: Those of them that in the section `pretrain` do say what is computed: on what, and what of it the run starts from.
_BINDING_BEFORE = ("data.source", "eval.checkpoint")


def claim(workdir: Path, config: ml_collections.ConfigDict, data: dict[str, dict], *, begun: bool) -> None:
  """Makes the workdir this run's, or refuses one that holds another run.

  Args:
    workdir: `config.json` and `data.json` in it say whose it is.
    config: the resolved config.
    data: fingerprints of the data by split.
    begun: whether the workdir holds checkpoints; without one there is nothing to protect.

  Raises:
    ValueError: the workdir's config or data differ; the message lists the keys.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  mine = json.loads(config.to_json())
  if begun:
    theirs, their_data = json.loads(read_config(workdir).to_json()), json.loads((workdir / "data.json").read_text())
    # A section that an experiment's file replaced may lack keys, in both.
    defaults = json.loads(base.get_config().to_json())
    different = (differing_keys(theirs, _completed(mine, defaults))
                 + differing_keys(their_data, data, start="data of split "))
    if different:
      galaxies = ["simulated" if experiment.is_simulated(c["data"]["builder"]) else "real" for c in (theirs, mine)]
      raise ValueError(f"{workdir} holds a run that differs from this one"
                       + ("" if len(set(galaxies)) == 1 else ", on {} galaxies instead of {} ones".format(*galaxies))
                       + ":\n  " + "\n  ".join(different)
                       + "\nChoose another --workdir, or give the run's own settings to go on with it.")
  if jax.process_index() == 0:
    write_json(workdir / "data.json", data)
    write_json(workdir / "config.json", mine)


def differing_keys(theirs: dict, mine: dict, start: str = "config.", prefix: str = "") -> list[str]:
  """Lines `config.key: theirs there, mine now` for every key that matters and differs."""
  lines = []
  for key in sorted(theirs.keys() | mine.keys()):
    path = f"{prefix}{key}"
    a, b = theirs.get(key), mine.get(key)
    if is_free(path):
      continue
    if isinstance(a, dict) and isinstance(b, dict):
      lines += differing_keys(a, b, start, f"{path}.")
    elif a != b:
      lines.append(f"{start}{path}: {a!r} there, {b!r} now")
  return lines


def is_free(key: str) -> bool:
  """Whether a resumed run may change a key, of the config or of its section `pretrain`."""
  before = key.removeprefix("pretrain.")
  return before in FREE_KEYS and not (before != key and before in _BINDING_BEFORE)


def read_config(workdir: Path) -> ml_collections.ConfigDict:
  """The config that a workdir was made with.

  Raises:
    FileNotFoundError: there is no run.
  """
  path = Path(workdir) / "config.json"
  if not path.exists():
    raise FileNotFoundError(f"{workdir} holds no run: config.json is missing. Give the --workdir of a run of "
                            "galaxy_jax.main.")
  return ml_collections.ConfigDict(_completed(json.loads(path.read_text()), base.get_config().to_dict()))


def _completed(theirs: dict, defaults: dict) -> dict:
  """A config with the keys that were not there yet when its run was made, at their defaults."""
  result = defaults | theirs
  for key in defaults.keys() & theirs.keys():
    if isinstance(defaults[key], dict) and isinstance(theirs[key], dict):
      result[key] = _completed(theirs[key], defaults[key])
  return result


def settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a config says of a run, as flat keys ("optimizer.name") and JSON values; without PLACES."""
  def flat(part, prefix=""):
    for key, value in part.items():
      if f"{prefix}{key}" in PLACES:
        continue
      if isinstance(value, dict) and value:
        yield from flat(value, f"{prefix}{key}.")
      else:
        yield f"{prefix}{key}", value
  return dict(flat(json.loads(config.to_json())))


def read_classes(workdir: Path) -> tuple[str, ...] | None:
  """The names of the classes that a run learnt, None where it learns none; `train` leaves them beside its config.

  Raises:
    FileNotFoundError: the run never began.
  """
  path = Path(workdir) / "data.json"
  if not path.exists():
    raise FileNotFoundError(f"{workdir} holds no run: data.json is missing. Give the --workdir of a run of "
                            "galaxy_jax.main.")
  classes = json.loads(path.read_text())["train"].get("classes")
  return None if classes is None else tuple(classes)
