// Which curves there are: the metrics of all shown runs, one chart each, by group.

// Return the values of a run's metric by slider position, null where it has none.
function seriesOf(run, name) {
  const probe = probes()[run];
  const values = probe && probe.metrics[name];
  if (!values || !values.some(known)) return null;
  return axis.exact[run].map((evaluation) => (evaluation < 0 ? null : values[evaluation]));
}

// Return one line per baseline: of one or two runs their own, of more their mean and range.
function baselinesOf(found, metric) {
  if (shownRuns().length > 2) {
    return BASELINES.flatMap(([name, word]) => {
      const values = found.filter((each) => each.name === name).map((each) => each.value);
      if (!values.length) return [];
      const [low, high] = [Math.min(...values), Math.max(...values)].map((v) => number(v, metric.percent));
      return [{ name, colour: "run-all", value: mean(values), text: `${word} ${low === high ? low : `${low} to ${high}`}` }];
    });
  }
  const lines = [];
  for (const { run, name, word, value } of found) {
    const same = lines.find((line) => line.name === name && Math.abs(line.value - value) < 1e-6);
    if (same) same.colour = "run-all";
    else lines.push({ name, colour: `run-${colourOf(run)}`, value, text: `${word} ${number(value, metric.percent)}` });
  }
  return lines;
}

const plainName = (metric) => (metric.moves ? `${metric.name}_${state.reference}` : metric.name);

// Return the name of a metric of the selected map, where a probe has it for that.
function nameIn(probe, metric) {
  const plain = plainName(metric);
  const name = `${plain}${mapOf(probe).suffix}`;
  return name in probe.metrics ? name : plain;
}

const hasChart = (metric) =>
  probes().some((p) => p && p.maps.length && (p.metrics[nameIn(p, metric)] || []).some(known));

function chartOf(metric) {
  const plain = plainName(metric);
  const series = [];
  const baselines = [];
  const alerts = [];
  probes().forEach((probe, run) => {
    if (!probe || !probe.maps.length) return;
    const name = nameIn(probe, metric);
    const values = seriesOf(run, name);
    if (!values) return;
    const [errors, lows] = ["se", "low"].map((key) =>
      metric.uncertain.includes(key) ? seriesOf(run, `${name}_${key}`) : null);
    series.push({ run, values, errors, lows });
    if (name === plain) {
      for (const [key, word] of BASELINES) {
        const value = mean(probe.metrics[`${plain}_${key}`] || []);
        if (known(value)) baselines.push({ run, name: key, word, value });
      }
    }
    for (const alert of probe.alerts) {
      const at = axis.exact[run].indexOf(alert.evaluation);
      if (at >= 0) alerts.push({ ...alert, run, at, own: alert.metric === name || alert.metric === `${name}_low` });
    }
  });
  alerts.sort((a, b) => a.own - b.own);
  // Of many runs only the alerts of this metric: those of all others would cover the curves.
  const marks = shownRuns().length > 2 ? alerts.filter((alert) => alert.own) : alerts;
  return { title: metric.title, note: metric.description, metric, series, baselines: baselinesOf(baselines, metric), alerts: marks };
}

// Metrics that belong to no group have a chart too.
function others() {
  const shown = new Set(data.groups.flatMap((group) => group.metrics.map((m) => m.name)));
  const stems = data.groups.flatMap((g) => g.metrics.filter((m) => m.moves).map((m) => m.name));
  const moving = Object.keys(data.references).flatMap((r) => stems.map((stem) => `${stem}_${r}`));
  const uncertain = data.groups.flatMap((g) => g.metrics.flatMap((m) => m.uncertain.map((key) => `${m.name}_${key}`)));
  const names = new Set(probes().flatMap((p) => (p ? Object.keys(p.metrics) : [])));
  const bases = BASELINES.map(([key]) => `_${key}`);
  const wanted = [...names].filter((name) =>
    !name.includes("/") && !shown.has(name) && !moving.includes(name) && !uncertain.includes(name) && !bases.some((b) => name.endsWith(b)));
  return wanted.map((name) => metricOf(name));
}

let boxes = []; // of all charts

function makeCharts() {
  const groups = [...data.groups, { key: "more", title: "More", metrics: others() }];
  const drawn = groups
    .map((group) => ({ ...group, charts: group.metrics.filter(hasChart) }))
    .filter((group) => group.charts.length);
  const layout = JSON.stringify(drawn.map(({ key, charts }) => [key, charts.map(({ name }) => name)]));
  if (layout !== byId("charts").layout) {
    byId("charts").layout = layout;
    makeBoxes(drawn);
  }
  byId("reference-choice").hidden = !drawn.some((group) => group.key === "movement") || !byId("reference").options.length;
  const charts = drawn.flatMap((group) => group.charts);
  boxes.forEach((box, i) => {
    box.show = null;
    whenNear(box, () => { box.show = drawChart(box, chartOf(charts[i])); });
  });
  makeKey();
}

// Charts that gain a point stay where they are: nothing jumps, and the focus stays.
function makeBoxes(groups) {
  const closed = new Set([...document.querySelectorAll("#charts details:not([open])")].map((d) => d.dataset.key));
  boxes.forEach((box) => nearby.unobserve(box));
  boxes = [];
  const nodes = groups.map(({ key, title, charts }) => {
    const own = charts.map(() => el("div", { class: "chart" }));
    boxes.push(...own);
    return el("details", { "data-key": key, open: !closed.has(key) },
      el("summary", {}, el("h3", {}, title)), el("div", { class: "chart-grid" }, ...own));
  });
  byId("charts").replaceChildren(...nodes);
  boxes.forEach((box) => nearby.observe(box));
  // A closed group has no width to draw in; opened, its charts come near.
  nodes.filter((node) => !node.open).forEach((node) =>
    node.querySelectorAll(".chart").forEach((box) => { box.near = false; }));
}

function moveCursors(at) {
  for (const box of [...boxes, ...largeBoxes]) if (box.show) whenNearOrLater(box, () => box.show(at));
}

function makeKey() {
  const parts = [];
  const shown = shownRuns();
  if (several()) shown.forEach((run) => parts.push(
    el("span", { class: `run-${colourOf(run)}` }, shown.length > 2 ? chipOf(run) : null, swatch(`line run-${colourOf(run)}`), data.runs[run].name)));
  const levels = new Set(probes().flatMap((p) => (p ? p.alerts.map((a) => a.level) : [])));
  for (const level of Object.keys(LEVELS)) {
    if (!levels.has(level)) continue;
    const sign = svg("svg", { class: "swatch", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
      svg("g", { class: `mark own ${level}` }, svg("line", { x1: 6, x2: 6, y1: 0, y2: 12 }), svg("path", { d: "M2 0h8l-4 7z" })));
    parts.push(el("span", {}, sign, `alert, ${LEVELS[level]}`));
  }
  const based = probes().some((p) => p && "enrichment_random" in p.metrics);
  if (based) parts.push(el("span", {}, "dashed: what knows nothing, which is random maps, a spot in the centre, untrained weights"));
  parts.push(el("span", {}, `across: ${axis.by}`));
  byId("key").replaceChildren(...parts);
}
