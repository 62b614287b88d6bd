// The large view of one sample: its maps in all shown runs, its curves, and its whole history.

const MOST_FRAMES = 200; // of a history; of more evaluations evenly spaced ones are shown
const FRAME = 72;
let opened = null; // the tile
let largeItems = [];
let largeBoxes = []; // charts of the large view
let largeFilled = false; // whether charts and numbers are there

const largeSide = (runs) => (runs > 4 ? 192 : runs > 1 ? 320 : 512);

function openLarge(tile) {
  opened = tile;
  makeLarge();
  if (!byId("large").open) byId("large").showModal();
  showLarge();
  noteLink();
  // Maps first: the charts of many runs take longer than all the rest.
  const body = byId("large-body").firstChild;
  requestAnimationFrame(() => setTimeout(() => body.isConnected && fillLarge(), 0));
}

// Open the sample beside the opened one, among those that the filters leave.
function openBeside(steps) {
  const list = arranged && arranged.length ? arranged : tiles;
  const at = list.indexOf(opened);
  openLarge(list[(at + steps + list.length) % list.length]);
}

function makeLarge() {
  const { sample } = opened;
  const runs = shownRuns();
  byId("large-title").textContent = sample.id;
  largeItems = [];
  const columns = runs.map((run) => {
    const probe = probes()[run];
    const item = sample.items[run];
    const title = several() ? ofRun(run) : null;
    if (!probe || !item || item.row >= probe.images.length) return el("div", { class: "column" }, title, el("div", { class: "gone" }, "not in this run"));
    const box = picture(probe, item.row, largeSide(runs.length));
    const facts = el("dl", { class: "pairs" });
    largeItems.push({ probe, run, item, box, facts, strip: filmStrip(probe, run, item) });
    return el("div", { class: "column" }, title, box, facts);
  });
  const strips = largeItems.map(({ run, strip }) => el("div", {}, several() ? ofRun(run) : null, strip.node));
  largeBoxes.forEach((box) => nearby.unobserve(box));
  largeBoxes = [];
  largeFilled = false;
  byId("large-body").className = runs.length > 1 ? "several" : "one";
  byId("large-body").replaceChildren(
    el("div", { class: "large-runs" }, ...columns),
    el("div", { class: "history", role: "group", "aria-label": "History" }, ...strips),
    el("div", { class: "small-charts" }),
    el("div", { class: "large-numbers scroll", tabindex: 0, role: "region", "aria-label": "Numbers", hidden: runs.length < 2 }, el("table", { id: "large-table" })),
  );
  largeItems.forEach(({ strip }) => nearby.observe(strip.node));
}

// Add the charts and the numbers.
function fillLarge() {
  largeFilled = true;
  byId("large-body").querySelector(".small-charts").replaceChildren(...largeCharts());
  showLargeCharts();
  showLargeNumbers();
}

// The runs' values of this sample, one chart per metric.
function largeCharts() {
  for (const name of ["enrichment", "label_confidence", "mean_activation", "jsd_previous"]) {
    const series = largeItems.map(({ probe, run, item }) => {
      if (!probe.perImage[name]) return null;
      const values = axis.exact[run].map((evaluation) => {
        const reading = readingOf(probe, evaluation, item);
        return reading ? valueOf(probe, name, evaluation, reading.n) : null;
      });
      return values.some(known) ? { run, values } : null;
    }).filter(Boolean);
    if (!series.length) continue;
    const metric = { ...metricOf(name), low: 0, high: null };
    const box = el("div", { class: "chart" });
    box.chart = { title: metric.title, note: "this image", metric, series, baselines: [], alerts: [] };
    largeBoxes.push(box);
  }
  return largeBoxes;
}

// One thumbnail per evaluation; each moves the slider. The arrow keys do too, so only one of them is
// a stop of the Tab key. They are made when the strip comes to the screen.
function filmStrip(probe, run, item) {
  const node = el("div", { class: "strip" });
  const strip = { node, frames: [] };
  node.near = false;
  node.stale = () => {
    strip.frames = framesOf(probe, run, item);
    node.replaceChildren(...strip.frames.map((frame) => frame.node));
    for (const frame of strip.frames) {
      frame.node.near = false;
      frame.node.stale = frame.show;
      nearby.observe(frame.node);
    }
    mark(strip);
  };
  node.addEventListener("scroll", () => {
    for (const other of largeItems) if (other.strip.node !== node && other.strip.node.scrollLeft !== node.scrollLeft) other.strip.node.scrollLeft = node.scrollLeft;
  });
  return strip;
}

