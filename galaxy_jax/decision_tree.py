"""Arithmetic on the votes of the Galaxy Zoo 2 decision tree, and reading a vote vector in words.

A vote vector holds the 37 answers of the tree on its last axis, in the column order of
`tfds_builders.gz2_tree`. *Cumulative* fractions are those of the Kaggle challenge: the share of all volunteers who
reached an answer, so that a question's answers sum to the fraction of the answer that leads to it (its parent), and
questions 1 and 6 sum to 1. *Conditional* fractions are those of the Galaxy Zoo catalogues: the share of the volunteers
who were asked. With p(c) the fraction of column c and π(c) the column of the answer that leads to its question,

  conditional(c) = p(c) / p(π(c)),    p(c) = conditional(c) · conditional(π(c)) · conditional(π(π(c))) · …

The functions of arrays work under jit, grad and vmap; `sentence` and `gz2_class` read one vector on the host.

References:
  Willett et al. 2013, MNRAS 435, 2835 (the tree and the class strings).
  Hart et al. 2016, MNRAS 461, 3663 (the `gz2_class` column computed from its debiased fractions).
  Dieleman, Willett & Dambre 2015, MNRAS 450, 1441 (the normalised output layer).
"""
import jax
import jax.numpy as jnp
import numpy as np

from tfds_builders.gz2_tree import COLUMNS, QUESTIONS

NUM_ANSWERS = len(COLUMNS)
NUM_QUESTIONS = len(QUESTIONS)
#: The number of answers to the question with the most.
MAX_ANSWERS = max(len(question.answers) for question in QUESTIONS)

#: The question of each column, (37,).
QUESTION_OF = np.repeat(np.arange(NUM_QUESTIONS), [len(question.answers) for question in QUESTIONS])
#: The column of each question's parent, (11,); 37, a column of ones put after the last, where all are asked.
QUESTION_PARENT = np.array([NUM_ANSWERS if question.parent is None else question.parent for question in QUESTIONS])
#: The parent of each column, (37,), likewise.
PARENT = QUESTION_PARENT[QUESTION_OF]

# Questions have two to seven answers. Laid out as 11 rows of 7, padded, every per-question operation is one
# reduction over the last axis; these two tables go there and back.
_START = np.array([question.start for question in QUESTIONS])
_SIZE = np.array([len(question.answers) for question in QUESTIONS])
_SLOT_VALID = np.arange(MAX_ANSWERS) < _SIZE[:, None]
_SLOT_COLUMN = np.where(_SLOT_VALID, _START[:, None] + np.arange(MAX_ANSWERS), 0)
_COLUMN_SLOT = MAX_ANSWERS * QUESTION_OF + np.arange(NUM_ANSWERS) - _START[QUESTION_OF]


def _check(values):
  if jnp.ndim(values) < 1 or jnp.shape(values)[-1] != NUM_ANSWERS:
    raise ValueError(f"expected the tree's {NUM_ANSWERS} answers on the last axis, got shape {jnp.shape(values)}")
  return jnp.asarray(values)


def _gather_parent(values, parent):
  """The values of the columns `parent`, 1 where that is the column after the last."""
  ones = jnp.ones((*values.shape[:-1], 1), values.dtype)
  return jnp.concatenate([values, ones], axis=-1)[..., parent]


def by_question(values, fill=0.0):
  """Lays the 37 answers out by question.

  Args:
    values: (..., 37).
    fill: the value of the slots without an answer.

  Returns:
    (..., 11, 7): answer a of question q in slot [q, a], `fill` after a question's last answer.
  """
  return jnp.where(_SLOT_VALID, _check(values)[..., _SLOT_COLUMN], fill)


def from_questions(padded):
  """The inverse of `by_question`: (..., 11, 7) → (..., 37)."""
  return padded.reshape(*padded.shape[:-2], NUM_QUESTIONS * MAX_ANSWERS)[..., _COLUMN_SLOT]


def question_sums(values):
  """Sums the answers of each question: (..., 37) → (..., 11)."""
  return jnp.sum(by_question(values), axis=-1)


def parent_fractions(cumulative_fractions):
  """The fraction of volunteers asked each question: (..., 37) cumulative → (..., 11), 1 for questions 1 and 6."""
  return _gather_parent(_check(cumulative_fractions), QUESTION_PARENT)


def conditional(cumulative_fractions, eps=1e-6):
  """Divides each answer by its parent: cumulative → conditional fractions.

  Args:
    cumulative_fractions: (..., 37) vote fractions as in the Kaggle challenge.
    eps: a parent at or below this counts as zero: nobody was asked.

  Returns:
    (..., 37). 0, with a gradient of 0, where nobody was asked.
  """
  values = _check(cumulative_fractions)
  parent = _gather_parent(values, PARENT)
  was_asked = parent > eps
  # The inner `where` keeps the division, and so the gradient, finite in the branch that is not taken.
  return jnp.where(was_asked, values / jnp.where(was_asked, parent, 1.0), 0.0)


