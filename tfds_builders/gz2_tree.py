"""The Galaxy Zoo 2 decision tree as plain data.

Eleven questions, 37 answers, in the column order of the Galaxy Zoo challenge on Kaggle
(`Class1.1` … `Class11.6`). The names of questions and answers are those of the Galaxy Zoo 2
catalogue. Arithmetic on votes is in `galaxy_jax.decision_tree`; this module holds only the table,
so that the data set builders can use it without jax.

Sources: Willett et al. 2013 (MNRAS 435, 2835), table 2; the data page of the Kaggle challenge.
"""
from typing import NamedTuple


class Question(NamedTuple):
  """One question of the tree.

  Attributes:
    name: the catalogue's name, `spiral` for instance.
    text: what the volunteer was asked.
    answers: the names of the answers, in column order.
    start: the column of the first answer, 0 to 36.
    parent: the column of the answer that leads here, or None where every volunteer is asked.
  """
  name: str
  text: str
  answers: tuple[str, ...]
  start: int
  parent: int | None

  @property
  def columns(self) -> slice:
    """The question's columns among the 37."""
    return slice(self.start, self.start + len(self.answers))


QUESTIONS = (
    Question("smooth_or_features", "Is the galaxy simply smooth and rounded, with no sign of a disk?",
             ("smooth", "features_or_disk", "star_or_artifact"), 0, None),
    Question("edgeon", "Could this be a disk viewed edge-on?", ("yes", "no"), 3, 1),
    Question("bar", "Is there a sign of a bar feature through the centre of the galaxy?", ("bar", "no_bar"), 5, 4),
    Question("spiral", "Is there any sign of a spiral arm pattern?", ("spiral", "no_spiral"), 7, 4),
    Question("bulge_prominence", "How prominent is the central bulge, compared with the rest of the galaxy?",
             ("no_bulge", "just_noticeable", "obvious", "dominant"), 9, 4),
    Question("odd", "Is there anything odd?", ("yes", "no"), 13, None),
    Question("rounded", "How rounded is it?", ("completely_round", "in_between", "cigar_shaped"), 15, 0),
    Question("odd_feature", "Is the odd feature a ring, or is the galaxy disturbed or irregular?",
             ("ring", "lens_or_arc", "disturbed", "irregular", "other", "merger", "dust_lane"), 18, 13),
    Question("bulge_shape", "Does the galaxy have a bulge at its centre? If so, what shape?",
             ("rounded", "boxy", "no_bulge"), 25, 3),
    Question("arms_winding", "How tightly wound do the spiral arms appear?", ("tight", "medium", "loose"), 28, 7),
    Question("arms_number", "How many spiral arms are there?",
             ("1", "2", "3", "4", "more_than_4", "cant_tell"), 31, 7),
)

#: The 37 columns of the challenge's tables, `Class1.1` … `Class11.6`.
COLUMNS = tuple(f"Class{q}.{a}" for q, question in enumerate(QUESTIONS, 1)
                for a in range(1, len(question.answers) + 1))

#: The same 37 as `question_answer`, `spiral_no_spiral` for instance.
ANSWER_NAMES = tuple(f"{question.name}_{answer}" for question in QUESTIONS for answer in question.answers)
