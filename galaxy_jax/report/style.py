"""How every figure of a report looks, and the one place where it is turned into PNG bytes.

Figures are made with matplotlib's object interface, never with pyplot: no global state, no display and
no choice of back end. They are `WIDTH` inches wide, so that on a phone, where they fill the screen, their
text stays as large as print; a wide screen shows two beside each other. Colours are those of Okabe and Ito
(2008) and viridis, both made for colour-blind readers.
"""
import io
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

#: Inches; and dots per inch, enough for print and for a phone's sharp screen.
WIDTH = 4.4
DPI = 220

ACCENT = "#0072B2"
NEUTRAL = "#6F7681"
INK = "#22262B"
SERIES = (ACCENT, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
COUNTS = "viridis"

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": NEUTRAL,
    "axes.formatter.limits": (-9, 9),  # no factor above an axis, where it would be cut off
    "axes.labelcolor": INK,
    "axes.labelsize": 10.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.axisbelow": True,
    "grid.color": "#E4E6EA",
    "grid.linewidth": 0.6,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


class Chart(NamedTuple):
  """A finished figure with what has to be said about it.

  Attributes:
    name: the file's name without its ending.
    title: a heading of a few words.
    png: the file's bytes.
    alt: what it shows, for who does not see it.
    caption: what the reader sees and the main number; plain text.
  """
  name: str
  title: str
  png: bytes
  alt: str
  caption: str


def styled():
  """The context in which figures are made: `with styled(): figure = new(3.0)`."""
  return rc_context(_STYLE)


def new(height: float) -> Figure:
  """An empty figure `WIDTH` × `height` inches."""
  return Figure(figsize=(WIDTH, height), dpi=DPI)


def place(figure: Figure, left: float, bottom: float, width: float, height: float, **kwargs):
  """Adds axes, measured in inches from the lower left corner: the same margins in figures of any height."""
  across, up = figure.get_size_inches()
  return figure.add_axes((left / across, bottom / up, width / across, height / up), **kwargs)


def png(figure: Figure) -> bytes:
  """The figure as a PNG file, the same bytes on every run."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
  return buffer.getvalue()
