"""A user's own survey, built and read back: labels against the table, images against the files."""
import logging
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from own_survey import build, by_id, colours, encoded, records, survey, write_csv
from PIL import Image

from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS
from tfds_builders.images import decode
from tfds_builders.own_images.survey import Survey
from tfds_builders.own_images.validation import validate
from tfds_builders.prepare import prepare, source_record

OBJID = 587722981746540704  # Not a float64.


def fractions(count: int, seed: int = 0) -> dict[str, list]:
  values = np.random.default_rng(seed).uniform(size=(count, 37)).round(6)
  return {name: list(values[:, number]) for number, name in enumerate(COLUMNS)}


def test_a_table_alone_is_enough(tmp_path):
  columns = fractions(20)
  folder = survey(tmp_path / "s", **columns)
  builder = build(folder)
  found = by_id(builder)
  assert sorted(found) == list(range(100, 120))
  for galaxy_id, record in found.items():
    path = folder / f"images/{galaxy_id - 100}.{'jpg' if galaxy_id % 2 else 'png'}"
    assert record["image"] == path.read_bytes()
    np.testing.assert_array_equal(record["vote_fractions"],
                                  np.float32([columns[name][galaxy_id - 100] for name in COLUMNS]))
  assert set(found[100]) == {"image", "galaxy_id", "vote_fractions"}
  for split in records(builder).values():
    ids = [int(record["galaxy_id"]) for record in split]
    assert ids == sorted(ids)
  # A second call finds it, in a new process of TFDS's as well: the features come from the folder.
  assert by_id(build(folder)).keys() == found.keys()
  decoded = builder.as_data_source("train")[0]["image"]
  assert decoded.shape == (12, 12, 3) and decoded.dtype == np.uint8


def test_features_of_all_kinds(tmp_path):
  count = 20
  kinds = ["spiral", "smooth", "", "odd"] * 5
  folder = survey(tmp_path / "s", count, objid=[OBJID + n for n in range(count)], kind=kinds,
                  ra=[f"{n / 7:.12f}" for n in range(count)], z=["-99", *[f"{n / 10}" for n in range(1, count)]],
                  plate=[OBJID - n if n else "" for n in range(count)], note=[f"n{n} é" for n in range(count)],
                  smooth=[n if n != 3 else "NaN" for n in range(count)], where=["train"] * 15 + ["held_out"] * 5)
  (folder / "own_images.toml").write_text("""
    table = "catalogue.csv"
    id = "objid"
    keep = ["ra", "z"]
    keep_integer = ["plate"]
    keep_text = ["note"]
    missing = [-99]
    [labels]
    label = "kind"
    vote_counts = { smooth_or_features_smooth = "smooth" }
    [splits]
    column = "where"
  """)
  builder = build(folder)
  assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 15, "held_out": 5}
  found = by_id(builder)
  assert sorted(found) == [OBJID + n for n in range(count)]
  assert builder.info.features["label"].names == ["odd", "smooth", "spiral"]
  record = found[OBJID + 4]
  assert (int(record["label"]), int(record["plate"]), record["note"].decode()) == (2, OBJID - 4, "n4 é")
  assert record["ra"] == np.float64(f"{4 / 7:.12f}") and record["z"] == 0.4
  assert record["vote_counts"][0] == 4 and np.isnan(record["vote_counts"][1:]).all()
  assert int(found[OBJID + 2]["label"]) == -1 and int(found[OBJID]["plate"]) == -1
  assert np.isnan(found[OBJID]["z"]) and np.isnan(found[OBJID + 3]["vote_counts"]).all()
  # As a finished data set, opened without the source, names are there too.
  again = prepare("own_images", data_dir=builder.data_path.parent.parent.parent, progress=False)
  assert again.info.features["label"].names == ["odd", "smooth", "spiral"]


