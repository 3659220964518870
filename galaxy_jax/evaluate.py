"""Evaluates trained runs on a split, one or several as an ensemble, and leaves what a finished run has to show.

  python -m galaxy_jax.evaluate --workdir=runs/gz2 --split=validation --checkpoint=best
  python -m galaxy_jax.evaluate --workdirs=runs/a,runs/b --weights=greedy --weigh_on=validation --split=test
"""
import logging
import sys
from importlib.metadata import version
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import flags

from galaxy_jax import (
    calibrate,
    datasets,
    ensembles,
    evaluation,
    experiment,
    outputs,
    predictor,
    saliency,
    shipped,
    workdirs,
)
from galaxy_jax.command import run_command
from galaxy_jax.data import sources, vote_labels
from galaxy_jax.evaluation import Trained, evaluate_splits
from galaxy_jax.parallel import Parallel
from tfds_builders.prepare import source_record

logger = logging.getLogger(__name__)


def finish_run(config: ml_collections.ConfigDict, workdir: Path, command: str) -> dict[str, float]:
  """Evaluates a trained run and leaves its tables and its report in the workdir; returns the metrics.

  `command` is what the report says the run was made with.
  """
  builder = datasets.open_dataset(config)
  test = config.data.test if config.data.test and datasets.has_split(builder, config.data.test) else None
  if config.data.test and not test:
    logger.info("There is no split %r to predict, so no submission.csv.", config.data.test)
  trained, results = evaluate_splits(config, workdir, builder,
                                     [config.data.eval, *([test] if test else [])], config.eval.checkpoint)
  evaluated = results[config.data.eval]
  # All hosts meet to open a data set.
  known = None if experiment.finds_instances(config) else calibrate.known_galaxies(config)
  of_test = results[test].metrics if test else {}
  finished = evaluated.metrics | {f"test/{name}": value for name, value in of_test.items() if "/" not in name}
  if jax.process_index() == 0:
    if known is not None:
      calibrate.calibrate(config, workdir, _predictor(config, workdir, trained), known, evaluated,
                          _described(builder, config.data.eval, evaluated))
    explain = _explainer(config, workdir, trained, evaluated.data)
    source, count, origins = source_record(builder), experiment.views(config), experiment.galaxy_origins(config)
    notes = list(_NOTES[origins["trained_on"], origins["evaluated_on"]])
    if count > 1:
      notes.append(f"Final figures are means over {count} views of each galaxy; the learning curves see one.")
    outputs.write_all(
        workdir, _left_behind(config, workdir, config.data.eval, evaluated, explain),
        _left_behind(config, workdir, test, results[test]) if test else None,
        name=config.name, metrics=finished | origins, facts=run_facts(config, trained, command),
        data={"data set": builder.info.full_name, "folder": str(builder.data_dir), "learnt": _learnt(config),
              "trained on": _trained_on(config, builder, trained),
              "evaluated on": f"{config.data.eval}, {len(evaluated.data.images)} {_of_what(config)}",
              "left out of the build": source.get("left_out", 0),
              "source fingerprint": source.get("fingerprint", "")[:16]},
        notes=notes)
  return finished


def _predictor(config, workdir, trained):
  """The run's model on this host alone."""
  variables = Parallel(config.parallel).fetch(trained.variables)
  return predictor.of_run(config, workdir, trained._replace(variables=variables))


#: What the report says before all else, by what the run is trained and what it is evaluated on.
_NOTES = {
    ("real", "real"): [],
    ("simulated, then real", "real"): ["Trained on simulated galaxies first, then on real ones."],
    ("simulated", "real"): ["Trained on simulated galaxies, evaluated on real ones."],
    ("simulated", "simulated"): ["Trained and evaluated on simulated galaxies: the figures say nothing of real ones."],
}


def _described(builder, split, result):
  """The galaxies of a split, in words."""
  return f"{len(result.data.images):,} galaxies of {builder.info.full_name}, {split}"


def _of_what(config):
  return "images" if experiment.finds_instances(config) else "galaxies"


