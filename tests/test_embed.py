"""Tables of features: what is in them, going on after a kill, and what is no such table."""
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import blob
from pyarrow import parquet

from galaxy_jax import embed, inputs, predict
from galaxy_jax.data import decode


@dataclasses.dataclass
class Model:
  """Stands in for a predictor: the features are an image's mean colours through a matrix."""
  variables: Any
  name: str = "a stand-in"
  task: str = "votes"
  columns: tuple = ("a", "b")
  crop: int | None = None
  size: int = 8
  batch_size: int = 4
  seen: Callable = lambda count: None

  def decode(self, data):
    return decode.decode_image(data, crop=self.crop, size=self.size)

  def features(self, pixels):
    self.seen(len(pixels))
    return pixels.mean((1, 2), dtype=np.float32) @ self.variables["matrix"]


@pytest.fixture
def model():
  return Model({"matrix": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)})


@pytest.fixture
def folder(tmp_path):
  images = tmp_path / "images"
  images.mkdir()
  rng = np.random.default_rng(0)
  for number in range(11):
    (images / f"g{number:02d}.jpg").write_bytes(blob(rng, number / 10, side=16))
  return images


def write(model, folder, output, **options):
  return predict.predict(embed.Embedder(model), inputs.find(str(folder)), output, shard_rows=4, workers=1,
                         progress=False, **options)


def test_every_image_has_its_features(model, folder, tmp_path):
  assert write(model, folder, tmp_path / "f.parquet") == 0
  features = embed.read(tmp_path / "f.parquet")
  paths = sorted(folder.iterdir())
  pixels = np.stack([model.decode(path.read_bytes()) for path in paths])
  np.testing.assert_allclose(features.values, model.features(pixels), rtol=1e-6)
  assert features.ids == [path.stem for path in paths] and features.paths == [str(path) for path in paths]
  assert features.about["model"] == "a stand-in" and features.row("g03") == 3
  schema = parquet.read_schema(tmp_path / "f.parquet")
  assert schema.field("features").type == pa.list_(pa.float32(), 5)


def test_it_goes_on_where_it_was_killed(model, folder, tmp_path):
  write(model, folder, tmp_path / "whole.parquet")
  batches = []

  def seen(count):
    batches.append(count)
    if len(batches) == 3:  # one is the empty image that tells the table's columns
      raise RuntimeError("killed")
  model.seen = seen
  with pytest.raises(RuntimeError):
    write(model, folder, tmp_path / "f.parquet")
  assert not (tmp_path / "f.parquet").exists()
  model.seen = batches.append
  batches.clear()
  write(model, folder, tmp_path / "f.parquet")
  assert batches == [1, 4, 3]
  assert parquet.read_table(tmp_path / "f.parquet").equals(parquet.read_table(tmp_path / "whole.parquet"))


def test_another_model_does_not_go_on_with_it(model, folder, tmp_path):
  other = dataclasses.replace(model, variables={"matrix": model.variables["matrix"] + 1})
  model.seen = lambda count: 1 / 0 if count > 1 else None
  with pytest.raises(ZeroDivisionError):
    write(model, folder, tmp_path / "f.parquet")
  with pytest.raises(ValueError, match="another job"):
    write(other, folder, tmp_path / "f.parquet")


def test_features_know_their_model(model, folder, tmp_path):
  write(model, folder, tmp_path / "f.parquet")
  features = embed.read(tmp_path / "f.parquet")
  embed.check_model(features, model)
  other = dataclasses.replace(model, name="another", variables={"matrix": model.variables["matrix"] * 2})
  with pytest.raises(ValueError, match="of the model a stand-in, and another is another"):
    embed.check_model(features, other)


def test_what_cannot_be_read_is_said(model, tmp_path):
  with pytest.raises(FileNotFoundError, match="There is no table"):
    embed.read(tmp_path / "f.parquet")
  (tmp_path / "f.parquet").write_text("text")
  with pytest.raises(ValueError, match="no Parquet table"):
    embed.read(tmp_path / "f.parquet")
  parquet.write_table(pa.table({"id": [1], "features": [[1.0]]}), tmp_path / "f.parquet")
  with pytest.raises(ValueError, match="no table of features"):
    embed.read(tmp_path / "f.parquet")


def test_a_table_without_any_galaxy_and_an_id_that_is_not_there(model, folder, tmp_path):
  write(model, folder, tmp_path / "f.parquet")
  table = parquet.read_table(tmp_path / "f.parquet")
  with pytest.raises(ValueError, match="'nobody' is 0 times among the 11"):
    embed.read(tmp_path / "f.parquet").row("nobody")
  parquet.write_table(table.slice(0, 0), tmp_path / "none.parquet")
  with pytest.raises(ValueError, match="no galaxy"):
    embed.read(tmp_path / "none.parquet")