function framesOf(probe, run, item) {
  const count = axis.xs.length;
  const most = Math.min(MOST_FRAMES, count);
  const places = new Set([...Array(most).keys()].map((i) => (most > 1 ? Math.round((i * (count - 1)) / (most - 1)) : 0)));
  const [w, h] = probe.size;
  const scale = FRAME / Math.max(w, h);
  return [...places].map((at) => {
    const canvas = el("canvas", { width: Math.max(1, Math.round(w * scale)), height: Math.max(1, Math.round(h * scale)), "aria-hidden": "true" });
    const node = el("button", { type: "button", tabindex: -1, "aria-label": `Go to ${timeText(at)}` }, canvas, el("span", {}, String(axis.xs[at])));
    node.addEventListener("click", () => moveTo(at));
    const evaluation = axis.exact[run][at];
    if (evaluation < 0) canvas.classList.add("none");
    return { at, node, show: () => drawFrame(canvas, probe, item, evaluation) };
  });
}

// Draw image and map of a thumbnail on one canvas: a history has hundreds of them.
function drawFrame(canvas, probe, item, evaluation) {
  const look = [state.map, state.colormap, state.scale, state.opacity].join();
  if (canvas.look === look) return; // it does not depend on the slider
  const reading = readingOf(probe, evaluation, item);
  if (!reading) return;
  const map = mapOf(probe);
  const found = cellsOf(probe, map, evaluation, reading.drawn);
  const photo = largeItems.find((each) => each.probe === probe);
  const image = photo && photo.box.querySelector("img");
  if (!image) return;
  if (!image.complete) {
    image.addEventListener("load", () => drawFrame(canvas, probe, item, evaluation), { once: true });
    return;
  }
  const pending = Boolean(found && found.pending);
  canvas.classList.toggle("pending", pending);
  if (!pending) {
    drawHeat(canvas, found, gainOf(probe, map, found, item));
    canvas.look = look;
  }
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "destination-over"; // below the heat
  if (image.naturalWidth) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
}

function showLarge() {
  if (!byId("large").open) return;
  byId("large-now").textContent = timeText(state.at);
  for (const { probe, run, item, box, facts, strip } of largeItems) {
    const evaluation = evaluationOf(run);
    const reading = readingOf(probe, evaluation, item);
    showHeat(box, probe, evaluation, item, reading);
    strip.frames.forEach((frame) => whenNear(frame.node, frame.show));
    mark(strip);
    facts.replaceChildren(...factsOf(probe, evaluation, reading));
  }
  if (!largeFilled) return; // opened just now: they follow
  showLargeCharts();
  showLargeNumbers();
}

function showLargeCharts() {
  for (const box of largeBoxes) {
    if (!box.show && box.clientWidth) box.show = drawChart(box, box.chart);
    if (box.show) box.show(state.at);
  }
}

function showLargeNumbers() {
  if (!several()) return;
  fillNumbers(largeItems.map(({ probe, run, item }) => {
    const evaluation = evaluationOf(run);
    return { run, numbers: numbersOf(probe, evaluation, readingOf(probe, evaluation, item)) };
  }));
}

// Mark the thumbnail of the selected evaluation and bring it into sight.
function mark({ node, frames }) {
  if (!frames.length) return; // not made yet
  const marked = frames.reduce((a, b) => (b.at <= state.at ? b : a), frames[0]);
  for (const frame of frames) {
    if (frame !== marked && frame.node.tabIndex < 0) continue;
    frame.node.setAttribute("aria-current", String(frame === marked));
    frame.node.tabIndex = frame === marked ? 0 : -1;
  }
  const left = marked.node.offsetLeft - node.offsetLeft;
  if (left < node.scrollLeft || left + marked.node.offsetWidth > node.scrollLeft + node.clientWidth) {
    node.scrollLeft = left - node.clientWidth / 2;
  }
}

// Return the values of a sample that metrics of its map have, with their titles.
function numbersOf(probe, evaluation, reading) {
  const metrics = data.groups.filter((group) => group.key === "attention").flatMap((group) => group.metrics);
  return metrics
    .map((metric) => [metric.title, reading ? valueOf(probe, metric.name, evaluation, reading.n) : null])
    .filter(([, value]) => known(value));
}

function factsOf(probe, evaluation, reading) {
  const rows = several() ? [] : [["when", timeText(state.at)]];
  if (reading) {
    const words = predictionText(probe, reading);
    rows.push(["label", labelOf(probe, reading) || "–"]);
    const answer = words.wrong ? ["wrong", words.text] : ["right", words.text];
    rows.push(probe.multi ? ["the label is", words.text] : reading.label < 0 ? ["predicted", words.text] : answer);
    if (!several()) numbersOf(probe, evaluation, reading).forEach(([title, value]) => rows.push([title.toLowerCase(), number(value)]));
  }
  return rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}

// The numbers of several runs: a row per metric, a column per run.
function fillNumbers(found) {
  const titles = [...new Set(found.flatMap(({ numbers }) => numbers.map(([title]) => title)))];
  const heads = found.map(({ run }) => el("th", { scope: "col", class: `run-${colourOf(run)}` }, chipOf(run), data.runs[run].name));
  const rows = titles.map((title) =>
    el("tr", {}, el("th", { scope: "row" }, title), ...found.map(({ numbers }) => el("td", {}, number((numbers.find(([other]) => other === title) || [])[1])))));
  byId("large-table").replaceChildren(el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "This image"), ...heads)), el("tbody", {}, ...rows));
}
