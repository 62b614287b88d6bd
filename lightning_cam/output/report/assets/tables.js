// Tables of classes and of the worst samples at the selected evaluation, from per-image values.

const COLUMNS = ["enrichment", "relevance_mass", "pointing_game", "label_confidence", "jsd_previous", "mean_activation"];
const MOST_COMPARED = 4; // runs whose worst samples are listed; of more the samples are ordered
const order = { column: 0, up: true };

function classRows(probe, evaluation) {
  const answers = probe.answers[evaluation];
  const groups = new Map();
  answers.row.forEach((_, n) => {
    const label = answers.label[n] >= 0 ? answers.label[n] : answers.cls[n];
    if (!groups.has(label)) groups.set(label, []);
    groups.get(label).push(n);
  });
  return [...groups].map(([label, members]) => {
    const judged = members.filter((n) => answers.label[n] >= 0 && (answers.pred[n] >= 0 || probe.multi));
    const right = judged.filter((n) => answers.pred[n] === answers.label[n]).length;
    const values = columnsOf(probe).map(({ name }) => mean(members.map((n) => valueOf(probe, name, evaluation, n))));
    const trend = columnsOf(probe)[0] ? trendOf(probe, columnsOf(probe)[0].name, label) : [];
    return { name: label >= 0 ? nameOf(probe, label) : "?", cells: [members.length, judged.length ? right / judged.length : null, ...values], trend };
  });
}

const columnsOf = (probe) => COLUMNS.filter((name) => probe.perImage[name]).map((name) => ({ ...metricOf(name), name }));

function trendOf(probe, name, label) {
  return probe.answers.map((answers, evaluation) =>
    mean(answers.row.map((_, n) => {
      const own = answers.label[n] >= 0 ? answers.label[n] : answers.cls[n];
      return own === label ? valueOf(probe, name, evaluation, n) : null;
    })));
}

