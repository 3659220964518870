"""Figures of found galaxies: curves of precision and recall, errors of shape, and outlines over images."""
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from galaxy_jax import field_files
from galaxy_jax.detection.masks import outlines
from galaxy_jax.report.class_figures import curve_figure
from galaxy_jax.report.class_measures import Curve
from galaxy_jax.report.instance_measures import SHAPES
from galaxy_jax.report.style import ACCENT, INK, WIDTH, Chart, new, place, png, styled

#: Sides of images with outlines, pixels; drawn twice as large and scaled down, so that lines are smooth.
_DRAWN = 288
#: Of classes, in their order: the colours that they have everywhere, and what these are called.
COLOURS = tuple(zip(field_files.COLOURS, ("light blue", "orange", "green", "pink", "yellow", "red", "dark blue"),
                    strict=True))
#: What is there, and what of it is to be ignored.
_TRUE, _IGNORED = "#FFFFFF", "#8A8F98"


def colour_of(label: int) -> tuple[str, str]:
  """The colour of a class, and its name."""
  return COLOURS[label % len(COLOURS)]


def outlined(image: np.ndarray, truth: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray],
             least: float) -> np.ndarray:
  """An image (S, S, 3) uint8 with the outlines of what is there, white or grey, and of what is found, by class.

  Args:
    image: of the galaxies.
    truth, found: of it, see tasks.instance_scores.
    least: detections of a lower score are left out.

  Returns:
    (288, 288, 3) uint8.
  """
  side = 2 * _DRAWN
  picture = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
  pen, scale = ImageDraw.Draw(picture), side / image.shape[0]
  marks = [(mask, _IGNORED if ignored else _TRUE, 3)
           for mask, ignored in zip(truth["masks"], truth["ignore"], strict=True)]
  marks += [(mask, colour_of(int(label))[0], 4)
            for mask, label, score in zip(found["masks"], found["classes"], found["scores"], strict=True)
            if score >= least]
  for mask, colour, width in marks:
    for points in outlines(mask):
      closed = np.concatenate([points, points[:1]]) + 0.5
      pen.line([tuple(point) for point in (closed * scale).tolist()], fill=ImageColor.getrgb(colour), width=width)
  return np.asarray(picture.resize((_DRAWN, _DRAWN), Image.Resampling.LANCZOS))


def precision_recall(curves: Sequence[tuple[str, Curve]], kind: str) -> Chart:
  """Curves of precision and recall; `kind`: boxes or outlines."""
  spoken = ", ".join(f"{name} {curve.value:.3f}" for name, curve in curves)
  return Chart(f"precision_recall_{kind}", f"Precision and recall of {kind}",
               curve_figure(curves, "recall", "precision", "AP", diagonal=False),
               f"Precision against recall; average precision: {spoken}.",
               f"Detections count as right where their {kind} overlap by half with those of a galaxy that nothing "
               "better found already. From left to right ever less probable ones are taken in.")


def shapes(errors: Mapping[str, np.ndarray], least: float | None = None) -> Chart:
  """Histograms of how far the masks of matched galaxies are off.

  Args:
    errors: see detection.shape_errors.MatchedObjects.errors.
    least: the operating score, below which detections are left out of them, to be named.
  """
  height, gap = 1.25, 0.62
  with styled():
    figure = new(len(SHAPES) * (height + gap))
    for row, (name, words, unit) in enumerate(SHAPES):
      axes = place(figure, 0.62, (len(SHAPES) - 1 - row) * (height + gap) + 0.48, WIDTH - 0.77, height)
      values = errors[name]
      low, high = np.quantile(values, (0.01, 0.99))
      axes.hist(np.clip(values, low, high), bins=30, color=ACCENT)
      axes.axvline(np.median(values), color=INK, linewidth=1)
      axes.set(xlabel=f"{words} ({unit})" if unit else words, ylabel="galaxies")
    image = png(figure)
  score = "that at which " if least is None else f"{least:.2f}, where "
  spoken = "; ".join(f"{words} {np.median(errors[name]):.3g} {unit}".rstrip() for name, words, unit in SHAPES)
  return Chart("shapes", "Errors of position, size and shape", image, f"Histograms; medians: {spoken}.",
               f"Of the {len(errors['centroid']):,} galaxies whose outlines were matched with a score of at least "
               f"{score}precision and recall are best together; those matched below it are left out. Lines are "
               f"medians: {spoken}. The outermost hundredths are drawn at the ends.")
