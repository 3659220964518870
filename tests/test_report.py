"""The report: measures against hand-made values, the page against its own promises."""
import html.parser
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from galaxy_jax import report
from galaxy_jax.report import figures, measures, page, style
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS

_VOID = {"meta", "link", "img", "wbr", "br", "hr"}


class Page(html.parser.HTMLParser):
  """Reads a page strictly: every element closed in order; keeps text, attributes and what the page loads."""

  def __init__(self, path):
    super().__init__(convert_charrefs=True)
    self.elements, self.pieces, self.open = [], [], []
    self.source = path.read_text("utf-8")
    self.feed(self.source)
    self.close()
    assert not self.open, f"not closed: {self.open}"
    self.text = "".join(self.pieces)

  def handle_starttag(self, tag, attrs):
    assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is given twice"
    self.elements.append((tag, dict(attrs)))
    if tag not in _VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

  def handle_data(self, data):
    if self.open and self.open[-1] != "style":
      self.pieces.append(data)

  def all(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


def votes(**answers):
  """A vote vector from `question_answer=fraction`, zero elsewhere."""
  names = [f"{question.name}_{answer}" for question in QUESTIONS for answer in question.answers]
  vector = np.zeros(len(COLUMNS), np.float32)
  for name, fraction in answers.items():
    vector[names.index(name)] = fraction
  return vector


def fractions(rng, count):
  """(count, 37) random fractions whose answers sum to one in each question."""
  parts = [rng.dirichlet(np.ones(len(question.answers)), count) for question in QUESTIONS]
  return np.concatenate(parts, axis=1).astype(np.float32)


def make_run(count=20, **changes):
  rng = np.random.default_rng(3)
  voted = fractions(rng, count)
  steps = range(0, 2000, 10)
  run = report.Run(
      name="gz2", facts={"model": "resnet18", "parameters": 11193893, "seed": 20131, "seconds": 812.44},
      data={"dataset": "galaxy_zoo_challenge", "source": "https://www.kaggle.com/c/galaxy-zoo-the-galaxy-challenge"},
      results={"accuracy": 0.8125},
      history={"train/loss": [(step, 3 * 0.995**step + 0.01 * rng.random()) for step in steps],
               "eval/loss": [(500, 0.3), (1000, 0.03), (2000, 0.04)], "eval/rmse": [(2000, 0.1)],
               "eval/rmse/spiral": [(2000, 0.1)], "learning_rate": [(step, 1e-3) for step in steps]},
      ids=np.arange(100, 100 + count), predicted=(0.8 * voted + 0.2 * fractions(rng, count)).astype(np.float32),
      voted=voted, images=rng.integers(0, 255, (count, 24, 24, 3), np.uint8), notes=["Trained on simulated galaxies"])
  return run._replace(**changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A run with some unlabelled galaxies, its page and its folder."""
  run = make_run()
  run.voted[:3] = np.nan
  run.results["rmse"] = float(np.sqrt(np.nanmean((run.predicted.astype(np.float64) - run.voted) ** 2)))
  folder = tmp_path_factory.mktemp("run")
  return run, Page(report.write(run, folder)), folder


def test_page_loads_nothing_and_is_well_formed(written):
  _, page, folder = written
  assert (folder / "report.html").stat().st_size < 4e6
  loaded = [attributes[key] for _, attributes in page.elements for key in ("src", "srcset", "data", "poster")
            if key in attributes]
  links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
  assert len(loaded) == len(page.all("img")) > 25
  assert all(uri.startswith("data:image/") for uri in loaded)
  assert all(link.startswith(("#", "data:")) for link in links)
  assert not page.all("script") and not page.all("iframe")
  assert not re.search(r"url\(|@import", page.source)
  ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
  assert len(set(ids)) == len(ids)
  assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_everything_shown_is_described(written):
  _, page, _ = written
  assert all(attributes.get("alt") for attributes in page.all("img"))
  assert len(page.all("figure")) == len(page.all("figcaption")) > 0
  assert len(page.all("table")) == len(page.all("caption")) == 4
  assert [attributes.get("lang") for attributes in page.all("html")] == ["en"]
  assert len(page.all("h1")) == 1
  assert "Trained on simulated galaxies" in page.text


def test_figures_beside_the_page_are_readable(written):
  _, page, folder = written
  names = {path.name for path in (folder / "figures").iterdir()}
  assert names >= {"curve_loss.png", "curve_rmse.png", "curve_learning_rate.png", "rmse_by_question.png",
                   "calibration.png", "class_occurrences.png", "gallery_best.png", "gallery_worst.png"}
  assert sum(name.startswith("predicted_") for name in names) == len(QUESTIONS)
  assert "curve_spiral.png" not in names
  for name in names:
    with Image.open(folder / "figures" / name) as image:
      image.load()
      assert image.format == "PNG" and min(image.size) > 300
  assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
  assert len(page.all("figure")) == len(names) - 2  # The galleries are cards on the page.


def test_numbers_on_the_page(written):
  run, page, _ = written
  error = run.predicted[3:].astype(np.float64) - run.voted[3:]
  mean = run.voted[3:].astype(np.float64).mean(axis=0)
  ours, constant = np.sqrt((error**2).mean()), np.sqrt(((mean - run.voted[3:]) ** 2).mean())
  assert f"RMSE{ours:.4f}mean predictor {constant:.4f}" in page.text
  assert "Galaxies17with votes, of 20" in page.text
  spiral = np.sqrt((error[:, 7:9] ** 2).mean())
  alts = [attributes["alt"] for attributes in page.all("img")]
  assert any(f"spiral arms {spiral:.3f}" in alt for alt in alts)
  order = 3 + np.argsort(np.sqrt((error**2).mean(axis=1)))
  expected = [*order[:8], *order[::-1][:8]]
  cards = re.findall(r"(\d+)RMSE (\d\.\d{4})Predicted", page.text)
  assert [int(identifier) for identifier, _ in cards] == [100 + row for row in expected]
  assert cards[0][1] == f"{np.sqrt((error[order[0] - 3]**2).mean()):.4f}"
  assert "0.03, at step 1,000" in page.text  # The lowest evaluation loss.
  assert "The evaluation reports" not in page.text
  assert "11,193,893" in page.text and "20131" in page.text and "0.8125" in page.text


def test_what_comes_from_outside_is_escaped(tmp_path):
  evil = "<script>alert('x')</script>\"&</table>$x_{"
  run = make_run(4, name=evil, voted=np.full((4, 37), np.nan), facts={evil: evil}, data={"source": evil},
                 results={evil: 1.0}, notes=[evil], history={evil: [(0, 1.0)], "train/../$x_{<b>": [(0, 1.0)],
                                                     "a$_{<b>/..$x_{<i>&": [(0, 1.0), (1, 2.0)]})
  page = Page(report.write(run, tmp_path))
  assert not page.all("script") and not page.all("b") and not page.all("i")
  assert page.text.count(evil) >= 6
  assert "a$_{<b> ends at 2" in page.text
  assert {path.name for path in tmp_path.iterdir()} == {"report.html", "figures"}


def test_without_history_or_votes(tmp_path):
  run = make_run(5, history={}, voted=np.full((5, 37), np.nan, np.float32), facts={}, data={}, results={}, notes=[])
  page = Page(report.write(run, tmp_path))
  assert "None of them has votes" in page.text
  assert "Learning curves" not in page.text and "Voted" not in page.text and not page.all("table")
  assert {path.name for path in (tmp_path / "figures").iterdir()} == {"class_occurrences.png", "gallery_first.png"}


def test_one_galaxy_with_some_answers_missing(tmp_path):
  run = make_run(1, history={"train/loss": [(0, float("nan"))], "eval/loss": []})
  run.voted[0, 3:5] = np.nan
  run.voted[0, 25] = np.nan
  error = (run.predicted[0].astype(np.float64) - run.voted[0])
  page = Page(report.write(run, tmp_path))
  assert f"{np.sqrt(np.nanmean(error**2)):.4f}" in page.text
  assert not (tmp_path / "figures" / "predicted_02_edgeon.png").exists()
  assert (tmp_path / "figures" / "predicted_09_bulge_shape.png").exists()


def test_a_function_gives_the_images_and_another_score_is_noted(tmp_path):
  asked = []

  def images(rows):
    asked.append(rows)
    return np.zeros((len(rows), 16, 16, 3), np.uint8)

  page = Page(report.write(make_run(12, images=images, history={}, results={"rmse": 0.75}), tmp_path))
  assert sorted(np.concatenate(asked)) == list(range(12))
  assert "The evaluation reports an RMSE of 0.7500" in page.text


@pytest.mark.parametrize("change, message", [
    (lambda run: run._replace(predicted=run.predicted[:3]), r"predicted of shape \(4, 37\)"),
    (lambda run: run._replace(voted=run.voted[:, :5]), r"voted of shape \(4, 37\)"),
    (lambda run: run._replace(ids=run.ids[:0]), "at least one galaxy"),
    (lambda run: run._replace(predicted=np.where(np.arange(37) == 3, np.nan, run.predicted)),
     "Class2.1 of galaxy 100 is nan"),
    (lambda run: run._replace(images=run.images[..., :1]), "type uint8"),
])
def test_what_cannot_be_reported_leaves_the_old_report(tmp_path, change, message):
  (tmp_path / "report.html").write_text("old")
  with pytest.raises(ValueError, match=message):
    report.write(change(make_run(4, history={})), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
  assert (tmp_path / "report.html").read_text() == "old"


def test_importing_the_report_leaves_matplotlib_alone():
  code = "import sys, galaxy_jax.report; sys.exit('matplotlib' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_calibration_by_hand():
  predicted = np.zeros((2, 37))
  voted = np.full((2, 37), np.nan)
  predicted[0, :4], voted[0, :4] = [0.05, 0.1, 0.62, 1.0], [0.0, 0.4, 0.5, 1.0]
  result = measures.calibration(predicted, voted, bins=5)
  np.testing.assert_array_equal(result.count, [2, 0, 0, 1, 1])
  np.testing.assert_allclose(result.predicted, [0.075, np.nan, np.nan, 0.62, 1.0])
  np.testing.assert_allclose(result.voted, [0.2, np.nan, np.nan, 0.5, 1.0])
  assert result.error == pytest.approx((2 * 0.125 + 0.12 + 0.0) / 4)


def test_calibration_counts_values_beyond_the_ends():
  predicted, voted = np.full((1, 37), 1.2), np.ones((1, 37))
  predicted[0, 0], voted[0, 0] = -0.1, 0.0
  np.testing.assert_array_equal(measures.calibration(predicted, voted, bins=2).count, [1, 36])


def test_main_class_follows_the_leading_answers():
  disk = {"smooth_or_features_smooth": 0.2, "smooth_or_features_features_or_disk": 0.8}
  face_on = {**disk, "edgeon_yes": 0.1, "edgeon_no": 0.7}
  cases = {
      "smooth, completely round": votes(smooth_or_features_smooth=0.6, rounded_completely_round=0.4),
      "smooth, in between": votes(smooth_or_features_smooth=0.6, rounded_in_between=0.4),
      "smooth, cigar-shaped": votes(smooth_or_features_smooth=0.6, rounded_cigar_shaped=0.4),
      "edge-on disk": votes(**disk, edgeon_yes=0.5, edgeon_no=0.3, spiral_spiral=0.3),
      "barred spiral": votes(**face_on, bar_bar=0.5, bar_no_bar=0.2, spiral_spiral=0.6, spiral_no_spiral=0.1),
      "unbarred spiral": votes(**face_on, bar_bar=0.2, bar_no_bar=0.5, spiral_spiral=0.6, spiral_no_spiral=0.1),
      "featured, no spiral arms": votes(**face_on, bar_bar=0.5, spiral_spiral=0.1, spiral_no_spiral=0.6),
      "star or artifact": votes(smooth_or_features_star_or_artifact=0.9, rounded_in_between=0.1),
  }
  assert tuple(cases) == measures.MAIN_CLASSES
  np.testing.assert_array_equal(measures.main_class(np.stack(list(cases.values()))), np.arange(8))
  undecided = np.stack([votes(), votes(smooth_or_features_smooth=1.0), np.full(37, np.nan)])
  np.testing.assert_array_equal(measures.main_class(undecided), [-1, -1, -1])


def test_class_table_counts(tmp_path):
  smooth, spiral = (votes(smooth_or_features_smooth=1, rounded_in_between=1),
                    votes(smooth_or_features_features_or_disk=1, edgeon_no=1, bar_bar=1, spiral_spiral=1))
  run = make_run(4, history={}, predicted=np.stack([smooth, smooth, smooth, spiral]),
                 voted=np.stack([smooth, smooth, spiral, spiral]))
  text = Page(report.write(run, tmp_path)).text
  assert "smooth, in between23100%67%" in text
  assert "barred spiral2150%100%" in text
  assert "Same class75.0%" in text


def test_the_few_steps_left_at_the_end_of_training_are_no_point_of_the_curve():
  points = [(step, 0.1 - step * 1e-4) for step in range(20, 220, 20)]
  for last, end in ((201, 200), (219, 219)):
    chart, = figures.curves({"train/rmse": [*points, (last, 0.05)]})
    assert f"(step {end})" in chart.caption


def drawn(monkeypatch, module):
  """The figures that a module makes from here on, in a list that fills."""
  made = []
  monkeypatch.setattr(module, "png", lambda figure: made.append(figure) or style.png(figure))
  return made


def test_a_single_step_has_one_label_on_its_axis(monkeypatch):
  made = drawn(monkeypatch, figures)
  figures.curves({"train/loss": [(1, 2.0)], "eval/loss": [(1, 1.5)]})
  assert [tick.get_text() for tick in made[0].axes[0].get_xticklabels()] == ["1"]


def test_only_what_can_be_better_has_a_best_point(monkeypatch):
  names = ("learning_rate", "images_per_second", "eval/gradient_norm", "eval/parameter_norm", "eval/loss")
  made = drawn(monkeypatch, figures)
  charts = figures.curves({name: [(1, 0.1), (2, 0.3), (3, 0.2)] for name in names})
  best = {chart.name: len(figure.axes[0].lines) > 1 for chart, figure in zip(charts, made, strict=True)}
  assert best == {"curve_loss": True, "curve_learning_rate": False, "curve_images_per_second": False,
                  "curve_gradient_norm": False, "curve_parameter_norm": False}
  assert [chart.name for chart in charts if "highest" in chart.caption or "lowest" in chart.caption] == ["curve_loss"]


@pytest.mark.parametrize("names", [("smooth, completely round", "W" * 30), ("a galaxy with WWWWWWWWWWWWWWWW", "b")])
def test_names_and_counts_of_classes_are_not_cut(names):
  counted = np.repeat([0, 1], [1234567, 10])
  chart = figures.class_occurrences(counted, counted, names=names, truth="labelled")
  pixels = np.asarray(Image.open(io.BytesIO(chart.png)).convert("L"))
  assert (pixels[:, :4] == 255).all() and (pixels[:, -4:] == 255).all()


def test_tables_scroll_by_themselves_and_break_names_between_words():
  shown = page.table(("class", "one", "two", "three"), [("completely_round", "0.5", "x" * 17, "0.1 to 0.2")], "A", "b")
  assert shown.startswith('<div class="scroll"') and shown.endswith("</table></div>")
  assert "completely_<wbr>round" in shown
  # What is longer than a number may break, a number may not.
  assert "<td class=number>0.5<" in shown and '<td class="number long">xxx' in shown
  assert "class=many" not in shown
  assert "class=many" in page.table(("class", *"abcdef"), [("spiral", *["100.0%"] * 6)], "A", "b")
  assert re.search(r"\.scroll tbody th {[^}]*overflow-wrap: normal", page.CSS)
  assert re.search(r"\.scroll {[^}]*overflow-x: auto", page.CSS)
