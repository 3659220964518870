"""The web page in a real browser, without a window: dropped galaxies, the keyboard, a phone, dark and light."""
import csv
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from blob_finder import BlobFinder, paint, sky_of
from conftest import blob
from own_survey import encoded

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from serve_models import ClassStandIn, StandIn, serving  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
  pytest.skip("there is no Chromium", allow_module_level=True)

PHONE, DESK = {"width": 320, "height": 640}, {"width": 1280, "height": 900}


class Large(StandIn):
  """The stand-in with images that are worth looking at."""
  size = 128


@pytest.fixture(scope="module")
def address():
  with serving(Large()) as url:
    yield url


@pytest.fixture(scope="module")
def browser():
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, address):
  """Opens the page in a context of its own; afterwards nothing was asked of another host, and nothing went wrong."""
  contexts, faults = [], []

  def open_page(url=address, **settings):
    context = browser.new_context(**{"viewport": DESK, "accept_downloads": True} | settings)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("request", lambda request: request.url.startswith((url, "blob:")) or faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and "status of 400" not in message.text
            and faults.append(message.text))
    page.goto(url)
    contexts.append(context)
    return page

  yield open_page
  for context in contexts:
    context.close()
  assert not faults


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Two galaxies and a text."""
  folder = tmp_path_factory.mktemp("galaxies")
  rng = np.random.default_rng(0)
  for name, smooth in (("round.jpg", 1.0), ("disk.jpg", 0.1)):
    (folder / name).write_bytes(blob(rng, smooth, side=160))
  (folder / "notes.txt").write_text("no galaxy")
  return folder


def give(page, *paths):
  """Chooses files and waits until they are answered."""
  before = page.locator("#cards > li").count()
  page.set_input_files("#files", list(map(str, paths)))
  sync_api.expect(page.locator("#cards > li")).to_have_count(before + len(paths))
  sync_api.expect(page.locator("#status")).to_contain_text("answered")


def assert_accessible(page):
  """Runs axe-core where it is installed."""
  axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
  broken = axe.Axe().run(page).response["violations"]
  assert not broken, [(fault["id"], fault["help"], [node["html"][:200] for node in fault["nodes"]]) for fault in broken]


def test_a_galaxy_gets_its_card(opened, files):
  page = opened(reduced_motion="reduce")  # bars have their width at once
  give(page, files / "round.jpg", files / "notes.txt")
  cards = page.locator("#cards > li")
  assert cards.nth(0).locator("h3").inner_text() == "round.jpg"
  model = Large()
  answers = model.answers(model.decode((files / "round.jpg").read_bytes())[None])
  said = model.table(answers)
  description = said["description"][0].as_py()
  assert cards.nth(0).locator(".sentence").inner_text().lower() == description.lower()
  assert said["gz2_class"][0].as_py() in cards.nth(0).locator(".short").inner_text()
  assert ("unlike" in cards.nth(0).locator(".short").inner_text()) == (answers.novelty[0] > 1)
  assert cards.nth(0).locator(".question").count() == 11 and cards.nth(0).locator(".answer").count() == 37
  # The first answer of the first question, in words and as a bar.
  first = cards.nth(0).locator(".answer").first
  percent = round(100 * float(answers.fractions[0, 0]))
  assert re.match(rf"smooth\s*{percent} %", first.inner_text())
  bar, share = (first.locator(name).bounding_box()["width"] for name in (".bar", ".share"))
  assert abs(share / bar - answers.fractions[0, 0]) < 0.02
  # What was seen is drawn, and is no black square.
  light = "canvas => canvas.getContext('2d').getImageData(64, 64, 1, 1).data[0]"
  assert cards.nth(0).locator("canvas.image").evaluate(light) > 100
  assert "notes.txt is no" in cards.nth(1).inner_text()
  assert "1 could not be" in page.locator("#status").inner_text()


def test_questions_that_few_were_asked_are_faint(opened, files):
  page = opened()
  give(page, files / "round.jpg")
  model = Large()
  fractions = model.predict(model.decode((files / "round.jpg").read_bytes())[None])[0]
  shown = page.locator(".question").evaluate_all("items => items.map(item => item.classList.contains('asked'))")
  assert shown[0] and shown[5] and shown[1] == bool(fractions[1] >= 0.5) and shown[6] == bool(fractions[0] >= 0.5)
  assert not all(shown)


def test_the_table_is_downloaded(opened, files, tmp_path):
  page = opened()
  give(page, files / "round.jpg", files / "disk.jpg", files / "notes.txt")
  for form in ("csv", "parquet"):
    with page.expect_download() as download:
      page.click(f"[data-format={form}]")
    download.value.save_as(tmp_path / f"table.{form}")
  with open(tmp_path / "table.csv", newline="") as file:
    rows = list(csv.DictReader(file))
  table = pq.read_table(tmp_path / "table.parquet").to_pylist()
  for made in (rows, table):
    assert [row["galaxy_id"] for row in made] == ["round.jpg", "disk.jpg", "notes.txt"]
  assert float(rows[1]["Class1.1"]) == pytest.approx(table[1]["Class1.1"], abs=1e-6)


@pytest.mark.parametrize("limits", [{"results": 2}, {"bytes": 12_000}], ids=str)
def test_a_table_may_be_longer_than_a_request(opened, files, tmp_path, limits):
  with serving(Large(), **limits) as address:
    page = opened(address)
    names = ["round.jpg", "disk.jpg", "notes.txt", "round.jpg", "disk.jpg"]
    for name in names:
      give(page, files / name)
    with page.expect_download() as download:
      page.click("[data-format=csv]")
    download.value.save_as(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
      rows = list(csv.DictReader(file))
    assert [row["galaxy_id"] for row in rows] == names and rows[0] == rows[3] != rows[1]
    page.click("[data-format=parquet]")
    sync_api.expect(page.locator("#status")).to_contain_text("5 answers are more than fit into one Parquet file")


def test_where_it_looked_is_shown_and_hidden(opened, files):
  page = opened()
  give(page, files / "disk.jpg")
  button = page.locator(".where")
  assert button.get_attribute("aria-pressed") == "false" and not page.locator("canvas.map").is_visible()
  button.click()
  page.wait_for_selector("canvas.map", state="visible")
  assert button.get_attribute("aria-pressed") == "true"
  assert re.search("percentage points|No single place", page.locator(".fall").inner_text())
  button.click()
  page.wait_for_selector("canvas.map", state="hidden")


def test_it_is_used_by_keyboard_alone(opened, files):
  page = opened()
  focused = "() => { const e = document.activeElement; return e.id || e.className || e.dataset.format || e.tagName; }"

  def tab_to(wanted):
    for _ in range(20):
      page.keyboard.press("Tab")
      if page.evaluate(focused) == wanted:
        # Whoever tabs sees where they are: the element, or the box around a file's, has an outline.
        width = page.evaluate("() => parseFloat(getComputedStyle(document.activeElement.closest('.drop') || "
                              "document.activeElement).outlineWidth)")
        assert width >= 2, wanted
        return
    raise AssertionError(f"{wanted} is not reached by the keyboard")

  # Listened to from the start: the browser has to know before the key comes.
  page.on("filechooser", lambda chooser: chooser.set_files(str(files / "disk.jpg")))
  tab_to("files")
  page.keyboard.press("Enter")
  page.wait_for_selector("#cards > li")
  tab_to("examples")
  tab_to("csv")
  with page.expect_download():
    page.keyboard.press("Enter")
  tab_to("where")
  page.keyboard.press("Space")
  page.wait_for_selector("canvas.map", state="visible")
  tab_to("SUMMARY")
  page.keyboard.press("Enter")
  assert page.locator(".tree").get_attribute("open") is None
  page.locator("#clear").focus()
  page.keyboard.press("Enter")
  assert page.evaluate(focused) == "files" and page.locator("#cards > li").count() == 0


def test_galaxies_are_dropped_and_pasted(opened, files):
  page = opened()
  carry = """async ([address, kind]) => {
    const blob = await (await fetch(address)).blob();
    const transfer = new DataTransfer();
    transfer.items.add(new File([blob], kind + ".jpg", {type: "image/jpeg"}));
    document.body.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, {clipboardData: transfer, bubbles: true})
      : new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }"""
  for kind in ("drop", "paste"):
    page.evaluate(carry, ["static/example_spiral.jpg", kind])
    page.wait_for_selector(f"h3:has-text('{kind}.jpg')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_accessible_and_fits(opened, tmp_path, viewport, scheme):
  page = opened(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
  page.screenshot(path=tmp_path / "empty.png", full_page=True)
  page.click("#examples")
  sync_api.expect(page.locator("#status")).to_have_text("3 images answered.")
  page.locator(".where").first.click()
  page.wait_for_selector("canvas.map", state="visible")
  page.screenshot(path=tmp_path / "answered.png", full_page=True)
  # A phone shows the images first; the trees are long.
  assert page.locator(".tree[open]").count() == (0 if viewport == PHONE else 3)
  # No short name is broken in two by the long value beside it, nor are an answer's words.
  one_line = "parts => parts.every(part => part.getBoundingClientRect().height < 36)"
  assert page.locator(".facts dt").evaluate_all(one_line)
  assert viewport == PHONE or page.locator(".answer .name").evaluate_all(one_line)
  assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
  assert page.evaluate("document.getAnimations().length") == 0
  background = page.evaluate("getComputedStyle(document.body).backgroundColor")
  assert (max(map(int, re.findall(r"\d+", background))) < 60) == (scheme == "dark")
  assert_accessible(page)


@pytest.fixture(scope="module")
def outlined():
  """Where a page answers that shows outlines, too."""
  with serving(Large(), BlobFinder()) as url:
    yield url


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
  """An image with two objects, one with one and one without any."""
  folder = tmp_path_factory.mktemp("fields")
  boxes = {"two.png": ((40, 40, 72, 90), (100, 8, 118, 30)), "one.png": ((50, 40, 80, 90),), "none.png": ()}
  for name, places in boxes.items():
    field = sky_of(128, 128)
    for number, box in enumerate(places):
      paint(field, box, score=200 - 40 * number, label=number)
    (folder / name).write_bytes(encoded(field, "PNG"))
  return folder


def test_objects_are_outlined_and_listed(opened, fields, outlined):
  page = opened(outlined)
  give(page, *(fields / name for name in ("two.png", "one.png", "none.png")))
  two, one, none = page.locator(".card").all()
  assert two.locator(".objects li").all_inner_texts() == [
      "1: round, 78 %, in the middle", "2: long, 63 %, at the bottom left"]
  assert one.locator(".objects").inner_text().split() == "1 object found round, 78 %, in the middle".split()
  assert none.locator(".objects").inner_text() == "No object found" and not none.locator(".toggle").is_visible()
  # The outline lies on the object: where it is in the picture, of 128 pixels, is where it is on the page.
  frame, drawn = two.locator(".picture").bounding_box(), two.locator(".outlines path:not(.edge)").first.bounding_box()
  found = [(drawn[start] - frame[start]) / frame["width"] * 128 for start in "yx"]
  assert np.allclose(found, (40, 40), atol=1.5)
  assert np.allclose([drawn[side] / frame["width"] * 128 for side in ("height", "width")], (32, 50), atol=2)
  assert two.locator(".outlines").get_attribute("aria-label") == "Outlines: round, long"
  assert one.locator(".outlines text").count() == 0 and two.locator(".outlines text").count() == 2
  # By pointer and by keyboard; the map of the model's answer is another button's.
  button = two.get_by_role("button", name="Outlines")
  assert button.get_attribute("aria-pressed") == "true"
  button.click()
  assert button.get_attribute("aria-pressed") == "false" and not two.locator(".outlines").is_visible()
  assert one.locator(".outlines").is_visible()
  page.keyboard.press("Space")
  assert button.get_attribute("aria-pressed") == "true" and two.locator(".outlines").is_visible()
  two.locator(".where").click()
  two.locator("canvas.map").wait_for(state="visible")
  assert two.locator(".outlines").is_visible()


def test_outlines_lie_on_the_objects_of_fits_images(opened, outlined, tmp_path):
  fits = pytest.importorskip("astropy.io.fits")
  pixels = np.random.default_rng(0).normal(1, 0.01, (160, 128)).astype(np.float32)
  pixels[36:56, 20:60] = 100  # from the bottom, 20 rows above what is shown
  fits.writeto(tmp_path / "low.fits", pixels)
  page = opened(outlined)
  give(page, tmp_path / "low.fits")
  assert page.locator(".objects li").inner_text().endswith("at the bottom left")
  frame, drawn = (page.locator(name).bounding_box() for name in (".picture", ".outlines path:not(.edge)"))
  found = [(drawn[start] - frame[start]) / frame["width"] * 128 for start in "yx"]
  assert np.allclose(found, (144 - 56, 20), atol=1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_outlines_are_accessible_and_fit(opened, fields, outlined, tmp_path, viewport, scheme):
  page = opened(outlined, viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
  give(page, fields / "two.png", fields / "one.png")
  page.screenshot(path=tmp_path / "outlined.png", full_page=True)
  assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
  assert page.locator(".toggle").first.bounding_box()["height"] >= 24
  assert_accessible(page)


def test_classes_are_bars(opened, files, tmp_path):
  with serving(ClassStandIn()) as address:
    page = opened(address)
    give(page, files / "disk.jpg")
    assert page.locator(".question").count() == 0 and page.locator(".answer").count() == 3
    said = page.locator(".sentence").inner_text().lower().replace("_", " ")
    assert page.locator(".answer .name").first.inner_text() == said
    page.screenshot(path=tmp_path / "classes.png", full_page=True)
    assert_accessible(page)


def test_a_real_galaxy(opened, samples, tmp_path):
  with zipfile.ZipFile(samples / "kaggle_format_sample/images_training_rev1.zip") as archive:
    name = next(name for name in sorted(archive.namelist()) if name.endswith(".jpg"))
    (tmp_path / Path(name).name).write_bytes(archive.read(name))
  page = opened()
  give(page, tmp_path / Path(name).name)
  assert page.locator("h3").inner_text() == Path(name).name
  assert page.locator(".question").count() == 11
  page.screenshot(path=tmp_path / "real.png", full_page=True)
