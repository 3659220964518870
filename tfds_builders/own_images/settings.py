"""The settings file of a survey, `own_images.toml`: what its keys mean, and what they may be.

The README beside this file explains them with examples. `parse` makes of a file's text one immutable value, `Settings`.
"""
import math
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from tfds_builders.errors import DataError
from tfds_builders.gz2_tree import ANSWER_NAMES, COLUMNS
from tfds_builders.own_images import toml_checks as check
from tfds_builders.own_images.toml_checks import Wrong
from tfds_builders.scaling import METHODS, Scaling

FILE_NAME = "own_images.toml"
TABLE_SUFFIXES = (".csv", ".parquet", ".fits", ".fit", ".vot", ".votable", ".xml")
#: Features that have a meaning of their own.
RESERVED = ("image", "galaxy_id", "vote_fractions", "vote_counts", "label", "nan_pixels")

_PLACE = re.compile(r"\{([^{}]*)\}")
_SPLIT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LARGEST_CUTOUT = 8192


class ImageSettings(NamedTuple):
  """Which pixels of which files are a galaxy's image. A tuple has one value for all bands, or three: red, green, blue.

  Attributes:
    file: paths, in which `{column}` stands for a row's value; empty: the table's one obvious column.
    hdu: FITS: number or name of the HDU; None: the first with an image.
    plane: FITS: plane of a cube, from 0.
    origin: FITS: whether the file's first row is the picture's lowest ("lower") or uppermost.
  """
  file: tuple[str, ...] = ()
  hdu: tuple[int | str | None, ...] = (None,)
  plane: tuple[int | None, ...] = (None,)
  origin: str = "lower"

  @property
  def bands(self) -> int:
    """1 or 3."""
    return max(len(self.file), len(self.hdu), len(self.plane))


class Cutout(NamedTuple):
  """A square around a position, cut out of a larger image.

  Attributes:
    size: pixels; or
    size_arcsec: arcseconds, by the image's own WCS.
    x, y: columns of pixel coordinates; or
    ra, dec: columns of coordinates on the sky, ICRS, in degrees.
    first_pixel: what x and y call the centre of the first pixel, 0 or 1.
    edge: what a square that reaches beyond the image is: "error" or "fill".
  """
  size: int | None = None
  size_arcsec: float | None = None
  x: str | None = None
  y: str | None = None
  ra: str | None = None
  dec: str | None = None
  first_pixel: int = 0
  edge: str = "error"


class Labels(NamedTuple):
  """Which columns are labels.

  Attributes:
    vote_fractions: 37 columns, None where there is none; empty: no such labels; None: the challenge's own columns,
      where the table has them all.
    conditional: each question's fractions sum to 1, not to its parent's.
    vote_counts: likewise 37 columns; empty: no such labels.
    label: the column of a class.
    names: of the classes, in the order of their numbers; empty: those found, sorted.
  """
  vote_fractions: tuple[str | None, ...] | None = None
  conditional: bool = False
  vote_counts: tuple[str | None, ...] = ()
  label: str | None = None
  names: tuple[str, ...] = ()


class Splits(NamedTuple):
  """Which galaxy is in which split.

  Attributes:
    column: of the split's name; or
    fractions: (name, share) of each split, by a hash of the id.
  """
  column: str | None = None
  fractions: tuple[tuple[str, float], ...] = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


class Match(NamedTuple):
  """A second table, matched by position on the sky.

  Attributes:
    table: its path.
    radius_arcsec: how far a counterpart may be.
    columns: names or patterns of the columns to take from it.
    ra, dec: the table's own columns, ICRS, in degrees.
    match_ra, match_dec: the second table's.
    table_hdu: FITS: number or name of the second table's HDU.
  """
  table: str
  radius_arcsec: float
  columns: tuple[str, ...]
  ra: str = "ra"
  dec: str = "dec"
  match_ra: str = "ra"
  match_dec: str = "dec"
  table_hdu: int | str | None = None


class Settings(NamedTuple):
  """A survey.

  Attributes:
    table: the path of its table; None: the only one in the folder that names images.
    table_hdu: FITS: number or name of the table's HDU; None: the first table.
    id: the column of ids; None: an obvious one, else the name of the image file.
    id_type: "integer" or "text"; None: as the first row has it.
    keep, keep_integer, keep_text: columns that become features of these types.
    missing: numbers and texts that mean no value.
    allow_outside: whether files may lie outside the folder.
  """
  table: str | None = None
  table_hdu: int | str | None = None
  id: str | None = None
  id_type: str | None = None
  keep: tuple[str, ...] = ()
  keep_integer: tuple[str, ...] = ()
  keep_text: tuple[str, ...] = ()
  missing: tuple[float | str, ...] = ()
  allow_outside: bool = False
  image: ImageSettings = ImageSettings()
  scaling: Scaling = Scaling()
  cutout: Cutout | None = None
  labels: Labels = Labels()
  splits: Splits = Splits()
  match: Match | None = None


