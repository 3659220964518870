"use strict";
// The page's own behaviour. It asks /api/v1 of the server that it comes from, and no one else.

const AROUND = 4096;  // bytes that a request has around a file, at most
const OPEN = 4;  // trees that are open without a click, where there is room beside the image
const TRIES = 6;

const find = (name) => document.getElementById(name);
const results = [];
let about = null;
let serial = Promise.resolve();  // what is dropped while images are answered comes after them
let generation = 0;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function say(text, wrong = false) {
  const status = find("status");
  status.classList.toggle("wrong", wrong);
  status.textContent = text;
}

const percent = (value) => value === null ? "?" : value > 0 && value < 0.005 ? "<1" : String(Math.round(100 * value));
const images = (count) => count === 1 ? "1 image" : `${count} images`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Sends a request, again while the server is busy; its answer, or an Error with the server's own words. */
async function ask(address, options) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(address, options);
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    if (response.status === 503 && attempt < TRIES) {
      await pause(Number(response.headers.get("Retry-After")) || 1);
    } else {
      throw Object.assign(new Error(body.error || `The server refused, with status ${response.status}.`), body);
    }
  }
}

function form(files) {
  const data = new FormData();
  for (const file of files) data.append("images", file, file.name || "pasted.png");
  return data;
}

/** Files in groups that a request may hold. */
function groups(files) {
  const found = [];
  let bytes = Infinity;
  for (const file of files) {
    const full = found.length && found.at(-1).length >= Math.min(about.limits.together, about.limits.images);
    if (full || bytes + file.size + AROUND > about.limits.bytes) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1).push(file);
    bytes += file.size + AROUND;
  }
  return found;
}

async function answer(files) {
  about ??= await (await ask("api/v1/model")).json();
  const mine = generation;
  const progress = find("progress");
  const open = results.length + files.length <= OPEN && matchMedia("(min-width: 44rem)").matches;
  let done = 0;
  progress.max = files.length;
  for (const group of groups(files)) {
    progress.value = done;
    progress.hidden = false;
    say(`Looking at ${images(files.length)}: ${done} answered.`);
    let found;
    try {
      if (group[0].size + AROUND > about.limits.bytes) {
        throw new Error(`${group[0].name} has ${group[0].size} bytes, more than a request may have.`);
      }
      found = (await (await ask("api/v1/predict?view=1", {method: "POST", body: form(group)})).json()).results;
    } catch (error) {
      found = error.results || group.map((file) => ({id: file.name, error: error.message}));
    }
    if (mine !== generation) return;
    find("results").hidden = false;
    found.forEach((result, row) => {
      const {view, objects, seen, ...said} = result;
      results.push(said);
      find("cards").append(card(result, group[row], open));
    });
    done += group.length;
  }
  const failed = results.slice(results.length - files.length).filter((result) => result.error).length;
  say(`${images(files.length - failed)} answered${failed ? `, ${failed} could not be` : ""}.`, failed > 0);
}

function give(list) {
  const files = [...list];
  if (!files.length) return;
  serial = serial.then(() => answer(files)).catch((error) => say(error.message, true)).finally(() => {
    find("progress").hidden = true;
  });
}

function card(result, file, open) {
  const item = find("card").content.cloneNode(true);
  const part = (name) => item.querySelector(name);
  part("h3").textContent = result.id;
  if (result.error) {
    part(".card").classList.add("failed");
    part(".seen").remove();
    part(".sentence").textContent = result.error;
    part(".short").remove();
    part(".objects")?.remove();
    part(".tree").remove();
    return item;
  }
  const votes = about.task === "votes";
  const sentence = capital(votes ? result.description : result.predicted.replaceAll("_", " "));
  part(".sentence").textContent = sentence;
  const rows = [];
  if (votes) rows.push(["GZ2 class", make("dd", "", result.gz2_class)]);
  if (result.novelty !== null) {
    const unlike = result.novelty > 1;
    rows.push(["image", make("dd", unlike ? "unlike" : "",
      unlike ? `unlike the galaxies it knows (novelty ${result.novelty.toFixed(1)})` : "like galaxies it knows")]);
  }
  for (const [term, words] of rows) {
    const row = make("div");
    row.append(make("dt", "", term), words);
    part(".short").append(row);
  }
  const image = part(".image");
  image.setAttribute("aria-label", `${result.id} as the model saw it. ${sentence}.`);
  draw(image, result.view);
  part(".tree").open = open;
  part("summary").textContent = votes ? "The decision tree, question by question" : "The probability of each class";
  part(".questions").append(...votes ? about.questions.map((question, number) => asked(question, number, result))
    : [probabilities(result)]);
  part(".questions").classList.toggle("probabilities", !votes);
  if (about.outlines) outline(part(".outlines"), part(".toggle"), part(".objects"), result);
  where(part(".where"), part(".map"), part(".fall"), file);
  return item;
}

/** One question with its answers; faint where fewer than half would have been asked. */
function asked(question, number, result) {
  const item = make("li", result.asked.includes(question.name) ? "question asked" : "question");
  const share = question.parent === null ? 1 : result.fractions[question.parent];
  item.append(make("span", "number", number + 1), make("p", "text", question.text),
    make("p", "way", question.parent === null ? "asked of everyone" : `asked of ${percent(share)} %: ${after(question)}`));
  const values = question.columns.map((column) => result.fractions[column]);
  const list = make("ul", result.low ? "answers" : "answers plain");
  question.columns.forEach((column, place) => {
    const bounds = result.low ? [result.low[column], result.high[column]] : null;
    list.append(row(question.answers[place], values[place], values[place] === Math.max(...values), share, bounds));
  });
  item.append(list);
  return item;
}

