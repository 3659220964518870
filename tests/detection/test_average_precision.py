"""Average precision: perfect is 1; hand-made cases; our own figures at 0.5 against those of pycocotools."""
import time

import numpy as np
import pytest

from galaxy_jax.detection import matching
from galaxy_jax.detection.average_precision import AveragePrecision

NAMES = ("spiral", "elliptical")
SIDE = 48


def fill(boxes):
  masks = np.zeros((len(boxes), SIDE, SIDE), bool)
  for mask, (y0, x0, y1, x1) in zip(masks, np.asarray(boxes).astype(int), strict=True):
    mask[max(y0, 0):max(y1, 0), max(x0, 0):max(x1, 0)] = True
  return masks


def rows(boxes, classes, *, scores=None, ignore=None):
  boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
  result = {"boxes": boxes, "classes": np.asarray(classes, int), "masks": fill(boxes)}
  if scores is not None:
    result["scores"] = np.asarray(scores, np.float32)
  return result if ignore is None else result | {"ignore": np.asarray(ignore, bool)}


def random_image(rng, *, ignored=True, tied=False):
  number = rng.integers(0, 5)
  corner, size = rng.integers(0, 24, (number, 2)), rng.integers(4, 24, (number, 2))
  boxes, classes = np.concatenate([corner, corner + size], axis=1), rng.integers(0, 2, number)
  ignore = rng.uniform(size=number) < (0.25 if ignored else 0)
  near = np.repeat(boxes, 2, axis=0) + rng.integers(-3, 4, (2 * number, 4))
  wrong, there = np.array([[1, 1, 9, 8]])[:rng.integers(0, 2)], rng.uniform(size=len(near)) < 0.6
  found = np.concatenate([near[there], wrong])
  said = np.concatenate([np.repeat(classes, 2)[there], wrong[:, 0]])
  said = np.where(rng.uniform(size=len(said)) < 0.2, 1 - said, said)
  found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
  found = np.clip(found, 0, SIDE)
  scores = rng.choice([0.25, 0.5, 0.75], len(found)) if tied else rng.uniform(size=len(found))
  return rows(boxes, classes, ignore=ignore), rows(found, said, scores=scores)


@pytest.fixture(scope="module")
def judged():
  rng = np.random.default_rng(0)
  collected = AveragePrecision(NAMES)
  for _ in range(60):
    collected.update(*random_image(rng))
  return collected


def test_nothing_is_printed(judged, capsys):
  judged.result()
  assert capsys.readouterr().out == ""


def test_perfect_predictions_score_exactly_one():
  rng = np.random.default_rng(1)
  collected = AveragePrecision(NAMES)
  for _ in range(20):
    truth, _ = random_image(rng, ignored=False)
    collected.update(truth, {**truth, "scores": rng.uniform(size=len(truth["boxes"]))})
  result = collected.result()
  assert set(result) == {f"{kind}_{name}" for kind in ("box", "mask") for name in (
      "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap_agnostic", "ap50_agnostic", "ap50_spiral",
      "ap50_elliptical", "voc_ap50", "voc_ap50_agnostic", "voc_ap50_spiral", "voc_ap50_elliptical")}
  # No object here has 32² pixels.
  assert all(np.isnan(value) if name.endswith(("medium", "large")) else value == 1 for name, value in result.items())
  assert all(ends == (1, 1) for ends in collected.intervals(draws=20).values())


@pytest.mark.parametrize(("tied", "limit"), [(False, 100), (True, 100), (False, 2), (True, 2)])
def test_own_figures_are_those_of_pycocotools(tied, limit):
  """Also where scores are equal, and where there are more detections than count."""
  rng = np.random.default_rng(0)
  judged = AveragePrecision(NAMES, limit=limit)
  for _ in range(60):
    judged.update(*random_image(rng, tied=tied))
  result = judged.result()
  for kind in ("box", "mask"):
    assert 0.1 < result[f"{kind}_ap50"] < 0.9
    of_classes = [result[f"{kind}_ap50_{name}"] for name in NAMES]
    assert result[f"{kind}_ap50"] == pytest.approx(np.mean(of_classes), abs=1e-12)
    agnostic = matching.Pool(judged.matches(kind, "any")).average_precision()
    assert result[f"{kind}_ap50_agnostic"] == pytest.approx(agnostic, abs=1e-12)
    assert result[f"{kind}_ap"] < result[f"{kind}_ap50"]


def test_a_case_by_hand():
  """Scores .9 hit, .8 miss, .7 hit of three objects: precision 1 to recall 1/3, then 2/3 to 2/3, then none."""
  collected = AveragePrecision(NAMES, masks=False)
  truth = rows([[0, 0, 10, 10], [20, 20, 30, 30], [30, 0, 40, 10]], [0, 0, 0])
  collected.update(truth, rows([[20, 20, 30, 30], [0, 0, 10, 11], [0, 30, 10, 40]], [0, 0, 0], scores=[0.7, 0.9, 0.8]))
  result = collected.result()
  assert result["box_voc_ap50"] == pytest.approx(1 / 3 + 2 / 9)
  assert result["box_ap50"] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
  assert np.isnan(result["box_ap50_elliptical"]) and not any(name.startswith("mask") for name in result)