@pytest.mark.parametrize("format", ["parquet", "fits", "vot"])
def test_other_tables_say_the_same(format, tmp_path):
  count = 12
  ids, ra = [OBJID + n for n in range(count)], [n / 3 for n in range(count)]
  kind = ["a", "b", None] * 4
  folder = survey(tmp_path / "s", count)
  paths = [f"images/{n}.{'jpg' if n % 2 else 'png'}" for n in range(count)]
  (folder / "catalogue.csv").unlink()
  if format == "parquet":
    table = pa.table({"objid": ids, "path": paths, "ra": ra, "kind": pa.array(kind).dictionary_encode()})
    pa.parquet.write_table(table, folder / "catalogue.parquet")
  else:
    table = pytest.importorskip("astropy.table")
    table.Table({"objid": ids, "path": paths, "ra": ra, "kind": [text or "" for text in kind]}).write(
        folder / f"catalogue.{format}", format="votable" if format == "vot" else "fits")
  (folder / "own_images.toml").write_text(
      f'table = "catalogue.{format}"\nkeep = ["ra"]\n[labels]\nlabel = "kind"\n[splits]\nfractions = {{ all_of = 1 }}')
  found = by_id(build(folder))
  assert sorted(found) == ids
  assert [float(found[galaxy_id]["ra"]) for galaxy_id in ids] == ra
  assert [int(found[galaxy_id]["label"]) for galaxy_id in ids] == [0, 1, -1] * 4


def test_splits_by_hash_are_stable_and_follow_the_shares(tmp_path):
  folder = survey(tmp_path / "s", 200)
  ids = {split: [int(record["galaxy_id"]) for record in found] for split, found in records(build(folder)).items()}
  assert list(ids) == ["train", "validation", "test"]
  assert 140 < len(ids["train"]) < 180
  # The same galaxies in a smaller table, in another order, are in the same splits.
  rows = (folder / "catalogue.csv").read_text().splitlines()
  (folder / "catalogue.csv").write_text("\n".join([rows[0], *rows[:50:-2]]))
  kept = {int(row.split(",")[0]) for row in rows[:50:-2]}
  again = {split: [int(record["galaxy_id"]) for record in found]
           for split, found in records(build(folder, tmp_path / "other")).items()}
  assert again == {split: [galaxy for galaxy in galaxies if galaxy in kept] for split, galaxies in ids.items()}


def test_ids_as_text_and_from_names(tmp_path):
  folder = survey(tmp_path / "s", 6)
  write_csv(folder / "catalogue.csv", [["id", "path"], *([f"J{n:03}", f"images/{n}.{'jpg' if n % 2 else 'png'}"]
                                                          for n in range(6))])
  assert sorted(by_id(build(folder))) == [f"J{n:03}".encode() for n in range(6)]
  write_csv(folder / "catalogue.csv", [["path"], *([f"images/{n}.{'jpg' if n % 2 else 'png'}"] for n in range(6))])
  assert sorted(by_id(build(folder, tmp_path / "named"))) == list(range(6))


def test_conditional_fractions_become_cumulative(tmp_path):
  columns = fractions(20)
  folder = survey(tmp_path / "s", **columns)
  (folder / "own_images.toml").write_text("[labels]\nconditional = true")
  found = by_id(build(folder))[107]["vote_fractions"]
  given = np.array([columns[name][7] for name in COLUMNS])
  path = given.copy()
  for question in QUESTIONS:  # From the root: a parent's own path is complete before its children's.
    if question.parent is not None:
      path[question.columns] *= path[question.parent]
  np.testing.assert_allclose(found, path, rtol=1e-5)


def test_a_row_without_votes_is_unlabelled_and_kept(tmp_path, caplog):
  columns = fractions(20)
  for values in columns.values():
    values[4] = ""
  with caplog.at_level(logging.INFO, "tfds_builders"):
    found = by_id(build(survey(tmp_path / "s", **columns)))
  assert np.isnan(found[104]["vote_fractions"]).all() and len(found) == 20
  assert "1 of 20 rows have no vote fractions" in caplog.text


def spoil(folder, line: int, column: int, value: str):
  rows = [row.split(",") for row in (folder / "catalogue.csv").read_text().splitlines()]
  rows[line - 1][column] = value
  (folder / "catalogue.csv").write_text("\n".join(map(",".join, rows)))


