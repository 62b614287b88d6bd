// The grid of samples, one tile an image and label, and the large view of one.

const SIDE = 208; // of a tile's heat in pixels; the browser smooths it to the tile's size
const LARGE = 512;
let tiles = [];
let opened = -1;

// A sample is the same in two runs where the image's name and the label's place are.
function samples() {
  const found = new Map();
  probes().forEach((probe, run) => {
    if (!probe) return;
    const counts = new Map();
    const shots = probe.shots.reduce((a, b) => (b.drawn.length > a.drawn.length ? b : a), {
      drawn: [],
    });
    shots.drawn.forEach((n) => {
      const row = shots.row[n];
      const place = counts.get(row) || 0;
      counts.set(row, place + 1);
      const key = `${place} ${probe.ids[row]}`;
      if (!found.has(key)) found.set(key, { id: probe.ids[row], shots: data.runs.map(() => null) });
      found.get(key).shots[run] = { row, place };
    });
  });
  return [...found.values()];
}

// What a look says of a sample: its place among all maps and among the drawn ones, or null.
function readingOf(probe, look, shot) {
  if (!probe || !shot || look < 0) return null;
  const said = probe.shots[look];
  let place = shot.place;
  for (let drawn = 0; drawn < said.drawn.length; drawn++) {
    const n = said.drawn[drawn];
    if (said.row[n] !== shot.row || place-- > 0) continue;
    return { n, drawn, label: said.label[n], cls: said.cls[n], pred: said.pred[n], conf: said.conf[n] };
  }
  return null;
}

const valueOf = (probe, name, look, n) => {
  const values = probe.perImage[name];
  return values && values[look] && known(values[look][n]) ? values[look][n] : null;
};

