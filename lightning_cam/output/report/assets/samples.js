// The grid of samples, one tile per image and label, and the large view of one sample.

const SIDE = 208; // of a tile's heat in pixels; the browser smooths it to the tile's size
const LARGE = 512;
let tiles = [];
let opened = -1;

// Two runs share a sample where the image's id and the label's position are the same.
function samples() {
  const found = new Map();
  probes().forEach((probe, run) => {
    if (!probe) return;
    const counts = new Map();
    const answers = probe.answers.reduce((a, b) => (b.drawn.length > a.drawn.length ? b : a), {
      drawn: [],
    });
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

function picture(probe, row, side) {
  const [w, h] = probe.size;
  const scale = side / Math.max(w, h);
  const box = el("span", { class: "picture" });
  box.style.aspectRatio = `${w} / ${h}`;
  const image = el("img", { alt: "", src: `data:image/jpeg;base64,${probe.images[row]}` });
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
  const found = reading ? cellsOf(map, evaluation, reading.drawn) : null;
  drawHeat(box.querySelector("canvas"), found, gainOf(probe, map, found, item));
  box.querySelector(".empty").hidden = !isFlat(found);
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

function itemTile(probe, run, item) {
  if (!probe || !item || item.row >= probe.images.length) {
    return { node: el("div", { class: "item gone" }, "not in this run"), show: () => {} };
  }
  const box = picture(probe, item.row, SIDE);
  const label = el("span", { class: "label" });
  const prediction = el("span", { class: "prediction" });
  const figure = el("span", { class: "figure" });
  const chip = several ? el("span", { class: "chip", "aria-hidden": "true" }) : null;
  const node = el(
    "div",
    { class: `item run-${run}` },
    box,
    el("div", { class: "caption" }, el("div", {}, chip, label, prediction), figure),
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

function makeGrid() {
  const all = probes();
  const list = samples();
  tiles = list.map((sample, i) => {
    const shown = sample.items.map((item, run) => itemTile(all[run], run, item));
    const open = el("button", { type: "button", class: "open" }, ...shown.map((item) => item.node));
    open.setAttribute("aria-label", `Enlarge ${sample.id}`);
    open.addEventListener("click", () => openLarge(i));
    const node = el("li", { class: several ? "pair" : "" }, open, el("span", { class: "id" }, sample.id));
    node.lastChild.title = sample.id;
    return { sample, node, show: () => shown.forEach((item) => item.show()) };
  });
  byId("grid").replaceChildren(...tiles.map((tile) => tile.node));
  if (!tiles.length) byId("grid").append(el("li", { class: "quiet" }, "No images were recorded."));
}

function showGrid() {
  tiles.forEach((tile) => tile.show());
  drawBar(byId("legend"));
  byId("scale-note").textContent =
    state.scale === "own"
      ? "Each map is scaled by its own maximum: a falling mean activation does not show here."
      : "Each image is drawn up to its greatest value over the epochs: weak maps stay pale.";
}

// --- the large view -------------------------------------------------------------------------------

function openLarge(i) {
  opened = (i + tiles.length) % tiles.length;
  makeLarge();
  if (!byId("large").open) byId("large").showModal();
  showLarge();
}

let largeItems = [];

function makeLarge() {
  const { sample } = tiles[opened];
  byId("large-title").textContent = sample.id;
  largeItems = [];
  const columns = sample.items.map((item, run) => {
    const probe = probes()[run];
    if (!probe || !item) return el("div", { class: "column gone" }, "not in this run");
    const box = picture(probe, item.row, LARGE);
    const facts = el("dl", { class: "pairs" });
    const charts = el("div", { class: "small-charts" });
    const strip = filmStrip(probe, run, item);
    largeItems.push({ probe, run, item, box, facts, charts, strip });
    const title = several ? ofRun(run) : null;
    const left = el("div", {}, box, strip.node);
    return el("div", { class: "column" }, title, left, el("div", {}, facts, charts));
  });
  byId("large-body").className = several ? "two" : "one";
  byId("large-body").replaceChildren(...columns);
}

const ofRun = (run) =>
  el(
    "h3",
    { class: `of-run run-${run}` },
    el("span", { class: "chip", "aria-hidden": "true" }),
    data.runs[run].name,
  );

// Draw thumbnails of evenly spaced evaluations; each moves the slider.
function filmStrip(probe, run, item) {
  const most = Math.min(several ? 5 : 8, axis.xs.length);
  const places = [...Array(most).keys()].map((i) =>
    most > 1 ? Math.round((i * (axis.xs.length - 1)) / (most - 1)) : 0,
  );
  const frames = [...new Set(places)].map((at) => {
    const box = picture(probe, item.row, 96);
    const node = el("button", { type: "button" }, box, el("span", {}, String(axis.xs[at])));
    node.setAttribute("aria-label", `Go to ${timeText(at)}`);
    node.addEventListener("click", () => moveTo(at));
    const evaluation = axis.evaluations[run][at];
    return { at, node, show: () => showHeat(box, probe, evaluation, item, readingOf(probe, evaluation, item)) };
  });
  const node = el("div", { class: "strip" }, ...frames.map((frame) => frame.node));
  return { node, frames };
}

function showLarge() {
  if (!byId("large").open) return;
  for (const { probe, run, item, box, facts, charts, strip } of largeItems) {
    const evaluation = evaluationOf(run);
    const reading = readingOf(probe, evaluation, item);
    showHeat(box, probe, evaluation, item, reading);
    strip.frames.forEach((frame) => {
      frame.show();
      frame.node.setAttribute("aria-current", String(frame.at === state.at));
    });
    facts.replaceChildren(...factsOf(probe, evaluation, reading));
    charts.replaceChildren();
    for (const name of ["enrichment", "label_confidence", "mean_activation"]) {
      if (!probe.perImage[name]) continue;
      const values = probe.answers.map((_, i) => {
        const then = readingOf(probe, i, item);
        return then ? valueOf(probe, name, i, then.n) : null;
      });
      const box = el("div", { class: "chart" });
      charts.append(box);
      const shown = axis.xs.map((_, at) => (axis.evaluations[run][at] < 0 ? null : values[axis.evaluations[run][at]]));
      const metric = { ...metricOf(name), low: 0, high: null };
      drawChart(box, { title: metric.title, note: "this image", metric, series: [{ run, values: shown }], baselines: [], alerts: [] });
    }
  }
}

function factsOf(probe, evaluation, reading) {
  const rows = [["when", timeText(state.at)]];
  if (reading) {
    const words = predictionText(probe, reading);
    rows.push(["label", labelOf(probe, reading) || "–"]);
    const mark = words.wrong ? ["wrong", words.text] : ["right", words.text];
    rows.push(probe.multi ? ["the label is", words.text] : reading.label < 0 ? ["predicted", words.text] : mark);
    for (const group of data.groups) {
      for (const metric of group.metrics) {
        const value = valueOf(probe, metric.name, evaluation, reading.n);
        if (known(value) && group.key === "attention") rows.push([metric.title.toLowerCase(), number(value)]);
      }
    }
  }
  return rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}
