"""What a run's config means: its devices, its data, its task and its place on disk."""
import contextlib
import json
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from galaxy_jax import models, optim
from galaxy_jax.data import decode, sources
from galaxy_jax.files import write_json
from galaxy_jax.tasks import TASKS, Task
from tfds_builders.errors import MissingDataError
from tfds_builders.prepare import check_available, prepare

logger = logging.getLogger(__name__)

#: What config.data.source may be.
SOURCES = ("auto", "real", "simulated")

#: Keys that say where things lie or how often to report, not what is computed: a resumed run may change them. What
#: `simulated` changed is in the keys themselves.
FREE_KEYS = ("name", "simulated", "data.manual_dir", "data.data_dir", "data.cache_dir", "data.workers", "data.source",
             "data.loader", "data.skip_bad", "data.test", "train.steps_per_call", "train.log_every", "train.keep",
             "train.checkpoint_minutes", "eval.batch_size", "eval.checkpoint", "eval.rotations", "eval.flips",
             "eval.zooms")
#: Those of them that in the section `pretrain` do say what is computed: on what, and what of it the run starts from.
_BINDING_BEFORE = ("data.source", "eval.checkpoint")

#: What a run on simulated galaxies has at the end of its name.
_SIMULATED = ", simulated"
#: Bytes of a text that the first host tells the others.
_LONGEST = 4096

#: The keys of config.augment that are arguments of augment.affine_matrices, and those of augment.colour.
GEOMETRY = ("rotation", "zoom", "shift", "flip", "stretch")
COLOUR = ("brightness", "contrast", "saturation", "channel_gain", "pca_noise", "noise")


def make_task(config: ml_collections.ConfigDict, *, axis_name: str | None, all_views: bool) -> Task:
  """The config's task; `all_views`: predictions average over the test-time views, else there is the one upright."""
  if config.task not in TASKS:
    raise ValueError(f"config.task is {config.task!r}; expected one of {', '.join(TASKS)}.")
  model, augment = config.model, config.augment
  dtype = jnp.dtype(model.dtype)
  options = {key: tuple(value) if isinstance(value, list) else value for key, value in model.options.items()}
  views = config.eval if all_views else {"rotations": 1, "flips": False, "zooms": (1.0,)}
  return TASKS[config.task](
      model=lambda outputs: models.create(model.name, outputs=outputs, dtype=dtype, axis_name=axis_name, **options),
      output=model.output, loss=config.loss.name, size=augment.size, view=augment.view, working_size=config.data.size,
      greyscale=augment.greyscale, geometry={key: augment[key] for key in GEOMETRY},
      colour={key: augment[key] for key in COLOUR},
      **{key: views[key] for key in ("rotations", "flips", "zooms")})


#: What numbers a key may have, where a slip of the hand would train without a word.
RANGES = {
    "seed": (0, 2**31 - 1), "data.crop": (0, None), "data.size": (2, None), "data.workers": (0, None),
    "augment.size": (1, None), "augment.view": (0.01, 1), "augment.rotation": (0, 360), "augment.zoom": (1, None),
    "augment.stretch": (1, None), "augment.shift": (0, 1), "optimizer.learning_rate": (0, None),
    "optimizer.warmup": (0, 0.999), "optimizer.weight_decay": (0, None), "optimizer.clip": (0, None),
    "train.epochs": (0, None), "train.steps": (0, None), "train.steps_per_call": (0, None), "train.ema": (0, 0.999999),
    "train.log_every": (1, None), "train.eval_every": (1e-6, 1), "train.keep": (1, None), "train.patience": (0, None),
    "eval.rotations": (1, None), "simulator.quality": (0, 100), "simulator.epoch": (1, None),
}


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """A copy with paths absolute and `auto` decided where it changes results; checks the ranges.

  Raises:
    ValueError: a number out of its range, an unknown dtype, source or checkpoint, or two beginnings.
  """
  config = config.copy_and_resolve_references()
  for key, (low, high) in RANGES.items():
    value = config
    for name in key.split("."):
      value = value[name]
    if not (low <= value and (high is None or value <= high)):
      raise ValueError(f"config.{key} is {value}; expected at least {low}" + (f" and at most {high}." if high else "."))
  if config.data.source not in SOURCES:
    raise ValueError(f"config.data.source is {config.data.source!r}; expected {', '.join(SOURCES)}.")
  if config.init_from and config.pretrain.train.steps:
    raise ValueError("Both config.init_from and config.pretrain.train.steps say where the run's first parameters come "
                     "from; leave one of them out.")
  if config.eval.checkpoint not in ("latest", "best") and not config.eval.checkpoint.isdigit():
    raise ValueError(f"config.eval.checkpoint is {config.eval.checkpoint!r}; expected 'latest', 'best' or a step.")
  for section, key in (("data", "manual_dir"), ("data", "data_dir"), ("data", "cache_dir"), (None, "init_from")):
    keys = config[section] if section else config
    if keys[key]:
      keys[key] = str(Path(keys[key]).expanduser().absolute())
  if config.model.dtype == "auto":
    config.model.dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
  if config.model.dtype not in ("float32", "bfloat16"):
    raise ValueError(f"config.model.dtype is {config.model.dtype!r}; expected 'auto', 'float32' or 'bfloat16'.")
  return config