def _learnt(config):
  """What of a galaxy a run learns, in words."""
  if experiment.finds_instances(config):
    return "outlines and classes"
  if config.task == "classes":
    return config.data.label
  asked = " (fractions of those who were asked)" if config.data.target in vote_labels.CONDITIONAL else ""
  return config.data.target + asked


def _trained_on(config, builder, trained):
  """The galaxies that a run was trained on, in words."""
  if config.data.source == "simulated":
    return f"{trained.step * config.train.batch_size:,} simulated galaxies, each seen once"
  galaxies = f"{config.data.train}, {len(sources.split_source(builder, config.data.train))} {_of_what(config)}"
  before = experiment.pretraining(config)
  if config.pretrain.train.steps and before.data.source == "simulated":
    galaxies += f", after {config.pretrain.train.steps * before.train.batch_size:,} simulated ones"
  elif config.pretrain.train.steps and before.data.builder != config.data.builder:
    galaxies += f", after {config.pretrain.train.steps:,} steps on {before.data.builder}"
  return galaxies


def run_facts(config: ml_collections.ConfigDict, trained: Trained, command: str) -> dict[str, str | int | float]:
  """How a run's model was made, for the report."""
  return {
      "model": config.model.name, "variant": config.variant, "parameters": trained.parameters, "seed": config.seed,
      "steps": trained.step, "training time": f"{trained.seconds / 60:.1f} min",
      "test-time views": experiment.views(config),
      **({"started from": config.init_from or config.model.pretrained}
         if config.init_from or config.model.pretrained else {}),
      **({"pre-training": f"{config.pretrain.train.steps:,} steps, in the folder pretraining"}
         if config.pretrain.train.steps else {}),
      "hardware": experiment.hardware(), "compiled with": config.parallel,
      "versions": ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "optax", "numpy")),
      "command": command,
  }


#: What a split's result is to `outputs`, by task: from the config, the run's classes, the labels, and its explainer.
_RESULTS = {
    "votes": lambda config, classes, labels, explain: (
        outputs.VoteResult, {"voted": labels["vote_fractions"], "target": config.data.target,
                             "booleans": config.model.output == "sigmoid"}),
    "classes": lambda config, classes, labels, explain: (
        outputs.ClassResult, {"labels": labels[config.data.label], "names": classes, "explain": explain}),
    "instances": lambda config, classes, labels, explain: (
        outputs.InstanceResult, {"labels": labels, "names": classes}),
}


def _left_behind(config, workdir, split, result, explain=None):
  """The split's result as `outputs` writes it; `explain`: see `_explainer`."""
  labels = result.data.labels
  ids = labels["galaxy_id"]
  ids = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids
  kind, own = _RESULTS[config.task](config, workdirs.read_classes(workdir), labels, explain)
  return kind(split=split, ids=ids, predicted=result.predicted, images=result.data.images, **own)


def _explainer(config, workdir, trained, data):
  """A function from rows of the split and a class for each to what the network sees and where it sees the class.

  None where the task has no classes. It runs on this host alone; see report.classes.ClassRun for what it gives.
  """
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=workdirs.read_classes(workdir))
  if task.explain is None:
    return None
  variables = Parallel(config.parallel).fetch(trained.variables)

  def explain(rows, classes):
    try:
      return task.explain(variables, np.asarray(data.images[rows]), np.asarray(classes))
    except saliency.NoMapError as error:
      return str(error)
  return explain


FLAGS = flags.FLAGS