def cumulative(conditional_fractions):
  """Multiplies down the tree: conditional → cumulative fractions, both (..., 37)."""
  values = _check(conditional_fractions)
  # Three rounds of c ← x · c[parent] reach the deepest questions (10 and 11), three answers below question 1.
  result = values
  for _ in range(3):
    result = values * _gather_parent(result, PARENT)
  return result


def tree_fractions(logits):
  """Vote fractions that are valid by construction: a softmax per question, times the parent.

  p(c) = p(π(c)) · exp(z(c)) / Σ exp(z(c')), the sum over the answers c' of c's question. Every question sums to its
  parent, to rounding.

  Args:
    logits: (..., 37).

  Returns:
    (..., 37) cumulative vote fractions.
  """
  return cumulative(from_questions(jax.nn.softmax(by_question(logits, fill=-jnp.inf), axis=-1)))


def sigmoid_fractions(logits):
  """Each answer by itself: p(c) = 1 / (1 + exp(-z(c))). Nothing makes a question sum to its parent. Both (..., 37)."""
  return jax.nn.sigmoid(_check(logits))


def dieleman_fractions(logits):
  """The output layer of the challenge's winner: rectify, normalise per question, multiply by the parent.

  q(c) = max(z(c), 0) / (Σ max(z(c'), 0) + 1e-12), then p(c) = p(π(c)) · q(c) from the top of the tree down
  (Dieleman et al. 2015; benanne/kaggle-galaxies). A question whose logits are all negative sums to 0 and
  passes no gradient.

  Args:
    logits: (..., 37).

  Returns:
    (..., 37) cumulative vote fractions.
  """
  positive = by_question(jax.nn.relu(_check(logits)))
  return cumulative(from_questions(positive / (jnp.sum(positive, axis=-1, keepdims=True) + 1e-12)))


def clipped_values(logits):
  """What the challenge's winner began with: each answer by itself, its value cut to [0, 1]. Both (..., 37).

  Normalised from the first step, `dieleman_fractions` sometimes got stuck, so the first 10,000 galaxies were learnt
  without it (benanne/kaggle-galaxies).
  """
  return jnp.clip(_check(logits), 0.0, 1.0)


def dirichlet_concentrations(logits):
  """The map from a network's outputs to Dirichlet concentrations: α = 1 + 100 σ(z), elementwise.

  Bounded below so that no predicted density has its mode on an edge, above so that certainty is finite
  (Walmsley et al. 2022, MNRAS 509, 3966; Zoobot's output layer).
  """
  return 1.0 + 100.0 * jax.nn.sigmoid(logits)


def dirichlet_fractions(concentrations):
  """The mean vote fractions under Dirichlet distributions: α / Σ α per question, times the parent.

  Args:
    concentrations: (..., 37), positive (`dirichlet_concentrations`).

  Returns:
    (..., 37) cumulative vote fractions.
  """
  sums = question_sums(concentrations)
  return cumulative(concentrations / sums[..., QUESTION_OF])


#: Output layers by name: logits (..., 37) → cumulative vote fractions (..., 37).
OUTPUT_LAYERS = {
    "tree": tree_fractions,
    "sigmoid": sigmoid_fractions,
    "dieleman": dieleman_fractions,
    "clipped": clipped_values,
    "dirichlet": lambda logits: dirichlet_fractions(dirichlet_concentrations(logits)),
}


def asked(cumulative_fractions, threshold=0.5):
  """Which questions count as asked: those that at least `threshold` of the volunteers reached.

  Args:
    cumulative_fractions: (..., 37).
    threshold: the least fraction of the answer that leads to a question.

  Returns:
    (..., 11) bool, always true for questions 1 and 6.
  """
  return parent_fractions(cumulative_fractions) >= threshold


def leading_answers(fractions):
  """The number, from 0, of each question's leading answer: (..., 37) → (..., 11) int32.

  The same for cumulative and conditional fractions. Ties go to the first in column order.
  """
  return jnp.argmax(by_question(fractions, fill=-jnp.inf), axis=-1).astype(jnp.int32)


_ROUNDED = ("completely round", "in between round and cigar-shaped", "cigar-shaped")
_BULGE_SHAPE = ("rounded bulge", "boxy bulge", "no bulge")
_BULGE_PROMINENCE = ("no bulge", "just noticeable bulge", "obvious bulge", "dominant bulge")
_BAR = ("bar", "no bar")
_WINDING = ("tight", "medium-wound", "loose")
_NUMBER = ("one", "two", "three", "four", "more than four")
_ODD_FEATURE = ("ring", "lens or arc", "disturbed", "irregular", "something else", "merger", "dust lane")


def _host_vector(votes):
  values = np.asarray(votes, np.float64)
  if values.shape != (NUM_ANSWERS,):
    raise ValueError(f"expected one vote vector of shape ({NUM_ANSWERS},), got {values.shape}")
  bad = np.flatnonzero(~(values >= 0.0))
  if bad.size:
    raise ValueError(f"{COLUMNS[bad[0]]} is {values[bad[0]]}: expected vote fractions, none negative or missing; "
                     "a model's logits go through one of OUTPUT_LAYERS first")
  return {question.name: values[question.columns] for question in QUESTIONS}


