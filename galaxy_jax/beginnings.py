"""First variables of a run that are not random ones: those of another run, or published ones."""
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from galaxy_jax import evaluation, pretrained, workdirs
from galaxy_jax.checkpoint import check_shapes
from galaxy_jax.models import stage_of
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import Task

logger = logging.getLogger(__name__)


def of_run(workdir: str | Path, *, task: Task, classes: Sequence[str] | None, wanted: Any, parallel: Parallel,
           seed: int) -> dict:
  """The variables with which another run predicts; with a random head where it predicts something else.

  Args:
    workdir: the other run's.
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
  theirs = workdirs.read_config(workdir)
  trained = evaluation.restore(theirs, Path(workdir), parallel, theirs.eval.checkpoint)
  variables, learnt = parallel.fetch(trained.variables), workdirs.read_classes(workdir)
  check_fit(variables, wanted, f"The run in {workdir}, to start from,", same_outputs=learnt == classes)
  if learnt == classes:
    logger.info("Starting from the parameters of %s, step %d.", workdir, trained.step)
    return variables
  logger.info("Starting from the parameters of %s, step %d; the head stays as it was at first, since that run predicts "
              "%s.", workdir, trained.step, "votes" if learnt is None else f"the classes {', '.join(learnt)}")
  first = jax.device_get(task.init(jax.random.key(seed)))
  return {name: part | {own: value for own, value in first[name].items() if _is_head(own)}
          for name, part in _without_head(variables).items()}


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
  model, first = config.model, jax.device_get(task.init(jax.random.key(config.seed)))
  variables = pretrained.load(model.pretrained, model.name, first)
  ours, theirs = config.augment.normalise, pretrained.normalisation(model.pretrained, model.name)
  if ours != theirs:
    logger.warning("config.augment.normalise is %r; weights such as %s learnt from images for which it is %r.", ours,
                   model.pretrained, theirs)
  return variables
