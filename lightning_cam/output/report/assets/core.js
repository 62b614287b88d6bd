// Elements, number formats and the page's state. Text from the data is only set as text nodes.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) =>
  filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

const FIRST_SHOWN = 12; // runs, of which there are as many colours

const known = (value) => value !== null && value !== undefined;

function number(value, share = false) {
  if (!known(value)) return "–";
  if (share) return `${Math.round(value * 100)} %`;
  const size = Math.abs(value);
  const text =
    size !== 0 && size < 0.01 ? value.toExponential(1) : value.toFixed(size < 100 ? 2 : 0);
  return text.replaceAll("-", "−");
}

const mean = (values) => {
  const there = values.filter(known);
  return there.length ? there.reduce((a, b) => a + b, 0) / there.length : null;
};

// --- what is selected, and the evaluations that runs have in common -----------------------------

const state = {
  shown: new Set(data.shown || data.runs.slice(0, FIRST_SHOWN).map((run) => run.key)),
  at: 0, // position on the slider
  follow: true, // the newest evaluation
  probe: 0,
  map: 0,
  reference: "previous",
  colormap: data.colormap in data.colormaps ? data.colormap : "turbo",
  scale: "own",
  opacity: data.opacity,
  name: "", // of the class whose samples are shown
  answer: "",
  order: "",
};

let tags = [];
let current = []; // by run its probe of the selected name; null where it has none, or is not shown
let axis = { by: "epoch", xs: [], evaluations: [], exact: [] };

function tagsOf() {
  const runs = data.runs.filter((run) => run.probes.length);
  const single = runs.every((run) => run.probes.length === 1);
  const all = [...new Set(runs.flatMap((run) => run.probes.map((probe) => probe.tag)))];
  return single && all.length ? [all.join(", ")] : all;
}

const probes = () => current;
const shownRuns = () => data.runs.map((_, run) => run).filter((run) => state.shown.has(data.runs[run].key));
const several = () => shownRuns().length > 1;
const colourOf = (run) => run % FIRST_SHOWN;

function selectProbes() {
  tags = tagsOf();
  state.probe = Math.min(state.probe, Math.max(0, tags.length - 1));
  current = data.runs.map((run) => {
    if (!state.shown.has(run.key)) return null;
    if (tags.length === 1 && run.probes.length === 1) return run.probes[0];
    return run.probes.find((probe) => probe.tag === tags[state.probe]) || null;
  });
}

// Return the catalog's facts of a metric; `jsd_previous` has those of `jsd`.
function metricOf(name) {
  const metrics = data.groups.flatMap((group) => group.metrics);
  const moved = (metric) => metric.moves && Object.keys(data.references).some((r) => name === `${metric.name}_${r}`);
  const found = metrics.find((metric) => metric.name === name) || metrics.find(moved);
  return found || { name, title: name, description: "", low: null, high: null, even: null, percent: false, moves: false, uncertain: [] };
}

// Runs may be evaluated at different steps: each shows its latest evaluation up to the slider.
function makeAxis() {
  const repeats = current.some((p) => p && new Set(p.epochs).size < p.epochs.length);
  const own = current.map((p) => (p ? (repeats ? p.steps : p.epochs) : []));
  const xs = [...new Set(own.flat())].sort((a, b) => a - b);
  const places = new Map(xs.map((x, at) => [x, at]));
  const exact = own.map((mine) => {
    const found = Array(xs.length).fill(-1);
    mine.forEach((x, i) => { found[places.get(x)] = i; });
    return found;
  });
  const evaluations = exact.map((found) => {
    let latest = -1;
    return found.map((i) => (latest = Math.max(latest, i)));
  });
  axis = { by: repeats ? "step" : "epoch", xs, own, exact, evaluations };
}

const evaluationOf = (run) => (axis.xs.length ? axis.evaluations[run][state.at] : -1);

function timeText(at) {
  if (!axis.xs.length) return "no evaluation yet";
  if (axis.by === "epoch") return `epoch ${axis.xs[at]}`;
  const run = current.findIndex((p, r) => p && axis.evaluations[r][at] >= 0);
  return `epoch ${current[run].epochs[axis.evaluations[run][at]]}, step ${axis.xs[at]}`;
}

const nameOf = (probe, index) => (index in probe.names ? probe.names[index] : "?");

// Return the index of the selected map, 0 where a run has fewer maps.
const mapOf = (probe) => probe.maps[Math.min(state.map, probe.maps.length - 1)];

// Return the sign of a run: its colour and, where there are more than two, its number.
const chipOf = (run) => el("span", { class: "chip", "aria-hidden": "true" }, String(run + 1));

const ofRun = (run) =>
  el("h3", { class: `of-run run-${colourOf(run)}` }, chipOf(run), data.runs[run].name);

// --- what is not on the screen is drawn later ------------------------------------------------------

const LATER = 300; // milliseconds after the last change
const waiting = new Set(); // nodes out of sight whose text is not up to date
let settling = 0;
const nearby = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.near = isIntersecting;
    if (isIntersecting) refresh(target);
  }
}, { rootMargin: "200px" });

function refresh(node) {
  waiting.delete(node);
  const draw = node.stale;
  node.stale = null;
  if (draw) draw();
}

// Draw now if the node is on the screen or close to it, else when it comes there.
function whenNear(node, draw) {
  node.stale = draw;
  if (node.near !== false) refresh(node);
}

// The same for text, which is brought up to date out of sight too: it may be read aloud.
function whenNearOrLater(node, draw) {
  whenNear(node, draw);
  if (!node.stale) return;
  waiting.add(node);
  clearTimeout(settling);
  settling = setTimeout(() => [...waiting].forEach((each) => (each.isConnected ? refresh(each) : waiting.delete(each))), LATER);
}