def main(_) -> int:
  """Evaluates a run's checkpoint on any split, of its own data or of other files in the same form."""
  if bool(FLAGS.workdir) == bool(FLAGS.workdirs):
    raise ValueError("Give --workdir=RUN, or --workdirs=RUN,RUN,… for an ensemble.")
  if FLAGS.calibrate_on:
    _check_calibration()
  folders = list(map(shipped.folder, [FLAGS.workdir] if FLAGS.workdir else FLAGS.workdirs))
  if (FLAGS.weights == "greedy") != bool(FLAGS.weigh_on):
    raise ValueError("Greedy weights are chosen on a split, and only they are: --weights=greedy --weigh_on=SPLIT.")
  configs = {folder: _config(folder) for folder in folders}
  _check_together(configs)
  if FLAGS.calibrate_on and experiment.finds_instances(configs[folders[0]]):
    raise ValueError(f"The run in {folders[0]} finds outlines; votes and classes of whole images are what is "
                     "calibrated.")
  write = outputs.table_writer(FLAGS.output, "--output") if FLAGS.output else None
  split = FLAGS.calibrate_on or FLAGS.split or configs[folders[0]].data.eval
  splits = list(dict.fromkeys((split, FLAGS.weigh_on or split)))
  members = []
  for folder, config in configs.items():
    builder = datasets.open_dataset(config)
    if FLAGS.label:
      datasets.class_names(config, builder)
    if held_out := FLAGS.calibrate_on or FLAGS.weigh_on:
      calibrate.check_held_out(workdirs.read_config(folder), folder, builder, held_out)
    trained, results = evaluate_splits(config, folder, builder, splits, FLAGS.checkpoint or config.eval.checkpoint)
    members.append(results)
    if FLAGS.calibrate_on:
      own = workdirs.read_config(folder)
      calibrate.calibrate(own, folder, _predictor(own, folder, trained), calibrate.known_galaxies(own), results[split],
                          _described(builder, split, results[split]))
  config, folder = configs[folders[0]], folders[0]
  result = members[0][split] if len(members) == 1 else _together(config, folders, members, split)
  for name, value in result.metrics.items():
    print(f"{name:40s} {value:.5f}")
  if FLAGS.output:
    write(Path(FLAGS.output), _left_behind(config, folder, split, result).table())
    logger.info("Predictions are in %s.", FLAGS.output)
  return 0


def _check_calibration():
  """Refuses to calibrate what does not belong to the caller, or otherwise than the run predicts."""
  if FLAGS.workdirs or FLAGS.split:
    raise ValueError("--calibrate_on=SPLIT calibrates one run, --workdir, and evaluates no other split meanwhile.")
  if other := [f"--{flag}" for flag in ("checkpoint", "rotations", "flips", "zooms") if FLAGS[flag].value is not None]:
    raise ValueError(f"A run is calibrated as it predicts, at its own checkpoint and with its own views; leave out "
                     f"{', '.join(other)}.")
  if shipped.is_shipped(FLAGS.workdir):
    raise ValueError(f"{FLAGS.workdir} comes with the package, for all who use it. Make a copy to calibrate: python -m "
                     f"galaxy_jax.packed --workdir={FLAGS.workdir} --output=FOLDER.")


def _config(workdir):
  """A run's config as the flags would have it evaluated."""
  config = workdirs.read_config(workdir)
  if FLAGS.label and config.task != "classes":
    raise ValueError(f"--label is {FLAGS.label!r}, but the run in {workdir} learnt no classes.")
  for key in ("builder", "manual_dir", "data_dir", "label"):
    if FLAGS[key].value:
      config.data[key] = FLAGS[key].value
  if FLAGS.ignore_classes is not None:
    config.data.ignore_classes = tuple(FLAGS.ignore_classes)
  for key in ("rotations", "flips", "zooms", "batch_size"):
    if FLAGS[key].value is not None:
      config.eval[key] = tuple(map(float, FLAGS.zooms)) if key == "zooms" else FLAGS[key].value
  if config.eval.rotations < 1 or not config.eval.zooms or min(config.eval.zooms) <= 0:
    raise ValueError(f"--rotations is {config.eval.rotations} and --zooms {', '.join(map(str, config.eval.zooms))}; "
                     "expected at least 1 rotation, and zooms above 0.")
  return config


