"""Average precision of SEP's segmentation of simulated fields, and of a run that finds instances, on the same fields.

  python benchmarks/scenes_sep.py --scenes=64
  python benchmarks/scenes_sep.py --scenes=64 --workdir=runs/scenes

The fields have 8 to 15 galaxies each and are drawn from --seed, by keys numbered far above those of data sets' records.
Classes do not count, since SEP has none; its objects are ranked by their light. Both are judged in the pixels of the
field, the run's masks pasted there. The simulator's outlines end at an isophote far above the noise, which a run learns
and SEP cannot know: it is judged at the threshold at which annotations begin, and at the one of --thresholds that is
best on other fields. It also finds the stars, which have no outline and count as wrong, as they do for the run. Printed
are the AP at an overlap of 0.5 of outlines and boxes with intervals of a bootstrap over fields, and how many galaxies
are found at all.
"""
import json
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from galaxy_jax import evaluation, experiment, sep_outlines, simulate, workdirs
from galaxy_jax.data.decode import Decoded, decode_image
from galaxy_jax.detection.average_precision import AveragePrecision
from galaxy_jax.detection.masks import mask_boxes
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import instance_scores
from tfds_builders.images import encode_png

FLAGS = flags.FLAGS
flags.DEFINE_integer("scenes", 64, "How many fields.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the fields.", lower_bound=0)
flags.DEFINE_integer("size", 256, "Pixels of a field's side, of 0.396 arcsec.", lower_bound=64)
flags.DEFINE_string("workdir", None, "A run that finds instances.")
flags.DEFINE_string("checkpoint", None, "Its checkpoint; without one, as it was evaluated.")
flags.DEFINE_float("threshold", 1.5, "See galaxy_jax.annotate.")
flags.DEFINE_list("thresholds", ["2", "3", "5", "8", "12", "20"], "Of which the best is chosen on other fields.")
flags.DEFINE_integer("tuning", 24, "How many other fields.", lower_bound=1)
flags.DEFINE_integer("min_area", 20, "See galaxy_jax.annotate; galaxies count from 12 pixels on.")
flags.DEFINE_float("deblend_contrast", 0.005, "See galaxy_jax.annotate.")
flags.DEFINE_string("output", None, "JSON file for the figures.")

#: Galaxies with an outline in sight, fewest and most, and how many are placed in and around a field for that.
_FEWEST, _MOST, _PLACED = 8, 15, 20
#: Sets these fields' keys apart from others, which are folded with the numbers of records and steps.
_HELD_OUT, _TUNING = 0x5E9_0000, 0x5EA_0000


def fields(count: int, *, seed: int, size: int, first: int = _HELD_OUT) -> list[dict[str, np.ndarray]]:
  """Simulated fields, see simulate.scene: image (S, S, 3) uint8; masks (K, S, S) and boxes (K, 4) of its galaxies.

  Args:
    count: how many.
    seed: of them.
    size: S, pixels.
    first: number of the first one's key.
  """
  draw = jax.jit(lambda key: simulate.scene(key, size=size, objects=_PLACED, quality=90))
  result = []
  for number in range(first, first + 50 * count):
    scene = jax.device_get(draw(jax.random.fold_in(jax.random.key(seed), number)))
    if _FEWEST <= scene["valid"].sum() <= _MOST:
      result.append({"image": scene["image"], **{name: scene[name][scene["valid"]] for name in ("masks", "boxes")}})
    if len(result) == count:
      return result
  raise ValueError(f"Hardly any field of {size} pixels has {_FEWEST} to {_MOST} galaxies: give another --size.")


def by_sep(image: np.ndarray, **settings) -> dict[str, np.ndarray]:
  """SEP's objects as detections of the class 0, see sep_outlines.find: masks (D, S, S), boxes, scores and classes."""
  found = sep_outlines.find(image, **settings)
  masks = found.masks()
  return {"masks": masks, "boxes": np.asarray(mask_boxes(masks), np.float64),
          "scores": found.flux, "classes": np.zeros(len(masks), int)}