def sentence(votes):
  """Says in words what the volunteers, or a model, saw.

  Follows the leading answers from the first question down: "spiral, two tight arms, no bar, obvious bulge",
  "smooth, completely round; odd: ring". A part led by less than half of its question's votes begins with "perhaps";
  a question on the way that has no votes is left out.

  Args:
    votes: (37,) cumulative or conditional vote fractions.

  Returns:
    The sentence, without capital or full stop.

  Raises:
    ValueError: `votes` is not one vector, or a fraction is negative or missing.
  """
  answers = _host_vector(votes)

  def lead(name):
    return int(np.argmax(answers[name]))

  def say(words, *names):
    certain = all(np.max(answers[name]) >= 0.5 * np.sum(answers[name]) for name in names)
    return words if certain else f"perhaps {words}"

  def part(name, words):
    return [say(words[lead(name)], name)] if np.any(answers[name]) else []

  if not np.any(answers["smooth_or_features"]):
    return "no votes"
  first = lead("smooth_or_features")
  if first == 2:
    return say("star or artifact", "smooth_or_features")
  if first == 0:
    parts = [say("smooth", "smooth_or_features"), *part("rounded", _ROUNDED)]
  elif not np.any(answers["edgeon"]):
    parts = [say("features or disk", "smooth_or_features")]
  elif lead("edgeon") == 0:
    parts = [say("edge-on disk", "smooth_or_features", "edgeon"), *part("bulge_shape", _BULGE_SHAPE)]
  else:
    way = ("smooth_or_features", "edgeon", "spiral")
    if not np.any(answers["spiral"]):
      parts = [say("disk", *way[:2])]
    elif lead("spiral") == 0:
      parts = [say("spiral", *way), *_arms(answers, lead, say)]
    else:
      parts = [say("disk without spiral arms", *way)]
    parts += part("bar", _BAR) + part("bulge_prominence", _BULGE_PROMINENCE)
  text = ", ".join(parts)
  if answers["odd"][0] > answers["odd"][1]:
    odd = part("odd_feature", _ODD_FEATURE)
    text += f"; odd: {odd[0]}" if odd else "; odd"
  return text


def _arms(answers, lead, say):
  """The spiral arms' number and winding as at most one part of a sentence."""
  names = [name for name in ("arms_number", "arms_winding") if np.any(answers[name])]
  if not names:
    return []
  winding = [_WINDING[lead("arms_winding")]] if "arms_winding" in names else []
  number = lead("arms_number") if "arms_number" in names else len(_NUMBER)
  if number == len(_NUMBER):
    # "Can't tell", or nobody was asked: only the winding can be said.
    return [say(f"{winding[0]} arms", "arms_winding")] if winding else []
  return [say(" ".join([_NUMBER[number], *winding, "arm" if number == 0 else "arms"]), *names)]


def gz2_class(votes):
  """A class string as in the `gz2_class` column of the Galaxy Zoo 2 catalogue.

  From the leading answer of each question, beginning with question 1 (Willett et al. 2013): `E` and
  r(ound), i(n between), c(igar-shaped); `Se` for an edge-on disk and r(ounded), b(oxy), n(o bulge); else `S`, or `SB`
  with a bar, the bulge from none to dominant as d, c, b, a, and where there are spiral arms their number
  (1, 2, 3, 4, + for more, ? for can't tell) and winding t(ight), m(edium), l(oose). Something odd follows in brackets:
  (r)ing, (l)ens or arc, (d)isturbed, (i)rregular, (o)ther, (m)erger, d(u)st lane. `A` is a star or artifact.
  The catalogue's own strings come from its debiased (conditional) fractions: from its raw weighted fractions
  about half of them differ, as debiasing turns smooth galaxies into featured ones.

  Args:
    votes: (37,) cumulative or conditional vote fractions. A question on the way without any vote counts for its first
      answer, as in the catalogue; "anything odd" then counts as no.

  Returns:
    The class string, such as `Sb2m`, `SBc1l`, `Ei(m)`.

  Raises:
    ValueError: `votes` is not one vector, or a fraction is negative or missing.
  """
  answers = _host_vector(votes)

  def letter(name, letters):
    return letters[int(np.argmax(answers[name]))]

  first = letter("smooth_or_features", "ESA")
  if first == "A":
    return "A"
  if first == "E":
    text = "E" + letter("rounded", "ric")
  elif letter("edgeon", "yn") == "y":
    text = "Se" + letter("bulge_shape", "rbn")
  else:
    text = letter("bar", ("SB", "S")) + letter("bulge_prominence", "dcba")
    if letter("spiral", "yn") == "y":
      text += letter("arms_number", "1234+?") + letter("arms_winding", "tml")
  if answers["odd"][0] > answers["odd"][1]:
    text += f"({letter('odd_feature', 'rldiomu')})"
  return text