// How much a map is dimmed where one scale holds over the epochs, null where each has its own.
function gainOf(probe, map, found, shot) {
  if (state.scale === "own" || !found || !known(found.peak)) return null;
  let top = 0;
  probe.shots.forEach((_, look) => {
    const reading = readingOf(probe, look, shot);
    const other = reading && map.shape[look] ? map.peak[look][reading.drawn] : null;
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
  box.append(el("span", { class: "empty", hidden: true }, "no evidence"));
  return box;
}

function showHeat(box, probe, look, shot, reading) {
  const map = mapOf(probe);
  const found = reading ? cellsOf(map, look, reading.drawn) : null;
  drawHeat(box.querySelector("canvas"), found, gainOf(probe, map, found, shot));
  box.querySelector(".empty").hidden = !isFlat(found);
}

// What was predicted, in words; `wrong` marks a miss.
function saidOf(probe, reading) {
  if (!reading) return { text: "", wrong: false };
  const sure = known(reading.conf) ? `${Math.round(reading.conf * 100)} %` : "";
  if (probe.multi) {
    const missed = reading.pred < 0 && reading.cls >= 0;
    return { text: [missed ? "missed" : "found", sure].filter(Boolean).join(" · "), wrong: missed };
  }
  if (reading.pred < 0) return { text: sure, wrong: false };
  const wrong = reading.label >= 0 && reading.pred !== reading.label;
  // Where it is right the label above says it already.
  const name = nameOf(probe, reading.pred);
  const told = wrong || reading.label < 0 ? [name, sure] : [sure];
  return { text: told.filter(Boolean).join(" · "), wrong };
}

const labelOf = (probe, reading) => {
  if (!reading) return "";
  const label = reading.label >= 0 ? reading.label : reading.cls;
  return label >= 0 ? nameOf(probe, label) : "";
};

function shotTile(probe, run, shot) {
  if (!probe || !shot || shot.row >= probe.images.length) {
    return { node: el("div", { class: "shot gone" }, "not in this run"), show: () => {} };
  }
  const box = picture(probe, shot.row, SIDE);
  const label = el("span", { class: "label" });
  const said = el("span", { class: "said" });
  const figure = el("span", { class: "figure" });
  const chip = several ? el("span", { class: "chip", "aria-hidden": "true" }) : null;
  const node = el(
    "div",
    { class: `shot run-${run}` },
    box,
    el("div", { class: "caption" }, el("div", {}, chip, label, said), figure),
  );
  const show = () => {
    const look = lookOf(run);
    const reading = readingOf(probe, look, shot);
    showHeat(box, probe, look, shot, reading);
    const words = saidOf(probe, reading);
    label.textContent = labelOf(probe, reading);
    said.textContent = words.text;
    said.classList.toggle("wrong", words.wrong);
    node.classList.toggle("miss", words.wrong);
    figure.textContent = figureOf(probe, look, reading);
  };
  return { node, show };
}

// The one number under a tile: enrichment where masks are known, else the evidence.
function figureOf(probe, look, reading) {
  if (!reading) return look < 0 ? "not yet validated" : "no map";
  for (const [name, word] of [["enrichment", "enrichment"], ["evidence", "evidence"]]) {
    const value = valueOf(probe, name, look, reading.n);
    if (known(value)) return `${word} ${number(value)}`;
  }
  return "";
}

function makeGrid() {
  const all = probes();
  const list = samples();
  tiles = list.map((sample, i) => {
    const shots = sample.shots.map((shot, run) => shotTile(all[run], run, shot));
    const open = el("button", { type: "button", class: "open" }, ...shots.map((shot) => shot.node));
    open.setAttribute("aria-label", `Enlarge ${sample.id}`);
    open.addEventListener("click", () => openLarge(i));
    const node = el("li", { class: several ? "pair" : "" }, open, el("span", { class: "id" }, sample.id));
    node.lastChild.title = sample.id;
    return { sample, node, show: () => shots.forEach((shot) => shot.show()) };
  });
  byId("grid").replaceChildren(...tiles.map((tile) => tile.node));
  if (!tiles.length) byId("grid").append(el("li", { class: "quiet" }, "No pictures were recorded."));
}

function showGrid() {
  tiles.forEach((tile) => tile.show());
  drawBar(byId("legend"));
  byId("scale-note").textContent =
    state.scale === "own"
      ? "Each map is drawn up to its own maximum: a fall of the evidence does not show here."
      : "Each image is drawn up to its greatest value over the epochs: weak maps stay pale.";
}

// --- the large view -------------------------------------------------------------------------------

function openLarge(i) {
  opened = (i + tiles.length) % tiles.length;
  makeLarge();
  if (!byId("large").open) byId("large").showModal();
  showLarge();
}

let largeShots = [];

function makeLarge() {
  const { sample } = tiles[opened];
  byId("large-title").textContent = sample.id;
  largeShots = [];
  const columns = sample.shots.map((shot, run) => {
    const probe = probes()[run];
    if (!probe || !shot) return el("div", { class: "column gone" }, "not in this run");
    const box = picture(probe, shot.row, LARGE);
    const facts = el("dl", { class: "pairs" });
    const charts = el("div", { class: "small-charts" });
    const strip = filmStrip(probe, run, shot);
    largeShots.push({ probe, run, shot, box, facts, charts, strip });
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

// Small pictures of evenly spaced validations; each moves the slider.
function filmStrip(probe, run, shot) {
  const most = Math.min(several ? 5 : 8, axis.xs.length);
  const places = [...Array(most).keys()].map((i) =>
    most > 1 ? Math.round((i * (axis.xs.length - 1)) / (most - 1)) : 0,
  );
  const frames = [...new Set(places)].map((at) => {
    const box = picture(probe, shot.row, 96);
    const node = el("button", { type: "button" }, box, el("span", {}, String(axis.xs[at])));
    node.setAttribute("aria-label", `Go to ${timeText(at)}`);
    node.addEventListener("click", () => moveTo(at));
    const look = axis.looks[run][at];
    return { at, node, show: () => showHeat(box, probe, look, shot, readingOf(probe, look, shot)) };
  });
  const node = el("div", { class: "strip" }, ...frames.map((frame) => frame.node));
  return { node, frames };
}

function showLarge() {
  if (!byId("large").open) return;
  for (const { probe, run, shot, box, facts, charts, strip } of largeShots) {
    const look = lookOf(run);
    const reading = readingOf(probe, look, shot);
    showHeat(box, probe, look, shot, reading);
    strip.frames.forEach((frame) => {
      frame.show();
      frame.node.setAttribute("aria-current", String(frame.at === state.at));
    });
    facts.replaceChildren(...factsOf(probe, look, reading));
    charts.replaceChildren();
    for (const [name, title] of [["enrichment", "Enrichment"], ["label_confidence", "Confidence in the label"], ["evidence", "Evidence"]]) {
      if (!probe.perImage[name]) continue;
      const values = probe.shots.map((_, i) => {
        const then = readingOf(probe, i, shot);
        return then ? valueOf(probe, name, i, then.n) : null;
      });
      const box = el("div", { class: "chart" });
      charts.append(box);
      const shown = axis.xs.map((_, at) => (axis.looks[run][at] < 0 ? null : values[axis.looks[run][at]]));
      const even = name === "enrichment" ? 1 : null;
      drawChart(box, { title, note: "this image", metric: { low: 0, high: null, even, share: name === "label_confidence" }, series: [{ run, values: shown }], baselines: [], alerts: [] });
    }
  }
}

function factsOf(probe, look, reading) {
  const rows = [["when", timeText(state.at)]];
  if (reading) {
    const words = saidOf(probe, reading);
    rows.push(["label", labelOf(probe, reading) || "–"]);
    const mark = words.wrong ? ["wrong", words.text] : ["right", words.text];
    rows.push(probe.multi ? ["the label is", words.text] : reading.label < 0 ? ["predicted", words.text] : mark);
    for (const group of data.groups) {
      for (const metric of group.metrics) {
        const value = valueOf(probe, metric.name, look, reading.n);
        if (known(value) && group.key === "rest") rows.push([metric.title.toLowerCase(), number(value)]);
      }
    }
  }
  return rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}