/** The answer that leads to a question, in words. */
function after(question) {
  const before = about.questions.find((other) => other.columns.includes(question.parent));
  const given = before.answers[before.columns.indexOf(question.parent)];
  return given === "yes" || given === "no" ? `“${given}” to question ${about.questions.indexOf(before) + 1}` : `“${given}”`;
}

function probabilities(result) {
  const item = make("li");
  const list = make("ul", "answers");
  const ordered = Object.entries(result.probabilities).sort((one, other) => other[1] - one[1]);
  ordered.forEach(([name, value], place) => list.append(row(name.replaceAll("_", " "), value, place === 0, 0, null)));
  item.append(list);
  return item;
}

function row(name, value, leads, share, bounds) {
  const item = make("li", leads ? "answer lead-answer" : "answer");
  const bar = make("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  bar.style.setProperty("--share", `${100 * value}%`);
  bar.style.setProperty("--asked-share", `${100 * share}%`);
  bar.append(make("i", "of"), make("i", "share"));
  const words = make("span", "value");
  words.append(make("span", "percent", `${percent(value)} %`));
  if (bounds) {
    bar.style.setProperty("--low", `${100 * bounds[0]}%`);
    bar.style.setProperty("--high", `${100 * bounds[1]}%`);
    bar.append(make("i", "interval"));
    words.append(make("span", "range", ` (${percent(bounds[0])}–${percent(bounds[1])})`));
  }
  item.append(make("span", "name", name), bar, words);
  return item;
}

/** Draws a JPEG in base64: images of other addresses, data: and blob: among them, the page does not load. */
async function draw(canvas, encoded) {
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], {type: "image/jpeg"}));
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

/** Lets a button show where the leading answer was found, which it asks for once. */
function where(button, canvas, words, file) {
  let known = null;
  button.addEventListener("click", async () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    if (!known) {
      button.disabled = true;
      words.textContent = "Covering the image in 64 places…";
      try {
        const found = await (await ask("api/v1/predict?saliency=1&objects=0", {method: "POST", body: form([file])})).json();
        known = found.results[0].saliency;
        overlay(canvas, known);
      } catch (error) {
        words.textContent = error.message;
        return;
      } finally {
        button.disabled = false;
        button.focus();
      }
    }
    button.setAttribute("aria-pressed", String(!shown));
    canvas.hidden = shown;
    words.textContent = shown ? "" : found(known);
  });

  function found(known) {
    const question = about.questions.find((other) => other.columns.includes(known.answer));
    const name = question ? question.answers[question.columns.indexOf(known.answer)] : known.answer.replaceAll("_", " ");
    return known.fall < 0.005 ? `No single place decides “${name}”.`
      : `Magenta: covered there, “${name}” falls by up to ${percent(known.fall)} percentage points.`;
  }
}

/** Paints a map in magenta, which no galaxy is, the more opaque the more there is. */
function overlay(canvas, saliency) {
  const side = saliency.map.length;
  const small = document.createElement("canvas");
  small.width = small.height = side;
  const pixels = small.getContext("2d").createImageData(side, side);
  saliency.map.flat().forEach((value, place) => pixels.data.set([255, 0, 200, 2 * value], 4 * place));
  small.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = canvas.height = 32 * side;
  canvas.setAttribute("aria-label", "Map of where the model found its leading answer");
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** The answers as JSON texts of as many as a table may be asked for at a time. */
function pieces() {
  const found = [];
  const encoder = new TextEncoder();
  let bytes = Infinity;
  for (const result of results) {
    const text = JSON.stringify(result);
    const size = encoder.encode(text).length + 1;
    if (bytes + size + AROUND > about.limits.bytes || found.at(-1).length >= about.limits.results) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1).push(text);
    bytes += size;
  }
  return found.map((texts) => `{"results": [${texts.join(",")}]}`);
}

async function download(format) {
  try {
    const bodies = pieces();
    if (bodies.length > 1 && format !== "csv") {
      throw new Error(`${results.length} answers are more than fit into one Parquet file here. As CSV they all do.`);
    }
    const parts = [];
    for (const body of bodies) {
      const response = await ask(`api/v1/table?format=${format}`, {
        method: "POST", headers: {"Content-Type": "application/json"}, body});
      const part = await response.blob();
      // The first line, the columns' names, is that of the first part.
      parts.push(parts.length ? part.slice((await part.text()).indexOf("\n") + 1) : part);
    }
    const link = make("a");
    link.href = URL.createObjectURL(new Blob(parts));
    link.download = `galaxies.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`The table is in ${link.download}.`);
  } catch (error) {
    say(error.message, true);
  }
}

function start() {
  find("files").addEventListener("change", (event) => {
    give(event.target.files);
    event.target.value = "";  // so that the same file can be chosen again
  });
  find("form").addEventListener("submit", (event) => event.preventDefault());
  find("examples")?.addEventListener("click", async (event) => {
    const names = event.target.dataset.files.split(" ");
    try {
      give(await Promise.all(names.map(async (name) => new File([await (await ask(`static/${name}`)).blob()], name))));
    } catch (error) {
      say(error.message, true);
    }
  });
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => download(button.dataset.format));
  }
  find("clear").addEventListener("click", () => {
    generation += 1;
    results.length = 0;
    find("cards").replaceChildren();
    find("results").hidden = true;
    say("Cleared.");
    find("files").focus();
  });
  document.addEventListener("paste", (event) => give(event.clipboardData.files));
  let depth = 0;  // a drag enters and leaves every element on its way
  const over = (change) => document.body.classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    give(event.dataTransfer.files);
  });
}

start();
