"""First variables of a run that are not random ones: those of another run, or published ones."""
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from galaxy_jax import evaluation, experiment, pretrained, shipped, workdirs
from galaxy_jax.checkpoint import check_shapes
from galaxy_jax.models import fpn, mask_rcnn, stage_of, stages
from galaxy_jax.parallel import Parallel
from galaxy_jax.pretrained import detectors, files
from galaxy_jax.tasks import Task

logger = logging.getLogger(__name__)


def of_run(workdir: str | Path, *, task: Task, classes: Sequence[str] | None, wanted: Any, parallel: Parallel,
           seed: int) -> dict:
  """The variables with which another run predicts; with a random head where it predicts something else.

  The head of a run on votes stays for votes, whatever config.model.output makes of its outputs: the winner of the
  challenge went from clipped to normalised ones that way.

  Args:
    workdir: the other run's, or the name of a model that comes with the package.
    task: the new run's.
    classes: the names of the new run's classes, None where it has none. Other names, or the same in another order, are
      something else.
    wanted: the tree of the new run's variables, or of their shapes.
    parallel: where to put them on the way.
    seed: decides the random head.

  Returns:
    The variables, on the host.

  Raises:
    FileNotFoundError: there is no run, or it has no checkpoint.
    ValueError: its model is another.
  """
  folder = shipped.folder(workdir)
  theirs = workdirs.read_config(folder)
  trained = evaluation.restore(theirs, folder, parallel, theirs.eval.checkpoint)
  variables, learnt = parallel.fetch(trained.variables), workdirs.read_classes(folder)
  remedy = "" if not shipped.is_shipped(workdir) else " (--config.init_from= starts from random parameters)"
  if _is_detector(wanted) and not _is_detector(variables):
    first = jax.device_get(task.init(jax.random.key(seed)))
    started = trunk_of(variables, wanted, f"The run in {workdir}, whose stem and stages are to become the "
                       f"detector's{remedy},", first)
    logger.info("Starting from the stem and the stages of %s; the rest of the detector is new.", workdir)
    return started
  check_fit(variables, wanted, f"The run in {workdir}, to start from{remedy},", same_outputs=learnt == classes)
  if learnt == classes:
    logger.info("Starting from the parameters of %s, step %d.", workdir, trained.step)
    return variables
  logger.info("Starting from the parameters of %s, step %d; the head stays as it was at first, since that run predicts "
              "%s.", workdir, trained.step, "votes" if learnt is None else f"the classes {', '.join(learnt)}")
  first = jax.device_get(task.init(jax.random.key(seed)))
  return {name: part | {own: value for own, value in first[name].items() if _is_head(own)}
          for name, part in _without_head(variables).items()}


def _is_detector(variables):
  return "rpn" in stages(variables["params"])


def trunk_of(variables: Any, wanted: Any, what: str, first: dict) -> dict:
  """First variables of a detector with a classifier's stem and stages in their place.

  Args:
    variables: the classifier's.
    wanted: the tree of the detector's, or of their shapes.
    what: the classifier's run and its purpose, in words, for an error.
    first: the detector's, random ones.

  Raises:
    ValueError: the backbone is another network.
  """
  theirs, ours = ({kind: {name: part for name, part in parts.items() if stage_of(name) in ("stem", *fpn.STAGES)}
                   for kind, parts in tree.items()} for tree in (variables, wanted))
  check_shapes(theirs, ours, what)
  return {kind: parts | theirs[kind] for kind, parts in first.items()}


def check_fit(found: Any, wanted: Any, what: str, where: str = "stored", *, same_outputs: bool) -> None:
  """Refuses variables of another model; where the outputs are not the same, the heads need not be.

  Raises:
    ValueError: as check_shapes.
  """
  check_shapes(*(tree if same_outputs else _without_head(tree) for tree in (found, wanted)), what, where)


def _without_head(variables):
  return {name: {own: value for own, value in part.items() if not _is_head(own)} for name, part in variables.items()}


def _is_head(name):
  return stage_of(name) == "head"


def published(config: ml_collections.ConfigDict, task: Task) -> dict:
  """First variables, on the host, with the published ones of config.model.pretrained in their place.

  Raises:
    As pretrained.load.
  """
  model = config.model
  # Before a network is made in vain.
  (detectors if experiment.finds_instances(config) else files).find(model.pretrained)
  first = jax.device_get(task.init(jax.random.key(config.seed)))
  if experiment.finds_instances(config):
    backbone = model.options.get("backbone", mask_rcnn.BACKBONE)
    variables = detectors.load(model.pretrained, backbone, first)
    theirs = detectors.normalisation(model.pretrained, backbone)
  else:
    variables = pretrained.load(model.pretrained, model.name, first)
    theirs = pretrained.normalisation(model.pretrained, model.name)
  ours = config.augment.normalise
  if ours != theirs:
    logger.warning("config.augment.normalise is %r; weights such as %s learnt from images for which it is %r.", ours,
                   model.pretrained, theirs)
  return variables
