// The grid of samples, one tile per image and label, with the maps of all shown runs side by side.

let tiles = [];

// Return the side of a tile's heat in pixels; the browser smooths it to the tile's size.
const sideOf = (runs) => (runs > 4 ? 112 : runs > 2 ? 160 : 208);

// Runs share a sample where the image's id and the label's position are the same.
function samples() {
  const found = new Map();
  probes().forEach((probe, run) => {
    if (!probe) return;
    const counts = new Map();
    const answers = probe.answers.reduce((a, b) => (b.drawn.length > a.drawn.length ? b : a), { drawn: [] });
    answers.drawn.forEach((n) => {
      const row = answers.row[n];
      const place = counts.get(row) || 0;
      counts.set(row, place + 1);
      const key = `${place} ${probe.ids[row]}`;
      if (!found.has(key)) found.set(key, { id: probe.ids[row], items: data.runs.map(() => null) });
      found.get(key).items[run] = { row, place };
    });
  });
  return [...found.values()];
}

// Return a sample's row among all maps and among the recorded ones of an evaluation, or null.
function readingOf(probe, evaluation, item) {
  if (!probe || !item || evaluation < 0) return null;
  const answers = probe.answers[evaluation];
  let place = item.place;
  for (let drawn = 0; drawn < answers.drawn.length; drawn++) {
    const n = answers.drawn[drawn];
    if (answers.row[n] !== item.row || place-- > 0) continue;
    return { n, drawn, label: answers.label[n], cls: answers.cls[n], pred: answers.pred[n], conf: answers.conf[n] };
  }
  return null;
}

const valueOf = (probe, name, evaluation, n) => {
  const values = probe.perImage[name];
  return values && values[evaluation] && known(values[evaluation][n]) ? values[evaluation][n] : null;
};

// Return a map's factor where all epochs share one scale, null where each map has its own.
function gainOf(probe, map, found, item) {
  if (state.scale === "own" || !found || !known(found.peak)) return null;
  let top = 0;
  probe.answers.forEach((_, evaluation) => {
    const reading = readingOf(probe, evaluation, item);
    const other = reading && map.shape[evaluation] ? map.peak[evaluation][reading.drawn] : null;
    if (known(other)) top = Math.max(top, other);
  });
  return top > 0 ? Math.min(1, found.peak / top) : 1;
}

// Return the address of an image: its bytes in a file, else where the server has them.
function pictureOf(probe, row) {
  const key = probe.images[row];
  return data.pictures ? `data:image/jpeg;base64,${data.pictures[key]}` : `images/${key}`;
}

