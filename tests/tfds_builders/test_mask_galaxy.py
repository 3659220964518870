"""mask_galaxy from VIA and COCO files: what is stored, and each kind of bad input."""
import copy
import csv
import io
import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import outlines, rle
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.mask_galaxy.annotation_files import AnnotationFiles
from tfds_builders.mask_galaxy.regions import Annotated, Region
from tfds_builders.mask_galaxy.validation import arrange, validate
from tfds_builders.prepare import LEFT_OUT_FILE, prepare

IDS = [587722981746540704 + i for i in range(5)]
NAMES = [f"Dr7_{i}.jpg" for i in IDS]
BAD = NAMES[1]


def jpeg(value: int) -> bytes:
  """A JPEG file of one colour, 48 pixels high and 40 wide."""
  file = io.BytesIO()
  Image.new("RGB", (40, 48), (value * 40, 80, 160)).save(file, "JPEG")
  return file.getvalue()


def region(x, y, label="S", **shape):
  """A square of six pixels a side with its first corner at (x, y), or another shape of VIA."""
  square = {"name": "polygon", "all_points_x": [x, x + 5, x + 5, x], "all_points_y": [y, y, y + 5, y + 5]}
  return {"shape_attributes": shape or square, "region_attributes": {} if label is None else {"object_name": label}}


def entry(name, *regions):
  return {"filename": name, "size": 1, "regions": list(regions), "file_attributes": {}}


class Files:
  """Source files in the making; a test spoils them before they are written."""

  def __init__(self):
    self.images = {name: jpeg(i) for i, name in enumerate(NAMES)}
    self.train = {name: entry(name, region(2, 3), region(20, 30, "U")) for name in NAMES[:3]}
    self.val = {NAMES[3]: entry(NAMES[3], region(1, 1, "E"))}
    self.catalogue = None

  def write(self, folder):
    for split, names, annotations in (("train", NAMES[:3], self.train), ("val", NAMES[3:4], self.val)):
      (folder / split).mkdir(parents=True)
      (folder / split / "via_region_data.json").write_text(json.dumps(annotations))
      for name in names:
        if name in self.images:
          (folder / split / name).write_bytes(self.images[name])
    if self.catalogue is not None:
      (folder / "catalogue.csv").write_text(self.catalogue)
    return folder

  def shape(self):
    return self.train[BAD]["regions"][0]["shape_attributes"]


@pytest.fixture
def files():
  return Files()


def read(folder, tmp_path, **options):
  builder = prepare("mask_galaxy", manual_dir=folder, data_dir=tmp_path / "data", progress=False, **options)
  raw = {"image": tfds.decode.SkipDecoding()}
  return builder, {split: list(builder.as_data_source(split, decoders=raw)) for split in builder.info.splits}


def check(folder, **options):
  with AnnotationFiles(folder) as source:
    return validate(source, **options)


def test_a_build_holds_what_was_annotated(files, tmp_path):
  files.train[NAMES[0]]["regions"] += [region(0, 0, "E", name="point", cx=5, cy=7)]
  builder, splits = read(files.write(tmp_path / "source"), tmp_path)
  assert builder.info.features["classes"].feature.names == ["spiral", "elliptical", "unknown"]
  assert [len(records) for records in splits.values()] == [3, 1] and list(splits) == ["train", "validation"]
  first = splits["train"][0]
  assert first["image_id"].decode() == NAMES[0] and first["objid"] == IDS[0]
  assert first["image"] == files.images[NAMES[0]]
  np.testing.assert_array_equal(first["boxes"], np.float32([[3, 2, 9, 8], [30, 20, 36, 26], [7, 5, 8, 6]]))
  assert list(first["classes"]) == [0, 2, 1] and first["ignore"].tolist() == [False, True, True]
  assert [json.loads(text) for text in first["polygons"]] == [
      shape["shape_attributes"] for shape in files.train[NAMES[0]]["regions"]]
  assert outlines.mask(first["polygons"][0], 48, 40).sum() == 36
  assert list(splits["validation"][0]["classes"]) == [1]


def test_forms_of_via_are_the_same(files, tmp_path):
  expected = check(files.write(tmp_path / "list")).splits["train"]
  for image in files.train.values():
    image["regions"] = {str(i): found for i, found in enumerate(image["regions"])}
  forms = {"dict": files.train, "project": {"_via_settings": {}, "_via_img_metadata": files.train}}
  for name, form in forms.items():
    other = Files()
    other.train = form
    found = check(other.write(tmp_path / name)).splits["train"]
    assert [record[2:] for record in found] and str([r[2:] for r in found]) == str([r[2:] for r in expected])