// A line chart without axes, from 0 up; the thin line is the value of an even map.
function sparkline(run, values, even, evaluation) {
  const top = Math.max(even ? 2 * even : 0, ...values.filter(known), 1e-9);
  const there = values.map((v, i) => [v, i]).filter(([v]) => known(v));
  const x = (i) => 2 + (values.length > 1 ? (i / (values.length - 1)) * 76 : 38);
  const y = (v) => 18 - (v / top) * 16;
  const plot = svg("svg", { class: "spark", viewBox: "0 0 80 20", width: 80, height: 20, "aria-hidden": "true" });
  if (known(even) && even <= top) plot.append(svg("line", { class: "even", x1: 0, x2: 80, y1: y(even), y2: y(even) }));
  if (there.length > 1) plot.append(svg("path", { class: `line run-${colourOf(run)}`, d: `M${there.map(([v, i]) => `${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}` }));
  if (known(values[evaluation])) plot.append(svg("circle", { class: `dot run-${colourOf(run)}`, cx: x(evaluation), cy: y(values[evaluation]), r: 2.5 }));
  return plot;
}

function makeClasses() {
  const tables = probes().map((probe, run) => {
    const evaluation = evaluationOf(run);
    if (!probe || evaluation < 0) return null;
    const columns = columnsOf(probe);
    const rows = classRows(probe, evaluation);
    const key = (row) => (order.column < 0 ? row.name : row.cells[order.column]);
    if (sorted) rows.sort((a, b) => compare(key(a), key(b)) * (order.up ? 1 : -1));
    const titles = ["Images", "Right", ...columns.map(({ title }) => title)];
    const heads = [["Class", -1], ...titles.map((title, i) => [title, i])].map(([title, i]) => {
      const button = el("button", { type: "button", "data-column": i }, title);
      button.addEventListener("click", () => sortBy(i));
      const now = sorted && order.column === i ? (order.up ? "ascending" : "descending") : "none";
      return el("th", { scope: "col", "aria-sort": now }, button);
    });
    const even = columns[0] && columns[0].name === "enrichment" ? columns[0].even : null;
    const shares = [false, true, ...columns.map(({ percent }) => percent)];
    const body = rows.map((row) =>
      el("tr", {}, el("th", { scope: "row", title: row.name }, row.name),
        ...row.cells.map((value, i) => el("td", { class: i === 2 && even && known(value) && value < even ? "low" : null }, i ? number(value, shares[i]) : String(value))),
        el("td", {}, sparkline(run, row.trend, even, evaluation))));
    const trend = columns[0] ? `${columns[0].title} over time` : "";
    return el("div", { class: "column" }, several() ? ofRun(run) : null,
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": several() ? `Classes of ${data.runs[run].name}` : "Classes" },
        el("table", {}, el("thead", {}, el("tr", {}, ...heads, el("th", { scope: "col" }, trend))), el("tbody", {}, ...body))));
  });
  const box = byId("class-tables");
  const buttons = () => [...box.querySelectorAll("thead button")];
  const focused = buttons().indexOf(document.activeElement);
  box.replaceChildren(...tables.filter(Boolean));
  if (focused >= 0 && buttons()[focused]) buttons()[focused].focus({ preventScroll: true });
}

let sorted = false;

function compare(a, b) {
  if (!known(a) || !known(b)) return known(b) - known(a);
  return typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

function sortBy(column) {
  order.up = sorted && order.column === column ? !order.up : true;
  order.column = column;
  sorted = true;
  makeClasses();
}

// --- worst samples --------------------------------------------------------------------------------

function worstOf(probe, evaluation, name, least) {
  const values = (probe.perImage[name] || [])[evaluation] || [];
  const ranked = values.map((value, n) => ({ value, n })).filter((each) => known(each.value));
  ranked.sort((a, b) => (least ? a.value - b.value : b.value - a.value));
  return ranked.slice(0, several() ? 4 : 6);
}

const WORST = [
  ["enrichment", true, "Least attention on the object"],
  ["jsd_previous", false, "Largest change since the previous evaluation"],
];

function makeWorst() {
  byId("worst").hidden = shownRuns().length > MOST_COMPARED;
  if (byId("worst").hidden) return;
  const lists = WORST.map(([name, least, title]) => {
    const columns = probes().map((probe, run) => {
      const evaluation = evaluationOf(run);
      if (!probe || evaluation < 0 || (name === "jsd_previous" && evaluation === 0)) return null;
      const worst = worstOf(probe, evaluation, name, least);
      if (!worst.length) return null;
      return el("div", { class: "column" }, several() ? ofRun(run) : null,
        el("ul", { class: "grid small" }, ...worst.map((each) => worstTile(probe, run, evaluation, each, name))));
    }).filter(Boolean);
    if (!columns.length) return null;
    return el("div", {}, el("h3", {}, title), el("div", { class: "columns" }, ...columns));
  }).filter(Boolean);
  byId("worst-lists").replaceChildren(...lists);
  if (!lists.length) byId("worst-lists").append(el("p", { class: "quiet" }, "Nothing to rank at this evaluation."));
}

function worstTile(probe, run, evaluation, { value, n }, name) {
  const answers = probe.answers[evaluation];
  const row = answers.row[n];
  const place = answers.row.slice(0, n).filter((each) => each === row).length;
  const item = { row, place };
  const reading = readingOf(probe, evaluation, item);
  const figure = el("span", { class: "figure" }, `${metricOf(name).title.toLowerCase()} ${number(value)}`);
  const id = el("span", { class: "id", title: probe.ids[row] }, probe.ids[row]);
  if (!reading || row >= probe.images.length) {
    return el("li", {}, el("div", { class: "item gone" }, "not drawn"), figure, id);
  }
  const box = picture(probe, row, 128);
  const text = predictionText(probe, reading);
  const open = el("button", { type: "button", class: "open", "aria-label": `Enlarge ${probe.ids[row]}` }, box,
    el("div", { class: "caption" }, el("div", {}, el("span", { class: "label" }, labelOf(probe, reading)), el("span", { class: `prediction${text.wrong ? " wrong" : ""}` }, text.text)), figure));
  open.addEventListener("click", () => openLarge(tiles.find((tile) => {
    const own = tile.sample.items[run];
    return own && own.row === row && own.place === place;
  })));
  showHeat(box, probe, evaluation, item, reading);
  return el("li", {}, open, id);
}