def test_the_limit_is_of_each_class_or_of_all_as_one():
  truth = rows([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 1])
  collected = AveragePrecision(NAMES, limit=1)
  collected.update(truth, truth | {"scores": [0.9, 0.8]})
  result = collected.result()
  for kind in ("box", "mask"):
    assert result[f"{kind}_ap50"] == result[f"{kind}_voc_ap50"] == 1
    assert result[f"{kind}_ap50_agnostic"] == pytest.approx(51 / 101)  # recalls 0 to 0.5
    assert result[f"{kind}_voc_ap50_agnostic"] == 0.5
    assert len(collected.matches(kind, np.int64(1))[0].scores) == 1 == collected.matches(kind, np.int64(1))[0].objects


def test_the_right_place_with_the_wrong_class():
  collected = AveragePrecision(NAMES)
  collected.update(rows([[0, 0, 10, 10]], [0]), rows([[0, 0, 10, 10]], [1], scores=[0.5]))
  result = collected.result()
  assert result["mask_ap50_agnostic"] == 1 and result["mask_voc_ap50_agnostic"] == 1
  assert result["mask_ap50"] == 0 and result["mask_voc_ap50"] == 0


def test_what_lies_in_a_region_to_ignore_is_neither_right_nor_wrong():
  truth = rows([[0, 0, 10, 10], [20, 20, 44, 44]], [0, -1], ignore=[False, True])
  within = rows([[0, 0, 10, 10], [22, 22, 30, 30], [30, 30, 40, 40]], [0, 0, 1], scores=[0.5, 0.9, 0.8])
  collected = AveragePrecision(NAMES)
  collected.update(truth, within)
  result = collected.result()
  assert all(result[f"{kind}_{name}"] == 1 for kind in ("box", "mask") for name in (
      "ap", "ap_agnostic", "ap50_spiral", "voc_ap50", "voc_ap50_agnostic"))
  collected = AveragePrecision(NAMES)
  collected.update(truth | {"ignore": np.array([False, False]), "classes": np.array([0, 1])}, within)
  assert collected.result()["mask_voc_ap50_spiral"] == 0.5


def test_nothing_found_and_nothing_to_find():
  none = rows([], [], scores=[])
  collected = AveragePrecision(NAMES)
  assert all(np.isnan(x) for x in collected.result().values())
  collected.update(rows([], []), none)
  collected.update(rows([[0, 0, 10, 10]], [0]), none)
  result = collected.result()
  assert result["mask_ap50"] == 0 and result["box_voc_ap50"] == 0 and np.isnan(result["box_ap50_elliptical"])
  collected.update(rows([], []), rows([[0, 0, 10, 10]], [0], scores=[1]))
  assert len(collected) == 3 and collected.result()["box_ap50_spiral"] == 0


def test_the_order_of_images_and_detections_changes_nothing(judged):
  rng = np.random.default_rng(0)
  images = [random_image(rng) for _ in range(60)]
  turned = AveragePrecision(NAMES)
  for truth, found in reversed(images):
    turned.update(truth, {name: values[::-1] for name, values in found.items()})
  expected = judged.result()
  assert all(value == pytest.approx(expected[name], abs=1e-12, nan_ok=True) for name, value in turned.result().items())


def test_intervals_hold_the_figures_and_are_quick(judged):
  begin = time.perf_counter()
  intervals, result = judged.intervals(draws=300), judged.result()
  assert time.perf_counter() - begin < 20
  for name, (low, high) in intervals.items():
    assert low < result[name] < high and 0.02 < high - low < 0.5
  assert intervals == judged.intervals(draws=300)
  # A bootstrap of one image again and again is that image.
  times = np.zeros(60, int)
  times[7] = 5
  once = AveragePrecision(NAMES)
  rng = np.random.default_rng(0)
  images = [random_image(rng) for _ in range(60)]
  once.update(*images[7])
  pools = [matching.Pool(collected.matches("mask", "any")) for collected in (judged, once)]
  assert pools[0].average_precision(times) == pytest.approx(pools[1].average_precision(), nan_ok=True)


def test_wrong_rows_are_told():
  collected = AveragePrecision(NAMES)
  truth = rows([[0, 0, 10, 10]], [0])
  with pytest.raises(ValueError, match="as many of each"):
    collected.update(truth, rows([[0, 0, 10, 10]], [0], scores=[1, 2]))
  with pytest.raises(ValueError, match=r"the classes \[2\]; expected are 0 to 1, for spiral, elliptical"):
    collected.update(truth, rows([[0, 0, 10, 10]], [2], scores=[1]))
  with pytest.raises(ValueError, match="not finite"):
    collected.update(truth, rows([[0, 0, 10, 10]], [0], scores=[np.nan]))
  with pytest.raises(ValueError, match="masks of image 0 have 24 x 48 and 48 x 48 pixels"):
    collected.update(truth, {**truth, "masks": truth["masks"][:, ::2], "scores": [1]})
  assert len(collected) == 0
