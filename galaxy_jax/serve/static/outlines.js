"use strict";
// The outlines of objects over a galaxy's image, and the list of them. page.js has the rest of the page.

const SVG = "http://www.w3.org/2000/svg";
// Of classes, one after the other: those of galaxy_jax/field_files.py.
const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2"];

function draws(name, className, settings) {
  const element = document.createElementNS(SVG, name);
  if (className) element.setAttribute("class", className);
  for (const [key, value] of Object.entries(settings)) element.setAttribute(key, value);
  return element;
}

const colour = (object) => COLOURS[about.outlines.classes.indexOf(object.class) % COLOURS.length];
const called = (object) => object.class.replaceAll("_", " ");

/** Draws a result's objects, lists them, and lets a button hide the drawing. */
function outline(svg, button, list, result) {
  const {objects, seen} = result;
  const [y0, x0, y1, x1] = seen.box;
  const size = x1 - x0;
  // Rows from the top of what is shown, in which 0 is its edge.
  const down = (y) => seen.first_row === "bottom" ? y1 - y : y - y0;
  const line = (points) => `M${points.map(([x, y]) => `${x + 0.5 - x0} ${down(y + 0.5)}`).join("L")}Z`;
  svg.setAttribute("viewBox", `0 0 ${size} ${y1 - y0}`);
  objects.forEach((object, number) => {
    const path = object.outline.map(line).join("");
    const drawn = draws("path", "", {d: path});
    drawn.style.setProperty("--class", colour(object));
    svg.append(draws("path", "edge", {d: path}), drawn);
    if (objects.length > 1) {
      const [top, left, bottom, right] = object.box;
      const within = (value) => Math.min(Math.max(value, 0.05 * size), 0.95 * size);
      const highest = Math.min(down(top), down(bottom));
      const words = draws("text", "", {x: within((left + right) / 2 - x0), y: within(highest - 0.05 * size),
        "font-size": 0.08 * size, "stroke-width": 0.015 * size});
      words.textContent = number + 1;
      words.style.setProperty("--class", colour(object));
      svg.append(words);
    }
  });
  const count = objects.length;
  list.querySelector("p").textContent = count === 0 ? "No object found" : count === 1 ? "1 object found" : `${count} objects found`;
  list.querySelector("ol").append(...objects.map((object, number) => {
    const item = make("li");
    const swatch = make("i");
    swatch.style.setProperty("--class", colour(object));
    const [top, left, bottom, right] = object.box;
    const lies = place(((left + right) / 2 - x0) / size, down((top + bottom) / 2) / size);
    const words = `${called(object)}, ${percent(object.score)} %, ${lies}`;
    item.append(swatch, make("span", "", count > 1 ? `${number + 1}: ${words}` : words));
    return item;
  }));
  svg.setAttribute("aria-label", `Outlines: ${objects.map(called).join(", ")}`);
  svg.toggleAttribute("hidden", count === 0);
  button.hidden = count === 0;
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    svg.toggleAttribute("hidden", shown);
  });
}

/** A place in an image, from its upper left corner in shares of its sides, in words. */
function place(x, y) {
  const rows = y < 1 / 3 ? "top" : y > 2 / 3 ? "bottom" : "";
  const columns = x < 1 / 3 ? "left" : x > 2 / 3 ? "right" : "";
  return rows || columns ? `at the ${[rows, columns].filter(Boolean).join(" ")}` : "in the middle";
}