def changed(config: ml_collections.ConfigDict, section: str) -> ml_collections.ConfigDict:
  """A copy of the config with those keys changed that one of its sections, `simulated` or `pretrain`, gives.

  Raises:
    ValueError: the section has a key that the config does not have, or of another type.
  """
  result = config.copy_and_resolve_references()

  def change(into, values, prefix):
    for key, value in values.items():
      if key not in into:
        raise ValueError(f"config.{section}.{prefix}{key} changes config.{prefix}{key}, which there is not.")
      if isinstance(value, ml_collections.ConfigDict):
        change(into[key], value, f"{prefix}{key}.")
        continue
      try:
        into[key] = value
      except TypeError as error:
        raise ValueError(f"config.{section}.{prefix}{key} is {value!r}; config.{prefix}{key} is "
                         f"{into[key]!r}.") from error

  change(result, config[section], "")
  return result


def with_data(config: ml_collections.ConfigDict,
              explicit: dict[str, Any]) -> tuple[ml_collections.ConfigDict, str | None]:
  """The config as it can run with the data there are.

  Without real data, and without a folder or a promise (data.source 'real') that there are any, it becomes the simulated
  run that its section `simulated` describes; with data.source 'simulated' its data alone do, to have something to
  evaluate on. A run on simulated galaxies says so in its name.

  Args:
    config: the experiment.
    explicit: keys ("train.epochs") and values that the user gave, which stay.

  Returns:
    The config; and the lines that say how to get real data, where they are missing, else None.
  """
  source, missing = config.data.source, None
  result = config.copy_and_resolve_references()
  if source != "real" and not config.data.manual_dir and not is_simulated(config.data.builder):
    missing = _first_hosts(_how_to_get(config)) or None
    if missing:
      simulated = changed(config, "simulated")
      if source == "simulated":
        result.data = simulated.data
      else:
        result = simulated
      result.update_from_flattened_dict({key: value for key, value in explicit.items() if key != "data.builder"})
  if trains_on_simulated(result):
    result.name += _SIMULATED
  return result, missing


def _how_to_get(config: ml_collections.ConfigDict) -> str:
  """The lines that say how to get the config's real data, where they are missing; else an empty string."""
  try:
    check_available(config.data.builder, data_dir=config.data.data_dir or None)
  except MissingDataError as error:
    return str(error).partition("\n")[2] or str(error)
  return ""


def _first_hosts(text: str) -> str:
  """The text of the first of all hosts: each sees a disk of its own, and they are one run."""
  if jax.process_count() == 1:
    return text
  padded = text.encode()[:_LONGEST].ljust(_LONGEST, b"\0")
  told = multihost_utils.broadcast_one_to_all(np.frombuffer(padded, np.uint8))
  return told.astype(np.uint8).tobytes().rstrip(b"\0").decode(errors="ignore")


def is_simulated(builder: str) -> bool:
  """Whether a builder's galaxies come from the simulator."""
  return builder.partition("/")[0] == "galaxy_sim"


def trains_on_simulated(config: ml_collections.ConfigDict) -> bool:
  """Whether a run trains on galaxies of the simulator, fresh or stored."""
  return config.data.source == "simulated" or is_simulated(config.data.builder)