def coco():
  mask = np.zeros((48, 40), bool)
  mask[3:9, 2:8] = True
  square = [1.5, 2.5, 7.5, 2.5, 7.5, 8.5, 1.5, 8.5]
  names = ["S", "elliptical", "Sb?m"]
  return {
      "images": [{"id": i, "file_name": name, "height": 48, "width": 40} for i, name in enumerate(NAMES[:3])],
      "categories": [{"id": i + 7, "name": name} for i, name in enumerate(names)] + [{"id": 99, "name": "not used"}],
      "annotations": [
          {"id": 1, "image_id": 0, "category_id": 7, "iscrowd": 0, "segmentation": [square]},
          {"id": 2, "image_id": 1, "category_id": 8,
           "segmentation": {"size": [48, 40], "counts": rle.encode(mask).decode()}},
          {"id": 3, "image_id": 0, "category_id": 9, "iscrowd": 1,
           "segmentation": {"size": [48, 40], "counts": [48 * 40 - 5, 5]}},
          {"id": 4, "image_id": 2, "category_id": 9, "iscrowd": 0, "segmentation": [square, [30, 30, 33, 30, 33, 33]]},
      ]}


@pytest.mark.parametrize("place,images", [
    ("train.json", "images"), ("annotations/instances_train2017.json", "train2017"),
    ("annotations/train.json", "images/train")])
def test_coco(place, images, files, tmp_path):
  source = tmp_path / "source"
  for folder in (source / images, (source / place).parent):
    folder.mkdir(parents=True, exist_ok=True)
  (source / place).write_text(json.dumps(coco()))
  for name in NAMES[:3]:
    (source / images / name).write_bytes(files.images[name])
  _, splits = read(source, tmp_path)
  assert list(splits) == ["train"]
  first, second, third = splits["train"]
  assert first["boxes"].tolist() == [[2, 1, 9, 8], [43, 39, 48, 40]] and second["boxes"].tolist() == [[3, 2, 9, 8]]
  assert list(first["classes"]) == [0, 0] and first["ignore"].tolist() == [False, True]
  assert list(second["classes"]) == [1] and third["boxes"].tolist() == [[2, 1, 33, 33]]
  stored = [json.loads(text) for record in (first, second, third) for text in record["polygons"]]
  assert stored == [coco()["annotations"][i]["segmentation"] for i in (0, 2, 1, 3)]


def drop(files):
  del files.images[BAD]


def rename(files, name):
  files.train[BAD]["filename"] = name


def shape(**changes):
  return lambda files: files.shape().update(changes)


def classify(value):
  return lambda files: files.train[BAD]["regions"][1]["region_attributes"].update(object_name=value)


def spoil_image(change):
  return lambda files: files.images.update({BAD: change(files.images[BAD])})


#: What is done to the second image -> what the error says after naming the file and the image.
FAULTS = {
    "two points": (shape(all_points_x=[1, 2], all_points_y=[1, 2]), "region 0 has a polygon of 2 points"),
    "not finite": (shape(all_points_x=[1, 2, 3, float("nan")]), "region 0 has nan for all_points_x"),
    "outside": (shape(all_points_x=[90, 95, 95, 90]), "region 0 covers no pixel of the image, which has 48 x 40"),
    "round the corner": (shape(all_points_x=[-20, 10, -20], all_points_y=[10, -20, -20]), "covers no pixel"),
    "huge": (shape(all_points_x=[10**30] * 4), "for all_points_x; a number of pixels"),
    "shape": (shape(name="blob"), "shape 'blob'"),
    "class": (classify("Q"), "region 1 has a class 'Q'; expected is S, E or U"),
    "two classes": (classify({"S": True, "E": True}), r"classes \['S', 'E'\]; one was"),
    "regions": (lambda f: f.train[BAD].update(regions=5), "5 for regions"),
    "no region": (lambda f: f.train[BAD]["regions"].append(None), "region 2 is None"),
    "absent": (drop, "that is not in .*train"),
    "truncated": (spoil_image(lambda data: data[:-30]), "truncated"),
    "no image": (spoil_image(lambda _: b"<html>"), "is no JPEG or PNG image"),
}


@pytest.fixture(params=FAULTS)
def fault(request):
  return FAULTS[request.param]


def test_a_fault_is_an_error_with_file_image_region_and_remedy(fault, files, tmp_path):
  fault[0](files)
  with pytest.raises(DataError, match=f"^train/via_region_data.json has an image '{BAD}'.*{fault[1]}") as error:
    check(files.write(tmp_path / "source"))
  assert "--skip_bad" in str(error.value) and "\n" not in str(error.value)


def test_a_faulty_image_is_left_out_and_listed_once(fault, files, tmp_path):
  fault[0](files)
  found = check(files.write(tmp_path / "source"), skip_bad=True)
  assert [left.item for left in found.left_out] == [BAD]
  assert [record.image_id for record in found.splits["train"]] == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("name", ["../train/x.jpg", "/etc/passwd", "a/../../x.jpg", "..\\x.jpg", "http://host/x.jpg",
                                  "x\0.jpg", "\ud800.jpg", "", None, 7, ["x"]])
