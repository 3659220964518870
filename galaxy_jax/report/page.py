"""The report as one HTML page that needs nothing but itself: figures and galaxies are embedded.

Small functions from plain values to strings of HTML; whatever comes from outside passes `html.escape`.
"""
import base64
import io
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from galaxy_jax.files import write_whole
from galaxy_jax.report import measures
from galaxy_jax.report.style import Chart
from galaxy_jax.report.stylesheet import CSS

# What the browser may load: nothing but what the page holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
#: The largest side of an embedded galaxy, pixels; the cards are no wider.
_CARD_PIXELS = 288
#: Letters of a table's cell that stay on one line: those of an interval, "0.123 to 0.456".
_NUMBER = 16
#: Letters of a row's numbers for which a phone has room beside a name.
_BESIDE = 34


class Card(NamedTuple):
  """One galaxy of a gallery.

  Attributes:
    identifier: its id.
    image: (S, S, 3) uint8.
    said: what there is to say of it, as (term, words).
    aside: a number or a word beside the id.
    alt: what the image shows, beside the id; a sentence, or empty.
  """
  identifier: int | str
  image: np.ndarray
  said: tuple[tuple[str, str], ...]
  aside: str = ""
  alt: str = ""


def vote_card(identifier: int | str, image: np.ndarray, predicted: str, voted: str, rmse: float, miss: str) -> Card:
  """The card of a galaxy with votes; `voted` and `miss`, the answer that is furthest off, are empty without any."""
  said = (("Predicted", predicted), ("Voted", voted), ("Furthest off", miss))
  return Card(identifier, image, said if voted else said[:1], f"RMSE {rmse:.4f}" if voted else "",
              f"Volunteers saw: {voted}." if voted else "")


class Section(NamedTuple):
  """One part of the page: its anchor, heading, body (HTML), and whether it begins a sheet of paper."""
  anchor: str
  heading: str
  body: str
  new_page: bool = False


def value(item, name: str = "") -> str:
  """A fact as text: grouped whole numbers (a seed's digits stay together), four digits of a fraction."""
  if isinstance(item, (bool, np.bool_)):
    return "yes" if item else "no"
  if isinstance(item, (int, np.integer)):
    return str(item) if "seed" in name else f"{item:,}"
  if isinstance(item, (float, np.floating)):
    if not np.isfinite(item):
      return "not a number" if np.isnan(item) else str(item)
    return f"{item:,.0f}" if abs(item) >= 1e4 else f"{item:.4g}"
  return str(item)


def _breakable(text: str) -> str:
  """Escaped text that may go to the next line within a path or a name; what is copied stays the same."""
  return re.sub(r"([/_=]|\.(?=[a-z]))", r"\1<wbr>", escape(text))


def _data_uri(kind: str, content: bytes) -> str:
  return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def figure(chart: Chart) -> str:
  """A chart on its white card, with its caption."""
  width, height = Image.open(io.BytesIO(chart.png)).size
  return (f'<figure class="chart"><img src="{_data_uri("png", chart.png)}" width="{width}" height="{height}" '
          f'alt="{escape(chart.alt)}"><figcaption><h3>{escape(measures.capital(chart.title))}</h3>{escape(chart.caption)}'
          "</figcaption></figure>")


def figures(charts: list[Chart]) -> str:
  """Charts, two beside each other where the screen is wide."""
  return f'<div class="pair">{"".join(map(figure, charts))}</div>' if charts else ""


def gallery(cards: list[Card]) -> str:
  """Cards of galaxies with what is said of them."""
  return f'<ul class="cards">{"".join(f"<li>{_card(card)}</li>" for card in cards)}</ul>'


def _card(card):
  image = Image.fromarray(card.image)
  image.thumbnail((_CARD_PIXELS, _CARD_PIXELS))
  buffer = io.BytesIO()
  image.save(buffer, format="JPEG", quality=90)
  alt = f"Galaxy {card.identifier}. {card.alt}".rstrip()
  aside = f"<span>{escape(card.aside)}</span>" if card.aside else ""
  said = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in card.said)
  return (f'<article><img src="{_data_uri("jpeg", buffer.getvalue())}" width="{image.width}" height="{image.height}" '
          f'alt="{escape(alt)}"><div class="words"><h4>{escape(str(card.identifier))}{aside}</h4><dl>{said}</dl></div>'
          "</article>")


def lines(card: Card) -> list[str]:
  """A card's first words as lines below a small picture."""
  first = f"{card.identifier}, {card.aside}" if card.aside else str(card.identifier)
  return [first, *(f"{term.lower()}: {text}" for term, text in card.said[:2])]


def facts(title: str, explanation: str, items: dict) -> str:
  """A table of names and values; nothing where there are none."""
  if not items:
    return ""
  rows = "".join(f'<tr><th scope="row">{_breakable(str(name))}</th><td>{_breakable(value(item, str(name)))}</td></tr>'
                 for name, item in items.items())
  return (f'<table class="facts"><caption><strong>{escape(title)}</strong> {escape(explanation)}</caption>'
          f"<tbody>{rows}</tbody></table>")