def test_each_fault_is_named_and_can_be_skipped(tmp_path, caplog):
  folder = survey(tmp_path / "s", 24, **fractions(24))
  outside = tmp_path / "outside.png"
  outside.write_bytes(encoded(colours(0), "PNG"))
  (folder / "link.png").symlink_to(outside)
  (folder / "cut.jpg").write_bytes((folder / "images/1.jpg").read_bytes()[:-200])
  (folder / "page.png").write_bytes(b"<html>")
  faults = [(3, 0, "x7", "whole number"), (4, 0, "5e5", "whole number"), (5, 0, "", "no id"),
            (6, 0, "110", "the id 110 of row 12"), (7, 1, "images/none.png", "is not there"),
            (8, 1, "../outside.png", "outside the folder"), (9, 1, str(outside), "absolute path"),
            (10, 1, "link.png", "symbolic link"), (11, 1, "cut.jpg", "[Tt]runcated"),
            (13, 1, "page.png", "is no JPEG"), (14, 1, "", "has nothing in column path"), (15, 2, "1.2", "from 0 to 1"),
            (16, 3, "-0.1", "from 0 to 1"), (17, 4, "many", "from 0 to 1"), (18, 5, "inf", "from 0 to 1"),
            (19, 1, "images", "is no file"), (20, 1, "a" * 5000, "cannot be read")]
  sound = (folder / "catalogue.csv").read_text()
  for fault in faults:
    (folder / "catalogue.csv").write_text(sound)
    spoil(folder, *fault[:3])
    # Of two rows of one id both are named.
    with pytest.raises(DataError, match=rf"catalogue.csv, row ({fault[0]}|12) .*{fault[3]}"):
      build(folder)
  (folder / "catalogue.csv").write_text(sound)
  for fault in faults:
    spoil(folder, *fault[:3])
  with caplog.at_level("INFO", logger="tfds_builders"):
    builder = build(folder, skip_bad=True)
  assert "they are kept" not in caplog.text  # a row that is left out for its fractions has none, and is not kept
  assert source_record(builder)["left_out"] == len(faults) + 1
  listed = (builder.data_path / "left_out.csv").read_text()
  for line, _, _, reason in faults:
    assert any(f",{line}," in row and re.search(reason, row) for row in listed.splitlines()), (line, reason)
  assert len(by_id(builder)) == 24 - len(faults) - 1


def test_what_is_outside_is_taken_where_it_is_allowed(tmp_path):
  folder = survey(tmp_path / "s", 4)
  (tmp_path / "outside.png").write_bytes(encoded(colours(77), "PNG"))
  spoil(folder, 3, 1, "../outside.png")
  (folder / "own_images.toml").write_text("allow_outside = true")
  assert by_id(build(folder))[101]["image"] == (tmp_path / "outside.png").read_bytes()


def test_what_is_missing_says_what_belongs_there(tmp_path):
  with pytest.raises(MissingDataError, match="does not exist"):
    build(tmp_path / "nowhere")
  (tmp_path / "s").mkdir()
  with pytest.raises(MissingDataError, match=r"no own_images.toml and no table"):
    build(tmp_path / "s")
  (tmp_path / "s/a.csv").write_text("ra,dec\n1,2\n")
  with pytest.raises(MissingDataError, match=r"tables there: a.csv"):
    build(tmp_path / "s")
  for name in "bc":
    (tmp_path / f"s/{name}.csv").write_text("id,path\n1,2.png\n")
  with pytest.raises(DataError, match=r"several tables.*b.csv, c.csv"):
    build(tmp_path / "s")
  (tmp_path / "s/own_images.toml").write_text('table = "a.csv"')
  with pytest.raises(DataError, match="no column path, file, image or filename"):
    build(tmp_path / "s")
  (tmp_path / "s/b.csv").write_text("id,path,file\n1,2.png,2.png\n")
  (tmp_path / "s/own_images.toml").write_text('table = "b.csv"')
  with pytest.raises(DataError, match="several columns that may name the images, path, file"):
    build(tmp_path / "s")


def test_a_settings_file_of_another_name(tmp_path):
  folder = survey(tmp_path / "s", 6)
  (folder / "bright.toml").write_text('[image]\nfile = "images/{id}.png"')
  write_csv(folder / "catalogue.csv", [["id"], [0], [2], [4]])
  assert sorted(by_id(prepare("own_images/survey", manual_dir=folder / "bright.toml", data_dir=tmp_path / "data",
                              progress=False))) == [0, 2, 4]