def _check_together(configs):
  """Refuses runs whose predictions mean different things, or one given twice."""
  if len(configs) != len(FLAGS.workdirs or [FLAGS.workdir]):
    raise ValueError("--workdirs names a run twice; greedy weights choose how much each counts.")
  if len(configs) > 1 and any(map(experiment.finds_instances, configs.values())):
    raise ValueError("Runs that find instances make no ensemble: what they find is not the same objects. Evaluate one "
                     "at a time: --workdir.")
  said = {folder: (config.task, _learnt(config), workdirs.read_classes(folder)) for folder, config in configs.items()}
  first, *others = said
  for other in others:
    if said[other] != said[first]:
      describe = lambda folder: f"{said[folder][0]} ({said[folder][1]})" + (
          f" of {len(said[folder][2])} classes" if said[folder][2] else "")
      raise ValueError(f"{first} and {other} do not predict the same: {describe(first)} and {describe(other)}.")


def _together(config, folders, members, split):
  """The members' weighted mean as the result of the split, the first member's run standing for the task."""
  first = members[0]
  for folder, member in zip(folders, members, strict=True):
    for name, result in member.items():
      if not np.array_equal(result.data.labels["galaxy_id"], first[name].data.labels["galaxy_id"]):
        raise ValueError(f"The galaxies of {name} are others for {folder} than for {folders[0]}. Name the same data "
                         "for all: --builder, --manual_dir, --data_dir.")
  score, measure = evaluation.scorer(config, folders[0])
  weights = ensembles.uniform(len(members))
  if FLAGS.weights == "greedy":
    chosen_on = first[FLAGS.weigh_on].data
    if np.isin(chosen_on.labels["galaxy_id"], first[split].data.labels["galaxy_id"]).any():
      raise ValueError(f"The splits {FLAGS.weigh_on} (--weigh_on) and {split} (--split) share galaxies: weights are "
                       "not judged on those that they were chosen on.")
    weights = ensembles.greedy(np.stack([member[FLAGS.weigh_on].predicted for member in members]),
                               lambda predicted: measure(predicted, chosen_on).get(score, float("nan")))
  for folder, weight in zip(folders, weights, strict=True):
    logger.info("Weight %.3f: %s.", weight, folder)
  predicted = ensembles.combine(np.stack([member[split].predicted for member in members]), weights)
  return first[split]._replace(predicted=predicted, metrics=measure(predicted, first[split].data))


def _define_flags():
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main, or the name of a model that comes with the package.")
  flags.DEFINE_list("workdirs", None, "Several runs, whose weighted mean is evaluated.")
  flags.DEFINE_enum("weights", "uniform", ["uniform", "greedy"], "How the runs of --workdirs are weighted: equally, or "
                    "as scores best on the split --weigh_on.")
  flags.DEFINE_string("weigh_on", None, "The split that greedy weights are chosen on, with no galaxy of --split.")
  flags.DEFINE_string("split", None, "The split: validation, train[:100], test, …; without one, the run's own.")
  flags.DEFINE_string("calibrate_on", None, "A split of galaxies that the run was not trained on: how far from its "
                      "answers theirs lie is kept in the run's folder, for the intervals that it predicts.")
  flags.DEFINE_string("checkpoint", None, "latest, best or a step; without one, as the run was evaluated.")
  flags.DEFINE_integer("rotations", None, "Test-time rotations instead of the run's.")
  flags.DEFINE_bool("flips", None, "Test-time flips, or not, instead of the run's.")
  flags.DEFINE_list("zooms", None, "Test-time zooms instead of the run's, 0.9,1,1.1 for instance.")
  flags.DEFINE_integer("batch_size", None, "Galaxies a batch instead of the run's.")
  flags.DEFINE_string("output", None, "Where to write the predictions: NAME.parquet or NAME.csv.")
  flags.DEFINE_string("builder", None, "Another data set, galaxy_zoo_challenge for instance, instead of the run's own.")
  flags.DEFINE_string("label", None, "The feature that holds a galaxy's class, where it is called differently there.")
  flags.DEFINE_list("ignore_classes", None, "Of outlines: the classes that are to be ignored, where the data set has "
                    "others than the run's own.")
  flags.DEFINE_string("manual_dir", None, "Evaluate on these published files instead of the run's own.")
  flags.DEFINE_string("data_dir", None, "Evaluate on the data set built in this folder instead of the run's own.")


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
