"""Searches for the settings with which an experiment does best on its evaluation split, by Optuna.

  python -m galaxy_jax.search --config=configs/morph5_vgg16.py --workdir=runs/search --trials=20

Needs: pip install 'galaxy_jax[search]'. The config's section `search` says which settings, and from what: a range gives
whole numbers where the config's own value is one. Each trial is a whole run of the config with some of them, in
WORKDIR/trial_007 for instance. What it is judged by is the task's score (the error of classes, the RMSE of votes) on
config.data.eval, of the checkpoint that config.eval.checkpoint says, seen in one view: choose a split that is not the
one to report on. After every trial trials.csv and search.png are written anew; at the end the best trial is evaluated
as any run is, with its report and, where it has labels, config.data.test.

Interrupted anywhere, the same command goes on, on the same galaxies: the trial that was at work from its own last
checkpoint, then the others. More of them: a larger --trials. What a trial tries is decided by config.seed, its number
and the trials before it, so that an interrupted search finds what an uninterrupted one does. A trial whose loss is no
longer a number counts as failed, and as one of the trials.
"""
import csv
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import flags
from ml_collections import config_flags

from galaxy_jax import datasets, evaluate, experiment, feeds, optim, workdirs
from galaxy_jax.command import packaged_config, run_command
from galaxy_jax.data import sources
from galaxy_jax.files import claimed, write_json, write_whole
from galaxy_jax.logbook import read_history
from galaxy_jax.parallel import Parallel
from galaxy_jax.search_space import Setting, at, label, space
from galaxy_jax.train import NonFiniteLoss, train

logger = logging.getLogger(__name__)

#: Trials that are drawn at random before the tree-structured Parzen estimator has something to learn from.
RANDOM_TRIALS = 10

_STUDY = "search"


class Trial(NamedTuple):
  """A trial: its number, `complete`, `failed` or `running`, its score or None, and what it tried, by key."""
  number: int
  state: str
  score: float | None
  tried: dict[str, Any]


def search(config: ml_collections.ConfigDict, workdir: Path, trials: int) -> tuple[list[Trial], int | None]:
  """Runs the trials that are left.

  Args:
    config: the experiment, with its section `search`.
    workdir: the search's folder.
    trials: how many there shall be in all.

  Returns:
    All trials, and the signal that stopped the search, or None.

  Raises:
    ValueError: a setting is wrong, the workdir holds another search or one on other galaxies, or Optuna is not
      installed.
  """
  optuna = _optuna()
  settings, config = space(config), experiment.resolve(config)
  if config.eval.checkpoint.isdigit():
    raise ValueError(f"config.eval.checkpoint is {config.eval.checkpoint!r}; a search judges its trials by the "
                     "'latest' or the 'best'.")
  score = _checked(config, settings).score
  _claim(workdir, config, _fingerprints(config))
  study = optuna.create_study(storage=f"sqlite:///{(workdir / 'search.sqlite').absolute()}", study_name=_STUDY,
                              direction="minimize", load_if_exists=True)
  distributions = {key: _distribution(optuna, setting) for key, setting in settings.items()}
  _check_drawn(workdir, study, distributions)
  while (next_one := _next(optuna, study, distributions, config.seed, trials)) is not None:
    number, tried = next_one
    own, folder = trial_config(config, settings, number, tried), trial_folder(workdir, number)
    logger.info("Trial %d of %d: %s.", number + 1, trials, ", ".join(f"{key} {value}" for key, value in tried.items()))
    try:
      outcome = train(own, folder)
    except NonFiniteLoss as error:
      logger.warning("Trial %d failed. %s", number + 1, error)
      study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
      if not outcome.finished:
        return all_trials(study), outcome.signal
      curve = [value for _, value in read_history(folder / "metrics.csv")[f"eval/{score}"]]
      study.tell(number, min(curve) if config.eval.checkpoint == "best" else curve[-1])
    write_results(workdir, all_trials(study), settings, score)
  write_results(workdir, all_trials(study), settings, score)  # a kill may have come before those of the last trial
  return all_trials(study), None


def _optuna():
  try:
    import optuna
  except ImportError as error:
    raise ValueError("A search needs Optuna: pip install 'galaxy_jax[search]'.") from error
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  return optuna