def test_names_that_lead_out_of_the_folder(name, files, tmp_path):
  rename(files, name)
  with pytest.raises(DataError, match=r"^train/via_region_data.json (names the image|has an image) .*--skip_bad"):
    check(files.write(tmp_path / "source"))


def test_links_out_of_the_folder(files, tmp_path):
  folder = files.write(tmp_path / "source")
  (tmp_path / "secret.jpg").write_bytes(files.images[BAD])
  (folder / "train" / BAD).unlink()
  os.symlink(tmp_path / "secret.jpg", folder / "train" / BAD)
  with pytest.raises(DataError, match=f"'{BAD}' that is a link out of its folder. Copy"):
    check(folder)
  (folder / "train" / BAD).unlink()
  os.symlink(folder / "nowhere.jpg", folder / "train" / BAD)
  with pytest.raises(DataError, match=f"'{BAD}' that is not in"):
    check(folder)


def test_what_is_there_twice(files, tmp_path):
  files.train["again"] = copy.deepcopy(files.train[BAD])
  with pytest.raises(DataError, match=f"'{BAD}' 2 times"):
    check(files.write(tmp_path / "a"))
  assert [r.image_id for r in check(tmp_path / "a", skip_bad=True).splits["train"]] == [NAMES[0], NAMES[2]]
  del files.train["again"]
  files.val[BAD] = files.train[BAD]
  folder = files.write(tmp_path / "b")
  (folder / "val" / BAD).write_bytes(files.images[BAD])
  with pytest.raises(DataError, match=f"'{BAD}' of a galaxy that {BAD} in train/via_region_data.json has too"):
    check(folder)
  again = f"Dr7_{IDS[0]}_again.jpg"
  files.train[again] = entry(again, region(4, 4, "E"))
  (folder / "train" / "via_region_data.json").write_text(json.dumps(files.train))
  (folder / "train" / again).write_bytes(jpeg(9))
  builder, splits = read(folder, tmp_path, skip_bad=True)
  assert [[int(r["objid"]) for r in found] for found in splits.values()] == [IDS[:3], IDS[3:4]]
  left_out = list(csv.DictReader((builder.data_path / LEFT_OUT_FILE).read_text().splitlines()))
  assert [(row["file"], row["item"], row["reason"]) for row in left_out] == [
      (f"{split}/via_region_data.json", name, f"has an image '{name}' of a galaxy that {first} in "
       "train/via_region_data.json has too") for split, name, first in (("train", again, NAMES[0]), ("val", BAD, BAD))]


def test_images_without_regions_are_left_out_and_listed_without_an_error(files, tmp_path, caplog):
  files.train[BAD]["regions"] = {}
  (files.write(tmp_path / "source") / "val" / NAMES[4]).write_bytes(files.images[NAMES[4]])
  builder, splits = read(tmp_path / "source", tmp_path)
  assert [record["image_id"].decode() for record in splits["train"]] == [NAMES[0], NAMES[2]]
  left_out = list(csv.DictReader((builder.data_path / LEFT_OUT_FILE).read_text().splitlines()))
  assert [(row["item"], row["reason"]) for row in left_out] == [
      (BAD, f"has an image '{BAD}' without regions"), (NAMES[4], "is named by no annotation file")]
  assert "2 images have no regions" in caplog.text


def test_the_catalogues_class_is_of_an_object():
  """Whatever lies nearer to the middle without being one: a point, a polyline, a crowd."""
  around = {"name": "polygon", "all_points_x": [50, 82, 82, 50], "all_points_y": [52, 52, 80, 80]}
  point, line = {"name": "point", "cx": 64, "cy": 64}, {"name": "polyline", "all_points_x": [60, 68],
                                                         "all_points_y": [64, 64]}
  regions = [Region("region 0", point, None), Region("region 1", line, None),
             Region("region 2", around | {"all_points_y": [50, 50, 78, 78]}, None, crowd=True),
             Region("region 3", around, None)]
  _, classes, ignore = arrange(Annotated("a.jpg", regions), 128, 128, 0)
  assert classes.tolist() == [2, 2, 2, 0] and ignore.tolist() == [True, True, True, False]
  _, classes, ignore = arrange(Annotated("a.jpg", regions[:3]), 128, 128, None)  # nothing that needs a class
  assert classes.tolist() == [2, 2, 2] and ignore.all()


