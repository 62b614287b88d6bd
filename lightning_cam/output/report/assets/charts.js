// Charts as SVG: one per metric, with dashed baselines and a vertical line per alert.

const MARGIN = { left: 38, right: 10, top: 8, bottom: 20 };
const BASELINES = [["random", "random"], ["center", "centre"], ["untrained", "untrained"]];
const LEVELS = { confirmed: "confirmed", saliency: "saliency only", contradicted: "contradicted" };
let cursors = [];

// Return round tick values that cover a range with three to five grid lines.
function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= raw * 0.999);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) {
    found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  }
  return { found, step };
}

function rangeOf(metric, lines) {
  const values = lines.flat().filter(known);
  if (known(metric.even)) values.push(metric.even);
  let low = Math.min(...values, known(metric.low) ? metric.low : 0);
  let high = Math.max(...values);
  if (known(metric.high)) high = Math.min(Math.max(high * 1.08, low + 0.02), Math.max(metric.high, high));
  else high += (high - low) * 0.08;
  if (!(high > low)) high = low + 1;
  return [low, high];
}

function tickText(value, step, share) {
  if (share) return `${+(value * 100).toFixed(1)} %`;
  if (value !== 0 && step < 0.001) return value.toExponential(0).replaceAll("-", "−");
  const digits = Math.max(0, Math.min(3, -Math.floor(Math.log10(step) + 1e-9)));
  return value.toFixed(digits).replace("-", "−");
}

// Return the 95 % interval of each value as a band, and the lower bound as a dashed line.
function bandOf({ run, values, errors, lows }, px, py) {
  const found = [];
  if (errors) {
    const at = values.map((v, i) => (known(v) && known(errors[i]) ? i : -1)).filter((i) => i >= 0);
    const edge = (sign) => at.map((i) => `${px(i).toFixed(1)} ${py(values[i] + sign * 1.96 * errors[i]).toFixed(1)}`);
    if (at.length > 1) found.push(svg("path", { class: `band run-${run}`, d: `M${[...edge(1), ...edge(-1).reverse()].join("L")}Z` }));
  }
  if (lows) {
    const points = lows.map((v, i) => (known(v) ? `${px(i).toFixed(1)} ${py(v).toFixed(1)}` : "")).filter(Boolean);
    if (points.length > 1) found.push(svg("path", { class: `line bound run-${run}`, d: `M${points.join("L")}` }));
  }
  return found;
}

