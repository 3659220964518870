"""Checkpoints of a run, by Orbax: written in the background, whole or not at all, the best and the latest kept.

Nothing else in the project touches Orbax.
"""
import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

logger = logging.getLogger(__name__)


class Checkpoints:
  """The checkpoints below a folder. Use as a context manager: leaving it waits for what is being written."""

  def __init__(self, folder: str | Path, *, keep: int = 2, best: str | None = None,
               read_only: bool = False):
    """Opens the folder; creates it unless `read_only`.

    Args:
      folder: where the checkpoints lie.
      keep: how many of the latest stay.
      best: the metric, lower is better, whose best checkpoint stays as well.
      read_only: leave everything as it is, also what another process is writing.
    """
    self._best = best
    keepers = [policies.LatestN(keep)]
    if best:
      keepers.append(policies.BestN(get_metric_fn=lambda metrics: metrics[best], reverse=True, n=1,
                                    keep_checkpoints_without_metrics=False))
    self.folder = Path(folder).absolute()
    self._manager = ocp.CheckpointManager(
        self.folder, item_handlers={"state": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(
            # Without best_fn metrics would not be written; the policy alone decides what stays.
            best_fn=(lambda metrics: metrics[best]) if best else None, best_mode="min",
            preservation_policy=policies.AnyPreservationPolicy(keepers), read_only=read_only, create=not read_only,
            cleanup_tmp_directories=not read_only))

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._manager.close()

  @property
  def latest(self) -> int | None:
    """The step of the latest checkpoint, or None."""
    return self._manager.latest_step()

  @property
  def best(self) -> int | None:
    """The step of the checkpoint with the lowest metric; the latest where none has one; None where there is none."""
    scored = {step: self._manager.metrics(step) for step in self._manager.all_steps()}
    scored = {step: metrics[self._best] for step, metrics in scored.items() if metrics and self._best in metrics}
    return min(scored, key=lambda step: (scored[step], -step)) if scored else self.latest

  def save(self, step: int, state: Any, meta: dict, metrics: dict[str, float] | None = None) -> None:
    """Saves a pytree of arrays and a JSON dict as step `step`; returns once the arrays are copied."""
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
    scored = metrics if self._best and metrics and self._best in metrics else None
    self._manager.save(step, args=args, metrics=scored, force=True)

  def restore(self, like: Any, step: int | None = None) -> tuple[Any, dict]:
    """The state and meta of a step, the latest by default.

    Args:
      like: the state's pytree of arrays or of jax.ShapeDtypeStruct.
      step: which one.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      ValueError: the stored arrays do not have the shapes of `like`.
    """
    step = self.latest if step is None else step
    if step is None or step not in self._manager.all_steps():
      steps = sorted(self._manager.all_steps())
      raise FileNotFoundError(f"No checkpoint of step {step} in {self.folder}; there are {steps or 'none'}.")
    stored = self._manager.item_metadata(step)["state"]
    check_shapes(getattr(stored, "tree", stored), like, f"The checkpoint {self.folder}/{step}")
    restored = self._manager.restore(step, args=ocp.args.Composite(
        state=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore()))
    return restored["state"], restored["meta"]

  def wait(self) -> None:
    """Waits until everything saved is on disk."""
    self._manager.wait_until_finished()


def check_shapes(found: Any, wanted: Any, what: str, where: str = "stored") -> None:
  """Refuses a tree of arrays that does not fit: Orbax would pad or cut an array of another shape without a word.

  Args:
    found, wanted: trees of arrays, or of what has a shape.
    what: whose tree `found` is, for the message.
    where: what the message says of it.

  Raises:
    ValueError: names or shapes differ; the message lists them.
  """
  found, wanted = ({jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
                    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)} for tree in (found, wanted))
  wrong = [f"{name}: {found.get(name, 'absent')} {where}, {wanted.get(name, 'absent')} expected"
           for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
  if wrong:
    raise ValueError(f"{what} is of another model: {'; '.join(wrong[:5])}"
                     f"{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}.")
