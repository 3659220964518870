"""From the names of classes that annotations and catalogues use to the numbers of `class_lists.MASK_CLASSES`.

mask_galaxy's own are S, E and U, for spiral, elliptical and uncertain. Later users of its outlines wrote them out, and
Galaxy Zoo 2's `gz2_class` says more: it begins with E, S or A (star or artifact), an edge-on disc being an S (Willett
et al. 2013, MNRAS 435, 2835, appendix A).
"""
import re

from tfds_builders.class_lists import MASK_CLASSES
from tfds_builders.outlines import shown

SPIRAL, ELLIPTICAL, UNKNOWN = (MASK_CLASSES.index(name) for name in ("spiral", "elliptical", "unknown"))

_NAMES = {
    "s": SPIRAL, "spiral": SPIRAL, "spiral barred": SPIRAL, "spiral edge on": SPIRAL,
    "e": ELLIPTICAL, "elliptical": ELLIPTICAL,
    "u": UNKNOWN, "uncertain": UNKNOWN, "unknown": UNKNOWN, "a": UNKNOWN, "artifact": UNKNOWN,
}
_GZ2_CLASS = re.compile(r"(?:(E)[rci]|(S)(?:e[rbn]|B?[abcd](?:[1-4+?][tml])?))(?:\([a-z]\))?")


def class_number(name: str) -> int:
  """The number of a class by its name; raises ValueError, with the reason, for one that is not known."""
  number = _NAMES.get(" ".join(re.split(r"[\s_-]+", name.strip().lower()))) if len(name) < 40 else None
  if number is None and (match := _GZ2_CLASS.fullmatch(name.strip())):
    number = ELLIPTICAL if match[1] else SPIRAL
  if number is None:
    raise ValueError(f"has a class {shown(name)}; expected is S, E or U, one of {', '.join(sorted(_NAMES))}, or a "
                     "class of Galaxy Zoo 2 such as SBc2m")
  return number