// chart: title, note, metric, series [{run, values}], baselines [{run, name, word, value}],
// alerts [{run, at, level, title, own}]. Values are indexed by the slider's position.
function drawChart(box, chart) {
  const width = Math.max(220, box.clientWidth || 300);
  const height = 132;
  const { metric } = chart;
  const inner = { w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
  const lines = [...chart.series.map((s) => s.values), chart.baselines.map((b) => b.value)];
  const [low, high] = rangeOf(metric, lines);
  const first = axis.xs[0];
  const span = axis.xs[axis.xs.length - 1] - first || 1;
  const alone = axis.xs.length === 1;
  const px = (at) => MARGIN.left + (alone ? inner.w / 2 : ((axis.xs[at] - first) / span) * inner.w);
  const py = (v) => MARGIN.top + inner.h - ((v - low) / (high - low)) * inner.h;
  const right = MARGIN.left + inner.w;

  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  plot.setAttribute("aria-label", ariaLabel(chart));
  const down = ticks(low, high, 4);
  for (const v of down.found) {
    plot.append(
      svg("line", { class: "rule", x1: MARGIN.left, x2: right, y1: py(v), y2: py(v) }),
      svg("text", { class: "tick", x: MARGIN.left - 6, y: py(v) + 3.5, "text-anchor": "end" },
        tickText(v, down.step, metric.percent)),
    );
  }
  const across = alone ? { found: [first] } : ticks(first, first + span, Math.min(6, width / 60));
  for (const x of across.found.filter((each) => Number.isInteger(each))) {
    const place = alone ? px(0) : MARGIN.left + ((x - first) / span) * inner.w;
    plot.append(svg("text", { class: "tick", x: place, y: height - 5, "text-anchor": "middle" }, String(x)));
  }
  if (known(metric.even) && metric.even >= low && metric.even <= high) {
    plot.append(svg("line", { class: "even", x1: MARGIN.left, x2: right, y1: py(metric.even), y2: py(metric.even) }));
  }
  for (const each of chart.baselines) {
    plot.append(svg("line", { class: `base ${each.name} run-${each.run}`, x1: MARGIN.left, x2: right, y1: py(each.value), y2: py(each.value) }));
  }
  for (const alert of chart.alerts) {
    const x = px(alert.at);
    const mark = svg("g", { class: `mark ${alert.level}${alert.own ? " own" : ""}` },
      svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: MARGIN.top + inner.h }),
      svg("path", { d: `M${x - 4} ${MARGIN.top - 6}h8l-4 7z` }));
    mark.append(svg("title", {}, `${alert.title}: alert, ${LEVELS[alert.level]}`));
    plot.append(mark);
  }
  for (const { run, values, errors, lows } of chart.series) {
    plot.append(...bandOf({ run, values, errors, lows }, px, (v) => py(Math.min(Math.max(v, low), high))));
    const there = values.map((v, at) => (known(v) ? at : -1)).filter((at) => at >= 0);
    const points = there.map((at) => `${px(at).toFixed(1)} ${py(values[at]).toFixed(1)}`);
    if (points.length > 1) plot.append(svg("path", { class: `line run-${run}`, d: `M${points.join("L")}` }));
    if (points.length < 26) {
      there.forEach((at) => plot.append(svg("circle", { class: `dot run-${run}`, cx: px(at), cy: py(values[at]), r: 2 })));
    }
  }
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: MARGIN.top + inner.h });
  const rings = chart.series.map(({ run }) => svg("circle", { class: `ring run-${run}`, r: 4 }));
  plot.append(cursor, ...rings);

  const readings = chart.series.map(({ run }) => el("span", { class: `reading run-${run}` }));
  const head = el("div", { class: "chart-head" },
    el("h4", {}, chart.title), el("div", { class: "readings" }, ...readings),
    el("p", { class: "quiet" }, chart.note || "\u00a0"));
  const legend = el("p", { class: "legend" }, ...chart.baselines.map((each) =>
    el("span", {}, swatch(`base ${each.name} run-${each.run}`), `${each.word} ${number(each.value, metric.percent)}`)));
  box.replaceChildren(head, plot, legend);

  const show = (at) => {
    cursor.setAttribute("x1", px(at));
    cursor.setAttribute("x2", px(at));
    chart.series.forEach(({ values }, i) => {
      const there = known(values[at]);
      const latest = there ? at : values.reduce((a, v, j) => (known(v) && j < at ? j : a), -1);
      const when = there || latest < 0 ? "" : ` at ${axis.xs[latest]}`; // not every evaluation asks
      readings[i].textContent = number(values[latest], metric.percent) + when;
      readings[i].classList.toggle("stale", !there);
      rings[i].setAttribute("visibility", there ? "visible" : "hidden");
      if (there) {
        rings[i].setAttribute("cx", px(at));
        rings[i].setAttribute("cy", py(values[at]));
      }
    });
  };
  const nearest = (event) => {
    const frame = plot.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * width;
    return axis.xs.reduce((best, _, at) => (Math.abs(px(at) - x) < Math.abs(px(best) - x) ? at : best), 0);
  };
  plot.addEventListener("pointermove", (event) => cursors.forEach((each) => each(nearest(event))));
  plot.addEventListener("pointerleave", () => cursors.forEach((each) => each(state.at)));
  plot.addEventListener("click", (event) => moveTo(nearest(event)));
  show(state.at);
  return show;
}

const swatch = (kind) =>
  svg("svg", { class: "swatch", viewBox: "0 0 22 8", width: 22, height: 8, "aria-hidden": "true" },
    svg("line", { class: kind, x1: 0, x2: 22, y1: 4, y2: 4 }));