def test_classes_from_a_catalogue(files, tmp_path):
  regions = [region(2, 3, None), region(18, 20, None), region(30, 1, "E")]
  files.train = {name: entry(name, *regions) for name in NAMES[:3]}
  with pytest.raises(DataError, match="region 1 has no class, nor has a catalogue one for its galaxy"):
    check(files.write(tmp_path / "none"))
  files.catalogue = f"other,OBJID,gz2_class\n0,{IDS[1]},Ei\n0,{IDS[0]},SBc2m(r)\n0,{IDS[2]},A\n0,1,nonsense\n"
  records = check(files.write(tmp_path / "gz2")).splits["train"]
  assert [record.classes.tolist() for record in records] == [[2, 0, 1], [2, 1, 1], [2, 2, 1]]
  assert [record.ignore.tolist() for record in records] == [[True, False, False]] * 2 + [[True, True, False]]
  flags = "\n".join(f"{objid},{flags}" for objid, flags in zip(IDS, ("1,0,0", "0,1,0", "0,0,1"), strict=False))
  files.catalogue = f"OBJID,SPIRAL,ELLIPTICAL,UNCERTAIN\n{flags}\n"
  records = check(files.write(tmp_path / "gz1")).splits["train"]
  assert [record.classes.tolist() for record in records] == [[2, 0, 1], [2, 1, 1], [2, 2, 1]]


@pytest.mark.parametrize("table,message", [
    ("id,class\n1,S\n", "row 1: the header has no column for object ids"), ("", "row 1"),
    (f"objid,class\n{IDS[1]:e},S\n", "row 2 has '5.877230e.17' for a objid; a whole number"),
    (f"objid,class\n{IDS[1]},S\n{IDS[1]},S\n", f"row 3 repeats galaxy {IDS[1]} of row 2"),
    (f"objid,class\n{IDS[1]},Q\n", "row 2 has a class 'Q'"), (f"objid,class\n{IDS[1]}\n", "row 2 has 1 values"),
    (f"objid,spiral,elliptical,uncertain\n{IDS[1]},1,1,0\n", "row 2 has a 1 in 2 of the columns"),
])
def test_bad_catalogues(table, message, files, tmp_path):
  files.train = {BAD: entry(BAD, region(2, 3, None))}
  files.catalogue = table
  with pytest.raises(DataError, match=f"^catalogue.csv, {message}"):
    check(files.write(tmp_path / "source"))


def test_missing_files_say_how_to_get_them(tmp_path):
  for folder in (tmp_path, tmp_path / "absent"):
    with pytest.raises(MissingDataError, match="hfarias/mask_galaxy"):
      AnnotationFiles(folder)


def test_the_fingerprint_is_of_annotations_and_images(files, tmp_path):
  first, same = (AnnotationFiles(files.write(tmp_path / name)).fingerprint() for name in "ab")
  assert first == same and len(first) == 64
  files.shape()["all_points_x"][0] += 1
  assert AnnotationFiles(files.write(tmp_path / "c")).fingerprint() != first
  (tmp_path / "b" / "train" / NAMES[0]).write_bytes(b"other")
  assert AnnotationFiles(tmp_path / "b").fingerprint() != first


def test_the_sample_is_read_back_exactly(samples, tmp_path):
  folder = samples / "mask_galaxy_sample"
  _, splits = read(folder, tmp_path)
  trained = []
  for split, name in (("train", "train"), ("validation", "val")):
    published = json.loads((folder / name / "via_region_data.json").read_text())
    assert [record["image_id"].decode() for record in splits[split]] == [
        image["filename"] for image in published.values()]
    for record, (objid, image) in zip(splits[split], published.items(), strict=True):
      assert str(record["objid"]) == objid
      assert record["image"] == (folder / name / image["filename"]).read_bytes()
      shapes = [found["shape_attributes"] for found in image["regions"]]
      assert [json.loads(text) for text in record["polygons"]] == shapes
      assert record["boxes"].tolist() == [
          [min(s["all_points_y"]), min(s["all_points_x"]), max(s["all_points_y"]) + 1, max(s["all_points_x"]) + 1]
          for s in shapes]
      letters = [found["region_attributes"]["object_name"] for found in image["regions"]]
      assert ["SEU"[number] for number in record["classes"]] == letters
      assert record["ignore"].tolist() == [letter == "U" for letter in letters]
    trained.append(sum(not record["ignore"].all() for record in splits[split]))
  assert [len(records) for records in splits.values()] == [674, 120] and trained == [610, 105]


def test_a_file_name_that_is_no_text_is_listed(files, tmp_path):
  folder = files.write(tmp_path / "source")
  try:
    (folder / "train" / os.fsdecode(b"\xff.jpg")).write_bytes(jpeg(0))
  except OSError:
    pytest.skip("this file system has no such names")
  builder = prepare("mask_galaxy", manual_dir=folder, data_dir=tmp_path / "data", progress=False)
  assert r"\udcff.jpg" in (builder.data_path / LEFT_OUT_FILE).read_text()