def class_table(predicted: np.ndarray, voted: np.ndarray) -> str:
  """Completeness and purity of each main class, from (N,) class indices; −1 belongs to none."""
  rows = []
  for index, name in enumerate(measures.MAIN_CLASSES):
    ours, theirs = predicted == index, voted == index
    both, n_ours, n_theirs = int((ours & theirs).sum()), int(ours.sum()), int(theirs.sum())
    rows.append((name, f"{n_theirs:,}", f"{n_ours:,}", percent(both, n_theirs), percent(both, n_ours)))
  return table(("class", "voted", "predicted", "found", "right"), rows, "Agreement by class.",
               "Found: the share of a class's voted galaxies that were predicted as such. Right: the share of those "
               "predicted as such that were voted so.")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], title: str, explanation: str) -> str:
  """A table whose first column is names and whose others are numbers or words, written as they come.

  Names break between words alone; where a screen is too narrow for the table, it scrolls by itself and not the page.
  Where the numbers alone fill a phone's screen, each row has its name above them there.

  Args:
    head: the columns' names.
    rows: as many texts each.
    title, explanation: the caption, its beginning in bold.

  Returns:
    HTML.
  """
  def cell(text):
    return (f"<td class=number>{escape(text)}</td>" if len(text) <= _NUMBER
            else f'<td class="number long">{_breakable(text)}</td>')
  first, *others = head
  letters = sum(max(min(len(row[column]), _NUMBER) for row in [head, *rows]) for column in range(1, len(head)))
  cells = "".join(f'<th scope="col" class="number">{escape(name)}</th>' for name in others)
  body = "".join(f'<tr><th scope="row">{_breakable(name)}</th>'
                 + "".join(map(cell, numbers)) + "</tr>"
                 for name, *numbers in rows)
  return (f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0">'
          f"<table{' class=many' * (letters > _BESIDE)}>"
          f"<caption><strong>{escape(title)}</strong> {escape(explanation)}</caption>"
          f'<thead><tr><th scope="col">{escape(first)}</th>{cells}</tr></thead><tbody>{body}</tbody></table></div>')


def percent(part: float, whole: float) -> str:
  """A share in whole per cent, a dash where there is nothing to have a share in."""
  return f"{part / whole:.0%}" if whole else "–"


def tiles(items: list[tuple[str, str, str]]) -> str:
  """The main numbers: (name, number, what to compare it with)."""
  rows = (f'<div><dt>{escape(name)}</dt><dd class="value">{escape(number)}</dd>'
          f'<dd class="beside">{escape(beside)}</dd></div>' for name, number, beside in items)
  return f'<dl class="tiles">{"".join(rows)}</dl>'


def page(name: str, lead: str, notes: list[str], numbers: list[tuple[str, str, str]],
         sections: list[Section], *, kicker: str = "galaxy_jax run report", figures_folder: str = "figures") -> str:
  """The whole page.

  Args:
    name: the run's name.
    lead: the result in one sentence.
    notes: lines that a reader must not miss.
    numbers: the tiles' (name, number, comparison).
    sections: those without a body are left out.
    kicker: what kind of page it is, above the name.
    figures_folder: where its figures lie, beside it.
  """
  sections = [section for section in sections if section.body]
  links = "".join(f'<li><a href="#{section.anchor}">{escape(section.heading)}</a></li>' for section in sections)
  body = "".join(f'<section id="{s.anchor}" aria-labelledby="{s.anchor}-heading"{" class=new-page" * s.new_page}>'
                 f'<h2 id="{s.anchor}-heading">{escape(s.heading)}</h2>{s.body}</section>' for s in sections)
  warnings = "".join(f'<p class="note" role="note">{escape(note)}</p>' for note in notes)
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(name)} · galaxy_jax</title>
<link rel="icon" href="data:,">
<style>{CSS}</style>
</head>
<body>
<header><p class="kicker">{escape(kicker)}</p><h1>{escape(name)}</h1>{warnings}<p class="lead">{escape(lead)}</p>
{tiles(numbers) if numbers else ""}</header>
<nav aria-label="Contents"><ul>{links}</ul></nav>
<main>{body}</main>
<footer>Every figure is also a PNG file in the folder {escape(figures_folder)}, beside this page.</footer>
</body>
</html>
"""


def leave(workdir: str | Path, text: str, charts: list[Chart], *, name: str = "report.html",
          figures_folder: str = "figures") -> Path:
  """Writes the charts into their folder and then the page: a reader sees the old one or the new, never a half.

  Returns:
    The page's path.
  """
  workdir = Path(workdir)
  (workdir / figures_folder).mkdir(parents=True, exist_ok=True)
  for chart in charts:
    write_whole(workdir / figures_folder / f"{chart.name}.png", lambda fresh: Path(fresh).write_bytes(chart.png))
  write_whole(workdir / name, lambda fresh: Path(fresh).write_bytes(text.encode("utf-8")))
  return workdir / name