function ariaLabel(chart) {
  const parts = chart.series.map(({ run, values }) => {
    const there = values.filter(known);
    if (!there.length) return "";
    const who = several ? `${data.runs[run].name}: ` : "";
    return `${who}from ${number(there[0], chart.metric.percent)} to ${number(there[there.length - 1], chart.metric.percent)}`;
  });
  return `${chart.title} over the evaluations. ${parts.filter(Boolean).join("; ")}`;
}

// --- the list of charts -------------------------------------------------------------------------

// Return the values of a run's metric by slider position, null where it has none.
function seriesOf(run, name) {
  const probe = probes()[run];
  const values = probe && probe.metrics[name];
  if (!values || !values.some(known)) return null;
  return axis.xs.map((x) => {
    const evaluation = axis.own[run].indexOf(x);
    return evaluation < 0 ? null : values[evaluation];
  });
}

function chartOf(metric) {
  const plain = metric.moves ? `${metric.name}_${state.reference}` : metric.name;
  const series = [];
  const baselines = [];
  const alerts = [];
  probes().forEach((probe, run) => {
    if (!probe || !probe.maps.length) return;
    const { suffix } = mapOf(probe);
    const name = `${plain}${suffix}` in probe.metrics ? `${plain}${suffix}` : plain;
    const values = seriesOf(run, name);
    if (!values) return;
    const [errors, lows] = ["se", "low"].map((key) =>
      metric.uncertain.includes(key) ? seriesOf(run, `${name}_${key}`) : null);
    series.push({ run, values, errors, lows });
    if (name === plain) {
      for (const [key, word] of BASELINES) {
        const value = mean(probe.metrics[`${plain}_${key}`] || []);
        const same = baselines.find((b) => b.name === key && Math.abs(b.value - value) < 1e-6);
        if (same) same.run = "all";
        else if (known(value)) baselines.push({ run, name: key, word, value });
      }
    }
    for (const alert of probe.alerts) {
      const at = axis.xs.indexOf(axis.own[run][alert.evaluation]);
      alerts.push({ ...alert, run, at, own: alert.metric === name || alert.metric === `${name}_low` });
    }
  });
  if (!series.length) return null;
  alerts.sort((a, b) => a.own - b.own);
  return { title: metric.title, note: metric.description, metric, series, baselines, alerts };
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

function makeCharts() {
  const closed = new Set([...document.querySelectorAll("#charts details:not([open])")].map((d) => d.dataset.key));
  const groups = [...data.groups, { key: "more", title: "More", metrics: others() }];
  let moving = false;
  cursors = [];
  const nodes = [];
  const drawn = [];
  for (const group of groups) {
    const charts = group.metrics.map(chartOf).filter(Boolean);
    if (!charts.length) continue;
    moving = moving || group.key === "movement";
    const boxes = charts.map(() => el("div", { class: "chart" }));
    const node = el("details", { "data-key": group.key, open: !closed.has(group.key) },
      el("summary", {}, el("h3", {}, group.title)), el("div", { class: "chart-grid" }, ...boxes));
    nodes.push(node);
    drawn.push(...charts.map((chart, i) => [boxes[i], chart]));
    node.addEventListener("toggle", () => node.open && redraw(charts.map((chart, i) => [boxes[i], chart])));
  }
  byId("charts").replaceChildren(...nodes);
  byId("reference-choice").hidden = !moving;
  redraw(drawn);
  makeKey();
}

function redraw(pairs) {
  for (const [box, chart] of pairs) {
    if (!box.clientWidth) continue; // in a closed group
    box.replaceChildren();
    const show = drawChart(box, chart);
    if (box.show) cursors = cursors.filter((each) => each !== box.show);
    box.show = show;
    cursors.push(show);
  }
}

function makeKey() {
  const parts = [];
  if (several) data.runs.forEach((run, i) => parts.push(el("span", {}, swatch(`line run-${i}`), run.name)));
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