def places(template: str) -> list[str]:
  """The columns that a path's braces name, in order."""
  return _PLACE.findall(template)


def fill_in(template: str, values: list[str]) -> str:
  """The path with its braces replaced by values, in order."""
  left = iter(values)
  return _PLACE.sub(lambda _: next(left), template)


def parse(data: bytes, file: str = FILE_NAME) -> Settings:
  """Reads a settings file.

  Args:
    data: its bytes.
    file: what errors call it.

  Raises:
    DataError: no TOML, an unknown key, a value that cannot be, or keys that contradict each other.
  """
  try:
    values = tomllib.loads(data.decode("utf-8-sig"))
  except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
    raise DataError(f"{file} is no TOML file ({str(error)[:200]}). Texts need quotation marks; see "
                    "https://toml.io.") from None
  sections = {name: check.section(file, name, values.pop(name), checks)
              for name, checks in _SECTIONS.items() if name in values}
  given = check.section(file, "", values, _TOP | dict.fromkeys(_SECTIONS, lambda value: value))
  settings = Settings(**given)._replace(
      image=ImageSettings(**sections.get("image", {})), scaling=Scaling(**sections.get("scaling", {})),
      labels=Labels(**sections.get("labels", {})), splits=Splits(**sections.get("splits", {})))
  _check_scaling(file, sections.get("scaling", {}), settings)
  _check_labels(file, sections, settings)
  if (cutout := sections.get("cutout")) is not None:
    settings = settings._replace(cutout=_cutout(file, cutout))
  if (match := sections.get("match")) is not None:
    lacking = [key for key in ("table", "radius_arcsec", "columns") if key not in match]
    if lacking:
      raise DataError(f"{file}: [match] lacks {' and '.join(lacking)}.")
    settings = settings._replace(match=Match(**match))
  return settings


def _check_scaling(file, given, settings):
  scaling = settings.scaling
  method = scaling.method or ("lupton" if settings.image.bands == 3 else "asinh")
  own = {"linear": ("percentiles", "limits"), "asinh": ("percentiles", "limits", "softening"),
         "lupton": ("Q", "stretch", "minimum")}
  for key in given:
    if key not in own[method] and any(key in keys for keys in own.values()):
      raise DataError(f"{file}: [scaling] {key} has no meaning with method = \"{method}\", whose keys are "
                      f"{', '.join(own[method])}. Leave it out, or give the method it belongs to.")
  if "limits" in given and "percentiles" in given:
    raise DataError(f"{file}: [scaling] has both limits and percentiles; leave one out.")
  if settings.image.bands == 1 and any(len(value) == 3 for value in (scaling.factors, scaling.minimum,
                                                                      scaling.limits or ())):
    raise DataError(f"{file}: [scaling] has values for three bands, but [image] names one: a list of three in file, "
                    "hdu or plane makes three.")


def _check_labels(file, sections, settings):
  labels, given = settings.labels, sections.get("labels", {})
  if labels.names and labels.label is None:
    raise DataError(f"{file}: [labels] has names but no label, the column of the class.")
  if "conditional" in given and labels.vote_fractions == ():
    raise DataError(f"{file}: [labels] conditional says what vote_fractions are, which are turned off.")
  if {"column", "fractions"} <= sections.get("splits", {}).keys():
    raise DataError(f"{file}: [splits] has both column and fractions; leave one out.")
  kept = [*settings.keep, *settings.keep_integer, *settings.keep_text]
  for name in kept:
    if name in RESERVED or "/" in name or kept.count(name) > 1:
      why = ("is the name of a feature of its own" if name in RESERVED else
             "has a slash, which no feature may have" if "/" in name else "is kept twice")
      raise DataError(f"{file}: the column {name!r} {why}. Rename it in the table, or do not keep it.")


def _cutout(file, given):
  cutout = Cutout(**given)
  if (cutout.size is None) == (cutout.size_arcsec is None):
    raise DataError(f"{file}: [cutout] needs either size (pixels) or size_arcsec.")
  pixels, sky = [key for key in ("x", "y") if key in given], [key for key in ("ra", "dec") if key in given]
  if sorted(map(len, (pixels, sky))) != [0, 2]:
    raise DataError(f"{file}: [cutout] needs either x and y, columns of pixels, or ra and dec, columns of degrees.")
  if "first_pixel" in given and sky:
    raise DataError(f"{file}: [cutout] first_pixel has no meaning with ra and dec. Leave it out.")
  return cutout


def _template(value):
  value = check.text(value)
  if re.search(r"[{}]", _PLACE.sub("", value)) or not all(name.strip() for name in places(value)):
    raise Wrong('a path, in which {column} stands for a row\'s value, such as "images/{objid}.jpg"')
  return value