def _checked(config, settings):
  """The experiment's task; refuses what a trial would stop at, examples of every setting by themselves."""
  for key, setting in settings.items():
    for value in setting.examples:
      one = config.copy_and_resolve_references()
      try:
        one.update_from_flattened_dict({key: value})
      except TypeError as error:
        ours = at(config, key)
        raise ValueError(f"config.search.{key} has {value!r}; config.{key} is {ours!r}.") from error
      one = experiment.resolve(one)
      Parallel(one.parallel).check_batch(one.train.batch_size, "config.train.batch_size", pairs=experiment.mixes(one))
      feeds.check(one)
      task = experiment.make_task(one, axis_name=None, all_views=False)
      experiment.make_optimizer(one, steps=1)
      if setting.kind == "choice" or setting.whole:  # a fraction changes no parameter's shape
        optim.check_stages(jax.eval_shape(lambda: task.init(jax.random.key(0)))["params"], one.optimizer.frozen)
  return task


def _fingerprints(config):
  """What the trials learn from and what they are judged on, as a run's own; the data set is built where need be."""
  builder = datasets.open_dataset(config)
  return {"train": feeds.fingerprint(config, builder), "eval": sources.fingerprint(builder, config.data.eval)}


def _claim(workdir, config, data):
  """Makes the workdir this search's, or refuses one that holds another or was judged on other data; ValueError."""
  path, mine, data_path = workdir / "search.json", json.loads(config.to_json()), workdir / "data.json"
  if path.exists():
    theirs = json.loads(path.read_text())
    different = (workdirs.differing_keys(theirs, mine)
                 + workdirs.differing_keys(theirs["search"], mine["search"], start="config.search.")
                 # What a run may change decides here what its trial is judged by.
                 + [f"config.eval.checkpoint: {a!r} there, {b!r} now" for a, b in (
                     (theirs["eval"]["checkpoint"], mine["eval"]["checkpoint"]),) if a != b])
    if data_path.exists():
      different += workdirs.differing_keys(json.loads(data_path.read_text()), data, start="data of split ")
    if different:
      raise ValueError(f"{workdir} holds a search that differs from this one:\n  " + "\n  ".join(different)
                       + "\nChoose another --workdir, or give the search's own settings and data to go on with it.")
  workdir.mkdir(parents=True, exist_ok=True)
  write_json(data_path, data)
  write_json(path, mine)


def _check_drawn(workdir, study, distributions):
  """Refuses to go on where a key's values were of another kind, fractions instead of whole numbers; ValueError."""
  for trial in study.trials:
    for key, drawn in trial.distributions.items():
      if type(drawn) is not type(distributions.get(key)):
        raise ValueError(f"{workdir} holds a search whose trial {trial.number + 1} drew config.{key} as "
                         f"{trial.params[key]!r}, another kind of value than this one's config.search.{key} gives. "
                         "Choose another --workdir.")


def _next(optuna, study, distributions, seed, trials):
  """The number of the trial to run, and what it tries: an interrupted one, else a new one; None where all are done."""
  for left in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
    if left.params.keys() == distributions.keys():
      return left.number, {key: left.params[key] for key in distributions}
    study.tell(left.number, state=optuna.trial.TrialState.FAIL)  # killed while its settings were drawn
  number = len(study.trials)
  if number >= trials:
    return None
  study.sampler = optuna.samplers.TPESampler(seed=(seed * 10_007 + number) % 2**32, n_startup_trials=RANDOM_TRIALS)
  trial = study.ask(distributions)
  return trial.number, trial.params


def _distribution(optuna, setting):
  if setting.kind == "choice":
    return optuna.distributions.CategoricalDistribution([label(value) for value in setting.values])
  make = optuna.distributions.IntDistribution if setting.whole else optuna.distributions.FloatDistribution
  return make(*setting.values, log=setting.kind == "log")


def trial_config(config: ml_collections.ConfigDict, settings: dict[str, Setting], number: int,
                 tried: dict[str, Any]) -> ml_collections.ConfigDict:
  """The config of a trial's run."""
  result = config.copy_and_resolve_references()
  result.name, result.search = f"{config.name}, trial {number + 1}", ml_collections.ConfigDict()
  result.update_from_flattened_dict({key: settings[key].of(value) for key, value in tried.items()})
  return result


def trial_folder(workdir: Path, number: int) -> Path:
  """The workdir of a trial's run; the first trial is trial_001."""
  return workdir / f"trial_{number + 1:03d}"


