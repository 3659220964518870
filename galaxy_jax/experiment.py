"""What a run's config means: its task, its optimiser, and what becomes of it without data."""
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from galaxy_jax import models, optim, pretrained, shipped
from galaxy_jax.data import vote_labels
from galaxy_jax.pretrained import detectors
from galaxy_jax.tasks import TASKS, Task
from tfds_builders.errors import MissingDataError
from tfds_builders.prepare import check_available

#: What config.data.source may be.
SOURCES = ("auto", "real", "simulated")

#: What a run on simulated galaxies has at the end of its name.
_SIMULATED = ", simulated"
#: Bytes of a text that the first host tells the others.
_LONGEST = 4096

#: The keys of config.augment that are arguments of augment.affine_matrices, and those of augment.colour.
GEOMETRY = ("rotation", "zoom", "shift", "flip", "stretch", "rotation_step")
COLOUR = ("brightness", "contrast", "saturation", "channel_gain", "pca_noise", "noise")
#: And of mixing.mix.
MIXTURES = ("mixup", "cutmix")


#: The arguments that only one task takes, from the config, the classes' names and how many galaxies are in each.
_OWN_ARGUMENTS = {
    "votes": lambda config, names, counts: {
        "output": config.model.output, "loss": config.loss.name,
        "conditional": config.data.target in vote_labels.CONDITIONAL,
        "mixed": {key: config.augment[key] for key in MIXTURES}},
    "classes": lambda config, names, counts: {
        "names": names, "label": config.data.label, "counts": counts, "loss": config.loss.name,
        "label_smoothing": config.loss.label_smoothing, "focal_gamma": config.loss.focal_gamma,
        "class_weights": config.loss.class_weights, "head_bias": config.model.head_bias,
        "mixed": {key: config.augment[key] for key in MIXTURES}},
    "instances": lambda config, names, counts: {
        "names": names, "slots": config.data.max_instances, "loss": config.loss.name,
        "label_smoothing": config.loss.label_smoothing,
        "loss_weights": tuple(config.detection.loss_weights), "anchor_samples": dict(config.detection.anchors),
        "region_samples": dict(config.detection.regions)},
}


def views(config: ml_collections.ConfigDict) -> int:
  """How many test-time views a prediction averages."""
  return config.eval.rotations * (2 if config.eval.flips else 1) * len(config.eval.zooms)


def make_task(config: ml_collections.ConfigDict, *, axis_name: str | None, all_views: bool,
              classes: Sequence[str] | None = None, counts: Sequence[int] | None = None) -> Task:
  """The config's task.

  Args:
    config: resolved.
    axis_name: the pmapped axis, or None.
    all_views: predictions average over the test-time views; else there is the one upright.
    classes: the names of the data set's classes, see datasets.class_names. None while there is no data set yet: two
      unnamed ones stand for them, so that the settings can be looked at.
    counts: see datasets.class_counts; None where nothing is trained.

  Raises:
    ValueError: a setting that the task does not take.
  """
  if config.task not in TASKS:
    raise ValueError(f"config.task is {config.task!r}; expected one of {', '.join(TASKS)}.")
  model, augment = config.model, config.augment
  if finds_instances(config) and mixes(config):
    raise ValueError("config.augment.mixup and config.augment.cutmix are for votes and classes; leave them at 0.")
  dtype = jnp.dtype(model.dtype)
  options = {key: tuple(value) if isinstance(value, list) else value for key, value in model.options.items()}
  seen_from = config.eval if all_views else {"rotations": 1, "flips": False, "zooms": (1.0,)}
  still = ("all",) if config.optimizer.frozen_norms else tuple(config.optimizer.frozen)
  common = {"dtype": dtype, "axis_name": axis_name, "still": still, **options}
  if finds_instances(config):
    network = lambda outputs: models.create_detector(model.name, classes=outputs, **common)
  else:
    network = lambda outputs: models.create(model.name, outputs=outputs, **common)
  return TASKS[config.task](
      model=network,
      **_OWN_ARGUMENTS[config.task](config, ("", "") if classes is None else tuple(classes), counts),
      size=augment.size, view=augment.view, working_size=config.data.size,
      greyscale=augment.greyscale, normalise=augment.normalise, geometry={key: augment[key] for key in GEOMETRY},
      colour={key: augment[key] for key in COLOUR},
      **{key: seen_from[key] for key in ("rotations", "flips", "zooms")})


def finds_instances(config: ml_collections.ConfigDict) -> bool:
  """Whether the config's task is to find objects in images, instead of saying something of the whole."""
  return config.task == "instances"


def mixes(config: ml_collections.ConfigDict) -> bool:
  """Whether the config's galaxies are mixed in training."""
  return any(config.augment[key] for key in MIXTURES)