def by_run(workdir: Path, images: list[np.ndarray], checkpoint: str | None) -> list[dict[str, np.ndarray]]:
  """A run's detections in square images, in their pixels and of one class.

  Raises:
    ValueError: the run finds no instances, or sees a part of such images only.
  """
  config, parallel = workdirs.read_config(workdir), Parallel("jit")
  if not experiment.finds_instances(config):
    raise ValueError(f"The run in {workdir} finds no instances: its task is {config.task}.")
  side = images[0].shape[0]
  crop, size = config.data.crop or None, config.data.size
  if crop is not None and crop < side:
    raise ValueError(f"The run in {workdir} sees the middle {crop} pixels of images: give --size={crop}.")
  task = experiment.make_task(config, axis_name=None, all_views=True, classes=workdirs.read_classes(workdir))
  trained = evaluation.restore(config, workdir, parallel, checkpoint or config.eval.checkpoint)
  pixels = np.stack([decode_image(encode_png(image), crop=crop, size=size) for image in images])
  labels = {name: np.broadcast_to(value, (len(images), *np.shape(value))) for name, value in task.absent.items()}
  evaluator = evaluation.Evaluator(task._replace(accumulator=None), parallel, batch_size=config.eval.batch_size)
  predicted, _ = evaluator.run(trained.variables, Decoded(pixels, labels))
  predicted["boxes"] = predicted["boxes"] * (side / size)
  result = [instance_scores.found(predicted, row, side) for row in range(len(images))]
  return [found | {"classes": np.zeros(len(found["scores"]), int)} for found in result]


def scores(truth: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> dict[str, float | list[float]]:
  """AP at 0.5 of outlines and boxes with intervals, the share of galaxies found, and detections a field."""
  judged = AveragePrecision(("galaxy",))
  for there, seen in zip(truth, found, strict=True):
    judged.update(there | {"classes": np.zeros(len(there["boxes"]), int)}, seen)
  figures, intervals = judged.result(), judged.intervals()
  matches = judged.matches("mask", "any")
  result = {"recall": sum(int(one.hit.sum()) for one in matches) / sum(one.objects for one in matches),
            "detections": float(np.mean([len(seen["scores"]) for seen in found]))}
  for kind in ("mask", "box"):
    name = f"{kind}_ap50_agnostic"
    result |= {name: figures[name], f"{name}_95": list(intervals[name])}
  return result


def best_threshold(thresholds: list[float], **settings) -> float:
  """The threshold at which SEP's outlines have the highest AP on fields of their own."""
  truth = fields(FLAGS.tuning, seed=FLAGS.seed, size=FLAGS.size, first=_TUNING)
  reached = {threshold: scores(truth, [by_sep(scene["image"], threshold=threshold, **settings) for scene in truth])
             for threshold in thresholds}
  print(f"AP50 of SEP's outlines on {len(truth)} other fields, by threshold: " + ", ".join(
      f"{threshold:g}: {figures['mask_ap50_agnostic']:.3f}" for threshold, figures in reached.items()))
  return max(reached, key=lambda threshold: reached[threshold]["mask_ap50_agnostic"])


def main(_):
  settings = {name: FLAGS[name].value for name in ("min_area", "deblend_contrast")}
  truth = fields(FLAGS.scenes, seed=FLAGS.seed, size=FLAGS.size)
  images = [scene["image"] for scene in truth]
  found = {f"SEP, {threshold:g} sigma": [by_sep(image, threshold=threshold, **settings) for image in images]
           for threshold in (FLAGS.threshold, best_threshold(list(map(float, FLAGS.thresholds)), **settings))}
  if FLAGS.workdir:
    found[Path(FLAGS.workdir).name] = by_run(Path(FLAGS.workdir), images, FLAGS.checkpoint)
  galaxies = np.mean([len(scene["boxes"]) for scene in truth])
  print(f"{len(truth)} fields of {FLAGS.size} pixels, seed {FLAGS.seed}, simulator {simulate.VERSION}, {galaxies:.1f} "
        f"galaxies each; SEP with {settings}")
  print(f"{'':20s} {'AP50 outlines':>22s} {'AP50 boxes':>22s} {'found':>7s} {'detections':>11s}")
  results = {name: scores(truth, detections) for name, detections in found.items()}
  for name, figures in results.items():
    shown = [f"{figures[key]:.3f} ({figures[key + '_95'][0]:.3f}–{figures[key + '_95'][1]:.3f})"
             for key in ("mask_ap50_agnostic", "box_ap50_agnostic")]
    print(f"{name[:20]:20s} {shown[0]:>22s} {shown[1]:>22s} {figures['recall']:7.1%} {figures['detections']:11.1f}")
  if FLAGS.output:
    made = {"scenes": FLAGS.scenes, "seed": FLAGS.seed, "size": FLAGS.size, "simulator": simulate.VERSION,
            "settings": settings, **results}
    Path(FLAGS.output).write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
  app.run(main)
