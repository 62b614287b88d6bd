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

const several = data.runs.length > 1;
const tags = tagsOf();
const state = {
  at: 0, // position on the slider
  probe: 0,
  map: 0,
  reference: "previous",
  colormap: data.colormap in data.colormaps ? data.colormap : "turbo",
  scale: "own",
  opacity: data.opacity,
};

function tagsOf() {
  const single = data.runs.every((run) => run.probes.length === 1);
  if (single) return [data.runs.map((run) => run.probes[0].tag).join(", ")];
  return [...new Set(data.runs.flatMap((run) => run.probes.map((probe) => probe.tag)))];
}

// Return each run's probe of the selected name, null where a run has none.
function probes() {
  return data.runs.map((run) => {
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

let axis = { by: "epoch", xs: [], evaluations: [] };

// Runs may be evaluated at different steps: each shows its latest evaluation up to the slider.
function makeAxis() {
  const all = probes();
  const repeats = all.some((p) => p && new Set(p.epochs).size < p.epochs.length);
  const by = repeats ? "step" : "epoch";
  const own = all.map((p) => (p ? (repeats ? p.steps : p.epochs) : []));
  const xs = [...new Set(own.flat())].sort((a, b) => a - b);
  const evaluations = own.map((mine) =>
    xs.map((x) => mine.reduce((found, each, i) => (each <= x ? i : found), -1)),
  );
  axis = { by, xs, evaluations, own };
}

const evaluationOf = (run) => (axis.xs.length ? axis.evaluations[run][state.at] : -1);

function timeText(at) {
  if (!axis.xs.length) return "no evaluation yet";
  if (axis.by === "epoch") return `epoch ${axis.xs[at]}`;
  const all = probes();
  const run = all.findIndex((p, r) => p && axis.evaluations[r][at] >= 0);
  return `epoch ${all[run].epochs[axis.evaluations[run][at]]}, step ${axis.xs[at]}`;
}

const nameOf = (probe, index) => (index in probe.names ? probe.names[index] : "?");

// Return the index of the selected map, 0 where a run has fewer maps.
const mapOf = (probe) => probe.maps[Math.min(state.map, probe.maps.length - 1)];