#: What numbers a key may have, where a slip of the hand would train without a word.
RANGES = {
    "seed": (0, 2**31 - 1), "data.crop": (0, None), "data.size": (2, None), "data.workers": (0, None),
    "augment.size": (1, None), "augment.view": (0.01, 1), "augment.rotation": (0, 360), "augment.zoom": (1, None),
    "augment.rotation_step": (0, 360), "augment.stretch": (1, None), "augment.shift": (0, 1),
    "augment.mixup": (0, None), "augment.cutmix": (0, None),
    "loss.label_smoothing": (0, 0.999), "loss.focal_gamma": (0, None), "optimizer.learning_rate": (0, None),
    "optimizer.warmup": (0, 0.999), "optimizer.weight_decay": (0, None), "optimizer.clip": (0, None),
    "optimizer.layer_decay": (0.01, 1),
    "train.epochs": (0, None), "train.steps": (0, None), "train.steps_per_call": (0, None), "train.ema": (0, 0.999999),
    "train.log_every": (1, None), "train.eval_every": (1e-6, 1), "train.keep": (1, None), "train.patience": (0, None),
    "eval.rotations": (1, None), "simulator.quality": (0, 100), "simulator.epoch": (1, None),
    "loss.volunteers": (1, None), "data.repeat_rare": (0, 1), "data.max_instances": (1, 1000),
    "detection.anchors.num_samples": (1, None), "detection.anchors.positive_share": (0, 1),
    "detection.regions.num_samples": (1, None), "detection.regions.positive_share": (0, 1),
}


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """A copy with paths absolute and `auto` decided where it changes results; checks the ranges.

  Raises:
    ValueError: a number out of its range, an unknown dtype, source, target or checkpoint, published weights of another
      kind, or two beginnings.
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
  if config.data.target not in vote_labels.TARGETS:
    raise ValueError(f"config.data.target is {config.data.target!r}; expected {', '.join(vote_labels.TARGETS)}.")
  beginnings = [key for key, given in (
      ("config.init_from", config.init_from), ("config.model.pretrained", config.model.pretrained),
      ("config.pretrain.train.steps", config.pretrain.train.steps)) if given]
  if len(beginnings) > 1:
    raise ValueError(f"Both {' and '.join(beginnings)} say where the run's first parameters come from; leave one of "
                     "them out: --config.init_from= takes away the model that a config starts from by default.")
  if config.eval.checkpoint not in ("latest", "best") and not config.eval.checkpoint.isdigit():
    raise ValueError(f"config.eval.checkpoint is {config.eval.checkpoint!r}; expected 'latest', 'best' or a step.")
  for section, key in (("data", "manual_dir"), ("data", "data_dir"), ("data", "cache_dir"), (None, "init_from")):
    keys = config[section] if section else config
    if keys[key] and not (key == "init_from" and shipped.is_shipped(keys[key])):
      keys[key] = str(Path(keys[key]).expanduser().absolute())
  if config.model.pretrained:
    if finds_instances(config):
      detectors.check(config.model.pretrained)
    else:
      pretrained.check(config.model.pretrained, config.model.name)
    if detectors.is_path(config.model.pretrained):
      config.model.pretrained = str(Path(config.model.pretrained).expanduser().absolute())
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

  Raises:
    ValueError: the user names a folder of published files that is not there, or that lacks them.
  """
  # With a build that is finished the files are not needed: a slip would train on other galaxies without a word.
  named = explicit.get("data.manual_dir")
  if named and jax.process_index() == 0 and not is_simulated(config.data.builder):
    remedy = "Where the data set is built already, leave config.data.manual_dir out."
    if not Path(named).expanduser().is_dir():
      raise ValueError(f"config.data.manual_dir is {named}, and there is no such folder. {remedy}")
    try:
      check_available(config.data.builder, manual_dir=named, data_dir=config.data.data_dir or None)
    except MissingDataError as error:
      raise MissingDataError(f"{error} {remedy}") from error
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


def galaxy_origins(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Whether a run's galaxies are real or simulated, those it was `trained_on` and those it is `evaluated_on`."""
  simulated = {"trained_on": trains_on_simulated(config),
               "evaluated_on": is_simulated(config.data.builder)}
  origins = {use: "simulated" if is_so else "real" for use, is_so in simulated.items()}
  before = (shipped.is_shipped(config.init_from) if config.init_from else
            bool(config.pretrain.train.steps) and trains_on_simulated(pretraining(config)))
  if before and origins["trained_on"] == "real":
    origins["trained_on"] = "simulated, then real"
  return origins


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
                                   b2=o.b2, layer_decay=o.layer_decay, frozen=tuple(o.frozen))
  return transformation, schedule


def hardware() -> str:
  """The accelerators, or processors, in words."""
  devices = jax.devices()
  kind = devices[0].device_kind if devices[0].platform != "cpu" else f"CPU {platform.machine()}, {os.cpu_count()} cores"
  return f"{len(devices)} × {kind}" if len(devices) > 1 else kind


def count_parameters(params: Any) -> int:
  """How many numbers a tree of parameters holds."""
  return int(sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params)))
