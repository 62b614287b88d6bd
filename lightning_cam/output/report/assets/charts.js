// Charts as SVG: one per metric, with dashed baselines and a vertical line per alert.

const MARGIN = { left: 38, right: 10, top: 8, bottom: 20 };
const BASELINES = [["random", "random"], ["center", "centre"], ["untrained", "untrained"]];
const LEVELS = { confirmed: "confirmed", saliency: "saliency only", contradicted: "contradicted" };

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
    if (at.length > 1) found.push(svg("path", { class: `band run-${colourOf(run)}`, d: `M${[...edge(1), ...edge(-1).reverse()].join("L")}Z` }));
  }
  if (lows) {
    const points = lows.map((v, i) => (known(v) ? `${px(i).toFixed(1)} ${py(v).toFixed(1)}` : "")).filter(Boolean);
    if (points.length > 1) found.push(svg("path", { class: `line bound run-${colourOf(run)}`, d: `M${points.join("L")}` }));
  }
  return found;
}

// Draw a chart; return a function that shows the values at a position of the slider.
// chart: title, note, metric, series [{run, values}], baselines [{colour, name, text, value}],
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
    plot.append(svg("line", { class: `base ${each.name} ${each.colour}`, x1: MARGIN.left, x2: right, y1: py(each.value), y2: py(each.value) }));
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
    if (points.length > 1) plot.append(svg("path", { class: `line run-${colourOf(run)}`, d: `M${points.join("L")}` }));
    if (points.length < 26) {
      there.forEach((at) => plot.append(svg("circle", { class: `dot run-${colourOf(run)}`, cx: px(at), cy: py(values[at]), r: 2 })));
    }
  }
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: MARGIN.top + inner.h });
  const rings = chart.series.map(({ run }) => svg("circle", { class: `ring run-${colourOf(run)}`, r: 4 }));
  plot.append(cursor, ...rings);

  const many = shownRuns().length > 2; // a number of each run beside its value
  const texts = chart.series.map(() => document.createTextNode(""));
  const readings = chart.series.map(({ run }, i) =>
    el("span", { class: `reading run-${colourOf(run)}`, title: several() ? data.runs[run].name : null },
      many ? chipOf(run) : null, texts[i]));
  const values = el("div", { class: "readings" }, ...readings);
  const head = el("div", { class: "chart-head" },
    el("h4", {}, chart.title), many ? null : values, el("p", { class: "quiet" }, chart.note || "\u00a0"));
  const legend = el("p", { class: "legend" }, ...chart.baselines.map((each) =>
    el("span", {}, swatch(`base ${each.name} ${each.colour}`), each.text)));
  box.replaceChildren(head, plot, ...(many ? [values] : []), legend);

  const show = (at) => {
    cursor.setAttribute("x1", px(at));
    cursor.setAttribute("x2", px(at));
    chart.series.forEach(({ values }, i) => {
      const there = known(values[at]);
      const latest = there ? at : values.reduce((a, v, j) => (known(v) && j < at ? j : a), -1);
      const when = there || latest < 0 ? "" : ` at ${axis.xs[latest]}`; // not every evaluation asks
      texts[i].data = number(values[latest], metric.percent) + when;
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
  plot.addEventListener("pointermove", (event) => moveCursors(nearest(event)));
  plot.addEventListener("pointerleave", () => moveCursors(state.at));
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
    const who = several() ? `${data.runs[run].name}: ` : "";
    return `${who}from ${number(there[0], chart.metric.percent)} to ${number(there[there.length - 1], chart.metric.percent)}`;
  });
  return `${chart.title} over the evaluations. ${parts.filter(Boolean).join("; ")}`;
}
