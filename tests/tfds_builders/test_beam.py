"""Apache Beam writes what is written without it; wrong options, and what goes wrong in a worker, are one error."""
import re
from pathlib import Path

import pytest

pytest.importorskip("apache_beam", reason="needs Apache Beam: pip install 'galaxy_jax[scale]'")

import jax
import jax.numpy as jnp
import stand_in

from galaxy_jax import simulate
from tfds_builders import BUILDERS, beam
from tfds_builders.__main__ import main
from tfds_builders.errors import DataError
from tfds_builders.galaxy_sim.galaxy_sim_dataset_builder import Builder as SimulatedBuilder
from tfds_builders.numbered_images import Images

SOURCES = Path(__file__).resolve().parents[2] / "tfds_builders"
DIRECT = "--beam_options=runner=DirectRunner"


def scene(key, *, size):
  """A stand-in for `simulate.scene`: three squares of noise, of which one is not seen."""
  masks = jnp.zeros((3, size, size), bool).at[:, 3:9, 4:8].set(True)
  return {"image": jax.random.randint(key, (size, size, 3), 0, 256).astype(jnp.uint8), "masks": masks,
          "boxes": jnp.full((3, 4), 1.0), "classes": jnp.arange(3), "valid": jnp.array([True, False, True])}


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """Simulated data sets of a few small images made in no time, and several shards even of the smallest data set."""
  monkeypatch.setattr(simulate, "galaxy", stand_in.galaxy)
  monkeypatch.setattr(simulate, "scene", scene)
  for config in SimulatedBuilder.BUILDER_CONFIGS:
    monkeypatch.setattr(config, "recipe", config.recipe._replace(size=32, rendered=32))
    monkeypatch.setattr(config, "splits", {"train": 3, "validation": 2})
  monkeypatch.setattr("tfds_builders.builder._SHARD_BYTES", 3000)


def run(name, manual_dir, data_dir, *more) -> int:
  return main([name, f"--manual_dir={manual_dir}", f"--data_dir={data_dir}", *more])


def assert_same_files(one, other):
  """Two builds are the same, to the byte."""
  # With Beam TFDS leaves its list of shards, too.
  names = [{path.relative_to(place) for path in place.rglob("*")
            if path.is_file() and not path.name.endswith(".shard_infos.json")} for place in (one, other)]
  assert names[0] == names[1] and any("array_record" in name.name for name in names[0])
  for name in names[0]:
    assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("name", BUILDERS)
def test_every_data_set_is_the_same_to_the_byte(name, tmp_path):
  for module in ("h5py", "astropy"):
    pytest.importorskip(module)
  manual_dir = SOURCES / name.partition("/")[0] / "dummy_data"
  for place, more in (("plain", []), ("beam", [DIRECT])):
    assert run(name, manual_dir, tmp_path / place, *more) == 0
  assert_same_files(tmp_path / "plain", tmp_path / "beam")


def test_workers_read_zips_within_a_zip(challenge, tmp_path):
  manual_dir = challenge.pack(tmp_path / "manual", "one zip, deflated")
  for place, more in (("plain", []), ("beam", [DIRECT])):
    assert run("galaxy_zoo_challenge", manual_dir, tmp_path / place, *more) == 0
  assert len(list((tmp_path / "beam").rglob("*.array_record-*"))) > 4
  assert_same_files(tmp_path / "plain", tmp_path / "beam")


def test_a_workers_error_is_one_line(challenge, tmp_path, capfd, monkeypatch, caplog):
  """An image is gone when a worker wants it."""
  read, gone = Images.read, []

  def once(images, member):
    if member in gone:
      (tmp_path / "manual" / images.label / member.name.rpartition("/")[2]).unlink(missing_ok=True)
    gone.append(member)
    return read(images, member)

  monkeypatch.setattr(Images, "read", once)
  assert run("galaxy_zoo_challenge", challenge.pack(tmp_path / "manual", "folders"), tmp_path / "data", DIRECT) == 1
  said = capfd.readouterr().err
  errors = [line for line in said.splitlines() if line.startswith("error: ")]
  assert len(errors) == 1 and said.rstrip().endswith(errors[0]) and "Traceback" not in said + caplog.text
  assert re.match(r"error: images_\w+/\d+\.jpg cannot be read \(No such file or directory\)\. It was sound", errors[0])
  assert "while running" not in errors[0] and errors[0].endswith("under the same path.")
  assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_an_error_that_came_as_text_is_one_line():
  """As runners on other machines give it."""
  for text, expected in (
      ("Traceback …\n  File …\ntfds_builders.errors.DataError: a.jpg is gone. [while running 'Write(1)']\n\npassed on",
       "a.jpg is gone. Every worker"),
      ("first\nValueError: no [while running 'Write(1)']\n", "could not write the shards: ValueError: no Every")):
    with pytest.raises(DataError) as error, beam.one_error():
      raise RuntimeError(text)
    assert expected in str(error.value) and "while" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("options, reason", [
    ("foo", r"'foo', which is no option of Apache Beam's DirectRunner\. Expected .* such as runner=DirectRunner"),
    ("runner=DirectRunner,foo=1", "'foo', which is no option"), ("rnner=FlinkRunner", "'rnner', which is no option"),
    ("runner=FlinkRunner,foo", "'foo', which is no option of Apache Beam's FlinkRunner"),
    ("experiments=a,b", "'b', which is no option .* experiments=A,experiments=B"),
    ("=x", "'=x', which is no option"), ("-", "'-', which is no option"), ("--runner=DirectRunner", "no option"),
    ("runner=DirectRuner", "cannot have the runner 'DirectRuner' .*DirectRunner, "),
    ("streaming=maybe", r"does not take .*'streaming=maybe' \(argument --streaming: ignored explicit argument 'maybe'"),
])
def test_wrong_options_are_refused_before_anything_is_read(options, reason, tmp_path, capfd):
  assert run("galaxy_zoo_challenge", tmp_path / "nowhere", tmp_path / "data", f"--beam_options={options}") == 1
  said = capfd.readouterr().err
  assert said.startswith("error: ") and len(said.splitlines()) == 1
  with pytest.raises(DataError, match=reason):
    beam.options(options)


@pytest.mark.parametrize("options", ["", "runner=directrunner", "streaming,runner=FlinkRunner,parallelism=4"])
def test_options_that_beam_or_its_runner_has_are_taken(options):
  assert beam.options(options)["beam_runner"] in ("DirectRunner", "directrunner", "FlinkRunner")