def test_the_fingerprint_is_of_settings_table_and_images(tmp_path):
  folder = survey(tmp_path / "s", 4)
  before = Survey(folder).fingerprint()
  assert before == Survey(folder).fingerprint()
  (folder / "own_images.toml").write_text("# nothing is said\n")
  assert Survey(folder).fingerprint() == before
  changes = [lambda: (folder / "own_images.toml").write_text('id_type = "text"'),
             lambda: (folder / "catalogue.csv").write_text((folder / "catalogue.csv").read_text() + "\n"),
             lambda: (folder / "images/0.png").write_bytes((folder / "images/0.png").read_bytes() + b"\0")]
  seen = {before}
  for change in changes:
    change()
    seen.add(Survey(folder).fingerprint())
  assert len(seen) == 4


def test_ids_are_never_floats(tmp_path):
  folder = survey(tmp_path / "s", 4)
  (folder / "catalogue.csv").unlink()
  pa.parquet.write_table(pa.table({"id": [1.0, 2.0], "path": ["images/0.png", "images/2.png"]}), folder / "c.parquet")
  with pytest.raises(DataError, match="floating-point numbers"):
    build(folder)


def test_contents_travel_to_other_processes(tmp_path):
  source = Survey(survey(tmp_path / "s", 10, **fractions(10)))
  contents, _, _ = validate(source, skip_bad=False, progress=False)
  examples, split = pickle.loads(pickle.dumps((contents.examples, contents.splits["train"])))
  keys = [key for key, _ in examples(split)]
  assert keys == [record.galaxy_id for record in contents.splits["train"]]


def test_changed_files_are_an_error_not_a_crash(tmp_path):
  folder = survey(tmp_path / "s", 6)
  contents, _, _ = validate(Survey(folder), skip_bad=False, progress=False)
  (folder / "images/2.png").unlink()
  with pytest.raises(DataError, match=r"changed meanwhile"):
    list(contents.examples([record for split in contents.splits.values() for record in split]))


def test_deep_and_large_pictures(tmp_path, monkeypatch):
  folder = survey(tmp_path / "s", 4)
  ramp = np.linspace(0, 60_000, 144).reshape(12, 12).astype(np.uint16)
  (folder / "images/0.png").write_bytes(encoded(ramp, "PNG"))
  (folder / "own_images.toml").write_text("[scaling]\nmethod = 'linear'\nlimits = [0, 60000]")
  found = by_id(build(folder))
  np.testing.assert_array_equal(decode(found[100]["image"])[..., 1], np.floor(ramp / 60_000 * 255 + 0.5))
  assert int(found[100]["nan_pixels"]) == 0
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
  with pytest.raises(DataError, match=r"144|too large|12 x 12"):
    validate(Survey(folder), skip_bad=False, progress=False)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_readers_get_three_channels_of_any_png(mode, tmp_path):
  folder = survey(tmp_path / "survey")
  picture = Image.fromarray(colours(0)).convert(mode)
  picture.save(folder / "images" / "0.png", **({"transparency": 0} if mode == "P" else {}))
  builder = build(folder)
  found = {int(record["galaxy_id"]): record["image"] for split in builder.info.splits
           for record in builder.as_data_source(split)}
  np.testing.assert_array_equal(found[100], np.asarray(picture.convert("RGB")))


def test_a_table_with_other_separators_is_named_where_it_may_be_the_one(tmp_path):
  folder = survey(tmp_path / "survey")
  table = (folder / "catalogue.csv").read_text()
  (folder / "catalogue.csv").write_text(table.replace(",", ";"))
  with pytest.raises(DataError, match=r"^catalogue\.csv, row 1: the values are separated by ';'; commas were expected"):
    build(folder)
  (folder / "survey.csv").write_text(table)  # which names the images: the other table is none of ours
  assert len(by_id(build(folder))) == 20
  (folder / "own_images.toml").write_text('[image]\nfile = "{path}"\n')
  with pytest.raises(DataError, match="separated by ';'"):
    build(folder, tmp_path / "other")