def all_trials(study) -> list[Trial]:
  """All trials of a study, in the order of their numbers."""
  states = {"COMPLETE": "complete", "FAIL": "failed"}
  return [Trial(trial.number, states.get(trial.state.name, "running"), trial.value, dict(trial.params))
          for trial in study.trials]


def best(trials: Sequence[Trial]) -> Trial | None:
  """The complete trial with the lowest score, the first of equals; None where there is none."""
  return min((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.score, default=None)


def write_results(workdir: Path, trials: Sequence[Trial], settings: dict[str, Setting], score: str) -> None:
  """Leaves trials.csv, a row a trial, and search.png in the workdir."""
  from galaxy_jax.report import trials as figure

  def write(fresh):
    with open(fresh, "w", newline="") as file:
      rows = csv.writer(file, lineterminator="\n")
      rows.writerow(["trial", "state", score, *settings])
      rows.writerows([trial.number + 1, trial.state, "" if trial.score is None else repr(trial.score),
                      *(trial.tried.get(key, "") for key in settings)] for trial in trials)
  write_whole(workdir / "trials.csv", write)
  logarithmic = [key for key, setting in settings.items() if setting.kind == "log"]
  complete = [trial for trial in trials if trial.state == "complete"]
  if complete:
    chart = figure.chart([trial.number + 1 for trial in complete], [trial.score for trial in complete],
                         {key: [trial.tried[key] for trial in complete] for key in settings}, score, logarithmic)
    write_whole(workdir / "search.png", lambda fresh: Path(fresh).write_bytes(chart.png))


def flags_of(settings: dict[str, Setting], trial: Trial) -> str:
  """What a trial tried, as flags of galaxy_jax.main on a shell's command line."""
  values = {key: settings[key].of(value) for key, value in trial.tried.items()}
  quoted = lambda flag, value: f'"{flag}"' if isinstance(value, tuple) else flag
  return " ".join(quoted(f"--config.{key}={value}", value) for key, value in values.items())


def finish(workdir: Path, trials: Sequence[Trial], settings: dict[str, Setting], command: str) -> Path:
  """Evaluates the best trial as any run is, and says how to train like it.

  Args:
    workdir: the search's folder.
    trials: all of them.
    settings: what they tried.
    command: what the report says the run was made with.

  Returns:
    The trial's folder.

  Raises:
    ValueError: all trials failed.
  """
  if (found := best(trials)) is None:
    raise ValueError(f"All {len(trials)} trials in {workdir} failed: their losses became NaN or infinite. Give "
                     "config.search.optimizer.learning_rate a lower range, or set a config.optimizer.clip, in another "
                     "--workdir.")
  folder = trial_folder(workdir, found.number)
  if not (folder / "metrics.json").exists():
    evaluate.finish_run(workdirs.read_config(folder), folder, command)
  logger.info("The best of %d is trial %d, %.5f; its report is in %s. All are in trials.csv and search.png. To train "
              "with its settings: %s", len(trials), found.number + 1, found.score, folder, flags_of(settings, found))
  return folder


FLAGS = flags.FLAGS


def main(_) -> int:
  """Runs the search; returns the exit status, 128 + the signal's number where one stopped it."""
  config, missing = experiment.with_data(FLAGS.config, config_flags.get_override_values(FLAGS["config"]))
  if missing:
    logger.info("There are no real galaxies yet, so these are simulated. For the real ones: %s", missing)
  workdir = Path(FLAGS.workdir)
  with claimed(workdir, "--workdir"):
    trials, stopped = search(config, workdir, FLAGS.trials)
    if stopped:
      logger.info("Stopped; the same command goes on from there.")
      return 128 + stopped
    finish(workdir, trials, space(config), shlex.join(["python", "-m", "galaxy_jax.search", *sys.argv[1:]]))
  return 0


def _define_flags():
  config_flags.DEFINE_config_file("config", None, "The experiment: a file, with :argument for a variant of it. Any key "
                                  "can be set, --config.train.epochs=20 for instance.")
  flags.DEFINE_string("workdir", None, "Where the search leaves what it makes.")
  flags.DEFINE_integer("trials", 20, "How many trials there shall be in all.", lower_bound=1)
  flags.mark_flags_as_required(["config", "workdir"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main, lambda argv: [packaged_config(argument) for argument in argv]))