function picture(probe, row, side) {
  const [w, h] = probe.size;
  const scale = side / Math.max(w, h);
  const box = el("span", { class: "picture" });
  box.style.aspectRatio = `${w} / ${h}`;
  const image = el("img", { alt: "", src: pictureOf(probe, row), decoding: data.pictures ? null : "async" });
  const canvas = el("canvas", {
    width: Math.max(1, Math.round(w * scale)),
    height: Math.max(1, Math.round(h * scale)),
    "aria-hidden": "true",
  });
  box.append(image, canvas);
  if (probe.outlines && probe.outlines[row]) {
    box.append(
      svg(
        "svg",
        { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("path", { d: probe.outlines[row], class: "edge" }),
        svg("path", { d: probe.outlines[row], class: "line" }),
      ),
    );
  }
  box.append(el("span", { class: "empty", hidden: true }, "flat map"));
  return box;
}

function showHeat(box, probe, evaluation, item, reading) {
  const map = mapOf(probe);
  const found = reading ? cellsOf(probe, map, evaluation, reading.drawn) : null;
  const pending = Boolean(found && found.pending);
  box.classList.toggle("pending", pending); // the map before stays, pale, until this one is here
  box.querySelector(".empty").hidden = pending || !isFlat(found);
  if (!pending) drawHeat(box.querySelector("canvas"), found, gainOf(probe, map, found, item));
}

// Return the prediction as text; `wrong` marks an error.
function predictionText(probe, reading) {
  if (!reading) return { text: "", wrong: false };
  const sure = known(reading.conf) ? `${Math.round(reading.conf * 100)} %` : "";
  if (probe.multi) {
    const missed = reading.pred < 0 && reading.cls >= 0;
    return { text: [missed ? "missed" : "found", sure].filter(Boolean).join(" · "), wrong: missed };
  }
  if (reading.pred < 0) return { text: sure, wrong: false };
  const wrong = reading.label >= 0 && reading.pred !== reading.label;
  // A correct prediction repeats the label that is shown above.
  const name = nameOf(probe, reading.pred);
  const parts = wrong || reading.label < 0 ? [name, sure] : [sure];
  return { text: parts.filter(Boolean).join(" · "), wrong };
}

const labelOf = (probe, reading) => {
  if (!reading) return "";
  const label = reading.label >= 0 ? reading.label : reading.cls;
  return label >= 0 ? nameOf(probe, label) : "";
};

function itemTile(probe, run, item, side) {
  if (!probe || !item || item.row >= probe.images.length) {
    return { node: el("div", { class: `item gone run-${colourOf(run)}` }, several() ? chipOf(run) : null, "not in this run"), show: () => "" };
  }
  const box = picture(probe, item.row, side);
  const label = el("span", { class: "label" });
  const prediction = el("span", { class: "prediction" });
  const figure = el("span", { class: "figure" });
  const node = el(
    "div",
    { class: `item run-${colourOf(run)}`, title: several() ? data.runs[run].name : null },
    box,
    el("div", { class: "caption" }, el("div", {}, several() ? chipOf(run) : null, label, prediction), figure),
  );
  const show = () => {
    const evaluation = evaluationOf(run);
    const reading = readingOf(probe, evaluation, item);
    showHeat(box, probe, evaluation, item, reading);
    const words = predictionText(probe, reading);
    label.textContent = labelOf(probe, reading);
    prediction.textContent = words.text;
    prediction.classList.toggle("wrong", words.wrong);
    node.classList.toggle("miss", words.wrong);
    figure.textContent = figureOf(probe, evaluation, reading);
    const said = [label.textContent, words.wrong ? `wrong: ${words.text}` : words.text, figure.textContent];
    return `${several() ? `${data.runs[run].name} ` : ""}${said.filter(Boolean).join(", ")}`; // to read aloud
  };
  return { node, show };
}

// Return the number under a tile: enrichment where masks are known, else the mean activation.
function figureOf(probe, evaluation, reading) {
  if (!reading) return evaluation < 0 ? "not evaluated yet" : "no map";
  for (const name of ["enrichment", "mean_activation"]) {
    const value = valueOf(probe, name, evaluation, reading.n);
    if (known(value)) return `${metricOf(name).title.toLowerCase()} ${number(value)}`;
  }
  return "";
}

// A tile is filled when it comes near the screen: of many runs there are hundreds of images.
function makeTile(sample, runs) {
  const open = el("button", { type: "button", class: "open", "aria-label": `Enlarge ${sample.id}` });
  const id = el("span", { class: "id", title: sample.id }, sample.id);
  const node = el("li", { class: runs.length > 1 ? "pair" : "" }, open, id);
  const tile = { sample, node, open, items: null };
  tile.fill = () => {
    const all = probes();
    const side = sideOf(runs.length);
    tile.items = runs.map((run) => itemTile(all[run], run, sample.items[run], side));
    open.replaceChildren(...tile.items.map((item) => item.node));
    node.style.minHeight = "";
  };
  tile.show = () => {
    if (!tile.items) tile.fill();
    const words = tile.items.map((item) => item.show()).filter(Boolean);
    open.setAttribute("aria-label", `Enlarge ${sample.id}${words.length ? `: ${words.join("; ")}` : ""}`);
  };
  open.addEventListener("click", () => openLarge(tile));
  return tile;
}

function makeGrid() {
  const runs = shownRuns();
  tiles.forEach((tile) => nearby.unobserve(tile.node));
  tiles = samples().map((sample) => makeTile(sample, runs));
  byId("grid").className = `grid ${runs.length > 4 ? "wide" : runs.length > 2 ? "quad" : ""}`;
  byId("grid").replaceChildren();
  arranged = null;
  arrange();
  fillFirst();
  tiles.forEach((tile) => nearby.observe(tile.node));
}

// Fill what is on the screen; the others keep its height until they come near. One tile is measured:
// each look at a place costs a layout of the whole page.
function fillFirst() {
  const [first, ...rest] = arranged;
  if (first) {
    first.fill();
    const box = first.node.getBoundingClientRect();
    const across = Math.max(1, Math.round(byId("grid").clientWidth / box.width));
    const rows = Math.ceil((window.innerHeight - box.top) / box.height);
    const height = `${Math.floor(box.height)}px`;
    rest.forEach(({ node, fill }, i) => {
      if (i + 1 < across * rows) return fill();
      node.near = false;
      node.style.minHeight = height;
    });
  }
  for (const tile of tiles) if (tile.node.hidden) tile.node.near = false;
}

function showGrid() {
  arrange();
  tiles.forEach((tile) => !tile.node.hidden && whenNear(tile.node, tile.show));
  drawBar(byId("legend"));
  byId("scale-note").textContent =
    state.scale === "own"
      ? "Each map is scaled by its own maximum: a falling mean activation does not show here."
      : "Each image is drawn up to its greatest value over the epochs: weak maps stay pale.";
}

// The colours changed, or maps arrived.
function showHeats() {
  tiles.forEach((tile) => !tile.node.hidden && whenNear(tile.node, tile.show));
  drawBar(byId("legend"));
  whenNear(byId("worst"), makeWorst);
  showLarge();
}
