"""Tables of features: what is in them, going on after a kill, and what is no such table."""
import numpy as np
import pyarrow as pa
import pytest
from conftest import blob
from predictions import MeanColours
from pyarrow import parquet

from galaxy_jax import embed, inputs, pictures, predict, predictor


@pytest.fixture
def model():
  return MeanColours(looks=(2, True, (1.0, 1.2)))


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
  assert features.about["model"] == "colours" and features.row("g03") == 3
  schema = parquet.read_schema(tmp_path / "f.parquet")
  assert schema.names == ["id", "model", "path", "features"]
  assert schema.field("features").type == pa.list_(pa.float32(), 3)


def test_it_goes_on_where_it_was_killed(model, folder, tmp_path):
  write(model, folder, tmp_path / "whole.parquet")
  batches, features = [], model.features

  def dying(pixels):
    batches.append(len(pixels))
    if len(batches) == 3:  # the first asks how many features there are
      raise RuntimeError("killed")
    return features(pixels)
  model.features = dying
  with pytest.raises(RuntimeError):
    write(model, folder, tmp_path / "f.parquet")
  assert not (tmp_path / "f.parquet").exists()
  model.features = lambda pixels: batches.append(len(pixels)) or features(pixels)
  batches.clear()
  write(model, folder, tmp_path / "f.parquet")
  assert batches == [0, 4, 3]
  assert parquet.read_table(tmp_path / "f.parquet").equals(parquet.read_table(tmp_path / "whole.parquet"))


def test_another_model_does_not_go_on_with_it(model, folder, tmp_path):
  features = model.features
  model.features = lambda pixels: features(pixels) if not len(pixels) else 1 / 0
  with pytest.raises(ZeroDivisionError):
    write(model, folder, tmp_path / "f.parquet")
  for other in (MeanColours(scale=2, looks=model.looks), model.with_views(4, True)):
    with pytest.raises(ValueError, match="another job"):
      write(other, folder, tmp_path / "f.parquet")


def test_features_know_their_model(model, folder, tmp_path, monkeypatch):
  write(model, folder, tmp_path / "f.parquet")
  features, asked = embed.read(tmp_path / "f.parquet"), []
  monkeypatch.setattr(predictor, "load", lambda *given: asked.append(given) or MeanColours())  # a run has its own views
  assert embed.load_model(features, "run").looks == model.looks
  assert asked == [("run", model.step)]
  monkeypatch.setattr(predictor, "load", lambda *_: MeanColours("another", scale=2))
  with pytest.raises(ValueError, match="of the model colours, and another is another"):
    embed.load_model(features, "run")

  def missing(*_):
    raise FileNotFoundError("There is no checkpoint 7.")
  monkeypatch.setattr(predictor, "load", missing)
  with pytest.raises(FileNotFoundError, match=r"no checkpoint 7\. The features are of the model colours, step 7"):
    embed.load_model(features, "run")


def test_planes_are_kept(model, tmp_path):
  fits = pytest.importorskip("astropy.io.fits")
  (tmp_path / "i").mkdir()
  fits.PrimaryHDU(np.random.default_rng(1).exponential(10, (3, 12, 12))).writeto(tmp_path / "i/c.fits")
  answerer = embed.Embedder(model, (2, 1, 0))
  given = inputs.find(str(tmp_path / "i"))
  assert predict.predict(answerer, given, tmp_path / "f.parquet", progress=False) == 0
  features = embed.read(tmp_path / "f.parquet")
  assert features.about["planes"] == [2, 1, 0]
  pixels = pictures.pixels_of((tmp_path / "i/c.fits").read_bytes(), "c.fits", model, (2, 1, 0))
  np.testing.assert_allclose(features.values, model.features(pixels[None]), rtol=1e-6)
  with pytest.raises(ValueError, match="The planes are 0,1"):
    embed.Embedder(model, (0, 1))


def test_what_cannot_be_read_is_said(model, tmp_path):
  with pytest.raises(FileNotFoundError, match="There is no table"):
    embed.read(tmp_path / "f.parquet")
  (tmp_path / "f.parquet").write_text("text")
  with pytest.raises(ValueError, match="no Parquet table"):
    embed.read(tmp_path / "f.parquet")
  parquet.write_table(pa.table({"id": [1], "features": [[1.0]]}), tmp_path / "f.parquet")
  with pytest.raises(ValueError, match="no table of features"):
    embed.read(tmp_path / "f.parquet")
  field = pa.field("features", pa.list_(pa.float32(), 1), metadata={"galaxy_jax": '{"model": "of who knows what"}'})
  parquet.write_table(pa.table([pa.array([1]), pa.array([[1.0]], field.type)], schema=pa.schema([("id", pa.int64()),
                                                                                                field])),
                      tmp_path / "f.parquet")
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
