"""Sheets of galaxies by answer: those that most volunteers gave it to, of those who were asked."""
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.report import measures
from galaxy_jax.report.style import NEUTRAL, WIDTH, Chart, new, place, png, styled
from tfds_builders.gz2_tree import ANSWER_NAMES, QUESTIONS, Question

from .figures import REAL, SIMULATED

#: Galaxies an answer and a side.
ACROSS = 4
#: A question counts as asked where at least this share of the volunteers came to it.
_ASKED = 0.25
_GAP = 0.03
#: The middle part of an image that is shown.
_SHOWN = 0.66


def chosen(votes: np.ndarray, question: Question, answer: int, count: int = ACROSS) -> np.ndarray:
  """The galaxies with the highest share of one answer: first where the question was asked, then as often as possible.

  Args:
    votes: (N, 37) fractions.
    question: of the tree.
    answer: its place among the question's answers.
    count: how many.

  Returns:
    (count,) rows, the clearest first.
  """
  column = question.start + answer
  share = np.asarray(decision_tree.conditional(votes))[:, column]
  known = np.asarray(decision_tree.asked(votes, _ASKED))[:, QUESTIONS.index(question)]
  return np.lexsort((-np.where(known, share, votes[:, column]), ~known))[:count]


def _middle(image):
  side = round(_SHOWN * len(image))
  start = (len(image) - side) // 2
  return image[start:start + side, start:start + side]


def sheet(question: Question, real: tuple, simulated: tuple) -> Chart:
  """One question: a row an answer, real galaxies left, simulated ones right, each with its share.

  Args:
    question: of the tree.
    real: for each answer a list of (image, share of the answer among those asked).
    simulated: the same.
  """
  rows = len(question.answers)
  side = (WIDTH - 0.1 - _GAP * (2 * ACROSS - 2)) / (2 * ACROSS)
  row_height = side + 0.2
  with styled():
    figure = new(0.2 + rows * row_height)
    height = figure.get_figheight()
    for text, left, colour in (("real", 0.0, REAL), ("simulated", (WIDTH + 0.06) / 2, SIMULATED)):
      figure.text(left / WIDTH, 1 - 0.02 / height, text, color=colour, va="top", weight="bold")
    for row, answer in enumerate(question.answers):
      bottom = height - 0.2 - (row + 1) * row_height
      figure.text(0, (bottom + side + 0.03) / height, measures.words(answer), fontsize=8, va="bottom")
      for half, galaxies in enumerate((real[row], simulated[row])):
        for column, (image, share) in enumerate(galaxies):
          left = half * (WIDTH + 0.06) / 2 + column * (side + _GAP)
          axes = place(figure, left, bottom, side, side)
          axes.imshow(_middle(image), interpolation="bilinear")
          axes.set_axis_off()
          axes.text(0.04, 0.04, f"{share:.2f}", transform=axes.transAxes, color="white", fontsize=5.5)
    image = png(figure)
  return Chart(f"question_{question.name}", measures.question_in_words(question), image,
               f"Galaxies by answer to: {question.text} Real ones left, simulated ones right.",
               f"{question.text} A row an answer: the galaxies that the largest share of those asked gave it to (the "
               "number), real ones left, simulated ones right, each out of as many. Shown is the middle of each image.")


def gallery(images: list[list[np.ndarray]], labels: list[str]) -> bytes:
  """Simulated galaxies as a PNG: a column for each label, its galaxies below each other."""
  columns, rows = len(images), len(images[0])
  side = (WIDTH - _GAP * (columns - 1)) / columns
  with styled():
    figure = new(0.2 + rows * (side + _GAP))
    for column, (galaxies, label) in enumerate(zip(images, labels, strict=True)):
      left = column * (side + _GAP)
      figure.text((left + side / 2) / WIDTH, 1 - 0.03 / figure.get_figheight(), label, fontsize=5.5, ha="center",
                  va="top", color=NEUTRAL)
      for row, image in enumerate(galaxies):
        axes = place(figure, left, (rows - 1 - row) * (side + _GAP), side, side)
        axes.imshow(_middle(image), interpolation="bilinear")
        axes.set_axis_off()
    return png(figure)


#: The answers a gallery shows, a column each: question, answer, label.
GALLERY = (("rounded", "completely_round", "round"), ("rounded", "in_between", "in between"),
           ("rounded", "cigar_shaped", "cigar"), ("bulge_shape", "rounded", "edge-on"),
           ("arms_winding", "tight", "tight arms"), ("arms_winding", "loose", "loose arms"), ("bar", "bar", "bar"),
           ("odd_feature", "ring", "ring"), ("odd_feature", "irregular", "irregular"),
           ("odd_feature", "merger", "merger"))


def gallery_rows(votes: np.ndarray, count: int) -> list[np.ndarray]:
  """The rows of votes (N, 37) that a gallery shows, `count` for each of its columns, none twice.

  They are those that most volunteers gave the answer to; where it is no odd feature, the odd ones come last.
  """
  votes = votes.copy()
  columns = []
  for question, answer, _ in GALLERY:
    score = votes[:, ANSWER_NAMES.index(f"{question}_{answer}")]
    if question != "odd_feature":
      score = score * votes[:, ANSWER_NAMES.index("odd_no")]
    rows = np.argsort(-score, kind="stable")[:count]
    votes[rows] = 0
    columns.append(rows)
  return columns
