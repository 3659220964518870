"""The report page's CSS: phone first, then wide screens, dark mode and paper."""

CSS = """
:root { --ink: #1d2126; --soft: #5b636e; --line: #dfe2e7; --page: #fff; --raised: #f5f6f8; --accent: #0072b2;
  --note: #fdf3e7; --note-line: #d55e00; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a5adb8; --line: #343a42; --page: #14171b; --raised: #1e2227; --accent: #56b4e9;
    --note: #2c2218; --note-line: #e69f00; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif; }
header, main, nav { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
.kicker { margin: 0; color: var(--accent); font-weight: 600; }
h1 { margin: .1rem 0 .6rem; font-size: clamp(2rem, 6vw, 3rem); line-height: 1.1; letter-spacing: -.02em; }
h2 { margin: 3.2rem 0 .5rem; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em; }
h3 { margin: 1.8rem 0 .6rem; font-size: 1.15rem; }
p { margin: 0 0 1rem; max-width: 44rem; }
.lead { margin-top: 1.1rem; font-size: 1.2rem; line-height: 1.5; }
.note { max-width: 44rem; margin: 0 0 .6rem; padding: .7rem 1rem; background: var(--note);
  border-left: 4px solid var(--note-line); font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(2, 1fr); gap: 1px; margin: 1.6rem 0 0; padding: 0;
  background: var(--line); border-block: 1px solid var(--line); }
.tiles div { display: flex; flex-direction: column; padding: .9rem .9rem .9rem 0; background: var(--page); }
.tiles div:nth-child(even) { padding-left: .9rem; }
.tiles dt { color: var(--soft); }
.tiles dd { margin: 0; }
.tiles .value { font-size: 1.9rem; font-weight: 650; line-height: 1.25; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.tiles .beside { color: var(--soft); line-height: 1.35; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; margin: 1rem 0 0; padding: 0; list-style: none; }
a { color: var(--accent); text-underline-offset: .2em; text-decoration-thickness: 1px; }
nav a { display: inline-block; padding: .3rem 0; }
figure { margin: 0 0 1.6rem; break-inside: avoid; }
.chart { overflow: hidden; border: 1px solid var(--line); border-radius: 8px; background: var(--raised); }
.chart img { display: block; width: 100%; height: auto; padding: .4rem; background: #fff; }
.chart figcaption { padding: .7rem .9rem .9rem; color: var(--soft); }
.chart h3 { margin: 0 0 .15rem; font-size: 1rem; color: var(--ink); }
.cards { display: grid; gap: 1rem; margin: 0; padding: 0; list-style: none; }
.cards li { break-inside: avoid; border: 1px solid var(--line); border-radius: 8px; overflow: hidden;
  background: var(--raised); }
.cards article { display: grid; grid-template-columns: 7.5rem 1fr; height: 100%; }
.cards img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: cover; background: #000; }
.cards .words { padding: .6rem .9rem .8rem; line-height: 1.4; }
.cards h4 { margin: 0 0 .3rem; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .8rem;
  font-size: 1rem; }
.cards h4 span { font-weight: 400; color: var(--soft); font-variant-numeric: tabular-nums; }
.cards dl { margin: 0; }
.cards dt { color: var(--soft); }
.cards dd { margin: 0 0 .35rem; }
code { font: .95em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
table { width: 100%; margin: 0 0 1.6rem; border-collapse: collapse; }
.scroll { overflow-x: auto; margin: 0 0 1.6rem; }
.scroll table { margin: 0; }
.pair + .scroll { margin-top: 1.6rem; }
.scroll caption { position: sticky; left: 0; max-width: calc(100vw - 2rem); }
.scroll tbody th { position: sticky; left: 0; background: var(--page); overflow-wrap: normal; }
caption { padding: 0 0 .5rem; text-align: left; color: var(--soft); }
caption strong { color: var(--ink); }
th, td { padding: .38rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top;
  font-weight: 400; }
th + td, td + td, th + th { padding-left: .6rem; }
thead th { border-top: 0; color: var(--soft); vertical-align: bottom; overflow-wrap: normal; }
.pair > table, .pair > .scroll { break-inside: avoid; }
.facts th { width: 42%; color: var(--soft); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.number.long { min-width: 8rem; white-space: normal; overflow-wrap: break-word; }
footer { max-width: 72rem; margin: 2rem auto 0; padding: 1rem; color: var(--soft); border-top: 1px solid var(--line); }
@media screen and (max-width: 45.99rem) {
  .scroll table { font-size: .85rem; }
  .scroll th + td, .scroll td + td, .scroll th + th { padding-left: .35rem; }
}
@media screen and (max-width: 34rem) {
  .many th:first-child { width: 0; max-width: 0; white-space: nowrap; }
  .many thead th:first-child { overflow: hidden; }
  .many tbody th { background: none; }
  .many tbody th wbr { display: none; }
  .many tbody td { padding-top: 1.85rem; }
}
@media (min-width: 46rem) {
  header, main, nav { padding-inline: 2rem; }
  .tiles { grid-template-columns: repeat(4, 1fr); }
  .tiles div, .tiles div:nth-child(even) { padding-left: 1.2rem; }
  .tiles div:first-child { padding-left: 0; }
  .pair { columns: 2; column-gap: 1.6rem; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
  .cards article { grid-template-columns: 1fr; grid-template-rows: auto 1fr; }
  footer { padding-inline: 2rem; }
}
@media print {
  @page { size: A4; margin: 16mm 15mm; }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  header, main, footer { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { margin-top: 1.6rem; break-after: avoid; }
  h3, h4, caption { break-after: avoid; }
  .new-page { break-before: page; margin-top: 0; }
  .lead { font-size: 1.15em; }
  .tiles { grid-template-columns: repeat(4, 1fr); margin-top: 3mm; }
  .pair { columns: 2; column-gap: 6mm; }
  figure { margin-bottom: 4mm; }
  table { font-size: 9pt; }
  .cards { grid-template-columns: repeat(4, 1fr); gap: 3mm; }
  .cards article { grid-template-columns: 1fr; grid-template-rows: auto 1fr; }
  .cards .words, .chart figcaption { font-size: 8.5pt; line-height: 1.35; padding: 2mm; }
  .cards h4, .chart h3 { font-size: 9pt; }
  .scroll { overflow: visible; }
  tr { break-inside: avoid; }
}
"""