def _table(value):
  if PurePosixPath(check.text(value)).suffix.lower() not in TABLE_SUFFIXES:
    raise Wrong(f"the path of a table, ending in {', '.join(TABLE_SUFFIXES)}")
  return value


def _class_name(value):
  # TFDS keeps the names in a file, one a line, without spaces around them.
  if "\n" in check.text(value) or "\r" in value or value != value.strip():
    raise Wrong("a name of one line, without spaces around it")
  return value


def _answers(standard: bool) -> check.Check:
  """37 columns: a list, or some of them by answer; where there is a standard, also true."""
  def answers(value):
    if value is False:
      return ()
    if value is True and standard:
      return COLUMNS
    if isinstance(value, dict) and value and all(isinstance(name, str) and name for name in value.values()):
      numbers = {name: n for names in (COLUMNS, ANSWER_NAMES) for n, name in enumerate(names)}
      # Unquoted, Class1.1 is a table of its own in TOML, which the message below is for.
      if (unknown := [name for name in value if name not in numbers]):
        raise Wrong(f'one column for each answer, named as "{COLUMNS[0]}" or {ANSWER_NAMES[0]}; there is no answer '
                    f"{unknown[0][:60]!r}")
      chosen = {numbers[name]: column for name, column in value.items()}
      if len(chosen) < len(value):
        raise Wrong("each answer once")
      return tuple(chosen.get(n) for n in range(len(COLUMNS)))
    if isinstance(value, list):
      return check.list_of(check.text, (len(COLUMNS),), distinct=True)(value)
    raise Wrong(("true (the columns Class1.1 to Class11.6), false, " if standard else "false, ")
                + f'a list of {len(COLUMNS)} columns, or a table such as {{ "{COLUMNS[0]}" = "COLUMN" }}')
  return answers


def _shares(value):
  if not isinstance(value, dict) or not value:
    raise Wrong("a table such as { train = 0.9, validation = 0.1 }")
  shares = []
  for name, share in value.items():
    try:
      shares.append((split_name(name), check.number(0, 1, above=True)(share)))
    except Wrong as wrong:
      raise Wrong(f"a share for each split, the split {name[:60]!r} and its {check.shown(share)} being {wrong}"
                  ) from None
  if not math.isclose(sum(share for _, share in shares), 1, abs_tol=1e-6):
    raise Wrong(f"shares that sum to 1, not to {sum(share for _, share in shares):g}")
  return tuple(shares)


def split_name(name: Any) -> str:
  """A name that a split may have; raises Wrong."""
  if not isinstance(name, str) or not _SPLIT_NAME.fullmatch(name) or name.lower() == "all":
    raise Wrong('a split\'s name: letters, digits and _, and not "all"')
  return name


_COLUMNS = check.list_of(check.text, distinct=True)
_HDU = check.either(check.whole(0, 999), check.text)
_LIMITS = check.rising(check.list_of(check.number(), (2,)))

_TOP = {
    "table": _table, "table_hdu": _HDU, "id": check.text, "id_type": check.one_of("integer", "text"),
    "keep": _COLUMNS, "keep_integer": _COLUMNS, "keep_text": _COLUMNS,
    "missing": check.list_of(check.either(check.number(), check.text)), "allow_outside": check.flag,
}
_SECTIONS = {
    "image": {"file": check.one_or_three(_template), "hdu": check.one_or_three(_HDU),
              "plane": check.one_or_three(check.whole(0, 99_999)), "origin": check.one_of("lower", "upper")},
    "scaling": {"method": check.one_of(*METHODS),
                "percentiles": check.rising(check.list_of(check.number(0, 100), (2,))),
                "limits": check.either(lambda value: (_LIMITS(value),), check.list_of(_LIMITS, (3,))),
                "softening": check.number(0, 1e6, above=True), "Q": check.number(0, 1e6, above=True),
                "stretch": check.number(0, above=True), "minimum": check.one_or_three(check.number()),
                "factors": check.one_or_three(check.number(0, above=True)), "fill": check.number()},
    "cutout": {"size": check.whole(1, _LARGEST_CUTOUT), "size_arcsec": check.number(0, 1e6, above=True),
               "x": check.text, "y": check.text, "ra": check.text, "dec": check.text,
               "first_pixel": check.whole(0, 1), "edge": check.one_of("error", "fill")},
    "labels": {"vote_fractions": _answers(True), "conditional": check.flag, "vote_counts": _answers(False),
               "label": check.text, "names": check.list_of(_class_name, distinct=True)},
    "splits": {"column": check.text, "fractions": _shares},
    "match": {"table": _table, "radius_arcsec": check.number(0, 3600, above=True), "columns": _COLUMNS,
              "ra": check.text, "dec": check.text, "match_ra": check.text, "match_dec": check.text,
              "table_hdu": _HDU},
}