def pretraining(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The config of the run that comes before a run, as its section `pretrain` describes.

  Raises:
    ValueError: as `changed`.
  """
  before = changed(config, "pretrain")
  before.name = before.name.removesuffix(_SIMULATED) + ", pre-training" + _SIMULATED * trains_on_simulated(before)
  before.pretrain.train.steps = 0
  return before


def make_optimizer(config: ml_collections.ConfigDict, steps: int):
  """The config's optimiser and its learning rate by step, for a run of `steps`."""
  o = config.optimizer
  schedule = optim.learning_rate_schedule(o.schedule, peak=o.learning_rate, steps=steps, milestones=o.milestones,
                                          warmup_steps=round(o.warmup * steps), factor=o.factor)
  transformation = optim.optimizer(o.name, schedule, weight_decay=o.weight_decay, clip=o.clip, momentum=o.momentum,
                                   b2=o.b2)
  return transformation, schedule


def open_dataset(config: ml_collections.ConfigDict):
  """The config's data set, built on first use: a TFDS builder.

  Raises:
    ValueError: real galaxies are asked for, or files given, and the data set is simulated; or as `prepare`.
  """
  d = config.data
  if d.source == "real" and is_simulated(d.builder):
    raise ValueError(f"config.data.source is 'real', but config.data.builder is {d.builder!r}, whose galaxies are "
                     "simulated.")
  if d.manual_dir and is_simulated(d.builder):
    raise ValueError(f"The files in {d.manual_dir} are not those of the data set {d.builder}, which is simulated. Name "
                     "the data set that is made of them too: config.data.builder, or --builder of galaxy_jax.evaluate.")
  with _first_host_first(f"data set {d.builder}"):
    return prepare(d.builder, manual_dir=d.manual_dir or None, data_dir=d.data_dir or None, skip_bad=d.skip_bad,
                   progress=jax.process_index() == 0)


def open_split(config: ml_collections.ConfigDict, builder, split: str) -> decode.Decoded:
  """A split's decoded pixels and labels, from the cache where they are there already."""
  d = config.data
  with _first_host_first(f"pixels of {split}"):
    return decode.decoded(
        sources.split_source(builder, split), crop=d.crop or None, size=d.size, workers=d.workers or None,
        progress=jax.process_index() == 0,
        cache_dir=d.cache_dir or Path(builder.data_dir) / "decoded", key=sources.fingerprint(builder, split))


@contextlib.contextmanager
def _first_host_first(what: str) -> Iterator[None]:
  """Lets the other hosts in after the first is through: on a shared file system they find its work done."""
  several = jax.process_count() > 1
  if several and jax.process_index() > 0:
    multihost_utils.sync_global_devices(what)
  yield
  if several and jax.process_index() == 0:
    multihost_utils.sync_global_devices(what)


def has_split(builder, split: str) -> bool:
  """Whether the data set has the split: that of a `split[...]` expression or a sum of them."""
  return all(part.split("[")[0].strip() in builder.info.splits for part in split.split("+"))


def check_labelled(builder, split: str, labels: Sequence[str]) -> None:
  """Refuses a split without labels, such as a competition's test split; some of its galaxies may lack theirs.

  Raises:
    ValueError: no galaxy has a label, or the data set does not have them at all.
  """
  if absent := [name for name in labels if name not in builder.info.features]:
    raise ValueError(f"{builder.info.full_name} has no {' and no '.join(absent)} to learn from; it has "
                     f"{', '.join(builder.info.features)}. galaxy_jax trains on vote fractions; "
                     "python -m galaxy_jax.evaluate predicts them for images without.")
  source = sources.split_source(builder, split)
  if all(np.all(np.isnan(record[name])) for record in source for name in labels):
    raise ValueError(f"The split {split!r} of {builder.info.full_name} has no labels: it can be predicted "
                     "(config.data.test), but neither trained nor evaluated on.")


def claim_workdir(workdir: Path, config: ml_collections.ConfigDict, data: dict[str, dict], *, begun: bool) -> None:
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
    theirs, their_data = (json.loads((workdir / name).read_text()) for name in ("config.json", "data.json"))
    different = differing_keys(theirs, mine) + differing_keys(their_data, data, start="data of split ")
    if different:
      galaxies = ["simulated" if is_simulated(c["data"]["builder"]) else "real" for c in (theirs, mine)]
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
  return ml_collections.ConfigDict(json.loads(path.read_text()))


def hardware() -> str:
  """The accelerators, or processors, in words."""
  devices = jax.devices()
  kind = devices[0].device_kind if devices[0].platform != "cpu" else f"CPU {platform.machine()}, {os.cpu_count()} cores"
  return f"{len(devices)} × {kind}" if len(devices) > 1 else kind


def count_parameters(params: Any) -> int:
  """How many numbers a tree of parameters holds."""
  return int(sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params)))
