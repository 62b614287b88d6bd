// What each control does, and which parts are drawn again.

let playing = null;
let waitingForData = () => false; // whether more of the records is on its way
let askSoon = () => {}; // ask the server, where there is one

function showAll() {
  dropWishes();
  byId("time").value = state.at;
  byId("time").setAttribute("aria-valuetext", timeText(state.at));
  byId("now").textContent = timeText(state.at);
  document.querySelectorAll(".note.at").forEach((each) => {
    const first = probes().some((p) => p && p.maps.length > 1) ? ", first map" : "";
    each.textContent = `at ${timeText(state.at)}${first}`;
  });
  showGrid();
  moveCursors(state.at);
  whenNearOrLater(byId("classes"), makeClasses);
  whenNearOrLater(byId("worst"), makeWorst);
  showLarge();
  noteLink();
}

function moveTo(at) {
  const next = Math.max(0, Math.min(axis.xs.length - 1, at));
  if (next === state.at) return;
  state.at = next;
  state.follow = next === axis.xs.length - 1;
  wantedAt = null;
  showAll();
}

// Return what the grid of samples is made of: as long as it is the same, tiles are kept.
const layoutOf = () =>
  JSON.stringify([state.probe, [...state.shown], probes().map((p) => p && [p.generation, p.fingerprint, Math.max(0, ...p.answers.map((each) => each.drawn.length))])]);

let madeOf = "";

// Make the page from the data, after another choice of probe or runs.
function start() {
  const x = axis.xs[state.at];
  makeScale(x);
  madeOf = layoutOf();
  fillMaps();
  fillReferences();
  makeGrid();
  fillFilters();
  makeCharts();
  followLink();
  showAll();
  if (byId("large").open) reopen();
}

// Set the slider to the evaluations of the shown runs; it stays where it was, or at the newest.
function makeScale(x) {
  selectProbes();
  makeAxis();
  const last = Math.max(0, axis.xs.length - 1);
  const slider = byId("time");
  slider.max = last;
  slider.disabled = byId("play").disabled = axis.xs.length < 2;
  state.at = state.follow ? last : axis.xs.reduce((found, each, i) => (each <= x ? i : found), 0);
  options(byId("probe"), tags.map((tag, i) => [i, tag]), state.probe);
  byId("probe-choice").hidden = tags.length < 2;
  byId("outline-choice").hidden = !probes().some((p) => p && p.outlines);
  const shown = shownRuns().length;
  document.body.className = document.body.className.replace(/\w+-runs?\b/, data.runs.length < 2 ? "one-run" : data.runs.length < 3 ? "two-runs" : "many-runs");
  byId("runs-title").parentNode.hidden = data.runs.length < 3;
  byId("runs-title").textContent = `${shown} of ${data.runs.length} runs shown`;
  document.querySelectorAll("[data-choose]").forEach((box) => { box.checked = state.shown.has(box.dataset.choose); });
  for (const node of document.querySelectorAll("main [data-run]")) node.hidden = !state.shown.has(node.dataset.run);
}

// Draw the opened sample again from new data.
function reopen() {
  const { id, items } = opened.sample;
  const place = (items.find(Boolean) || { place: 0 }).place;
  const tile = tiles.find(({ sample }) => sample.id === id && sample.items.some((item) => item && item.place === place));
  if (!tile) return byId("large").close();
  const focused = byId("large-body").contains(document.activeElement);
  opened = tile;
  makeLarge();
  showLarge();
  fillLarge();
  const current = focused && byId("large-body").querySelector("[aria-current=true]");
  if (current) current.focus({ preventScroll: true });
}

function options(select, pairs, chosen) {
  const wanted = JSON.stringify(pairs);
  if (select.filled !== wanted) { // an open list stays open where nothing changed
    select.filled = wanted;
    select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  }
  select.value = String(chosen);
}

function fillMaps() {
  const probe = probes().reduce((a, b) => (b && (!a || b.maps.length > a.maps.length) ? b : a), null);
  const maps = probe ? probe.maps : [];
  if (!waitingForData()) state.map = Math.min(state.map, Math.max(0, maps.length - 1));
  options(byId("map"), maps.map((m, i) => [i, `${m.method} at ${m.layer}`]), state.map);
  byId("map-choice").hidden = maps.length < 2;
}

function fillReferences() {
  const stems = data.groups.flatMap((g) => g.metrics.filter((m) => m.moves).map((m) => m.name));
  const there = Object.entries(data.references).filter(([r]) =>
    probes().some((p) => p && stems.some((stem) => `${stem}_${r}` in p.metrics)));
  options(byId("reference"), there, state.reference);
}

function play() {
  const on = playing === null;
  clearInterval(playing);
  playing = null;
  if (on) {
    if (state.at === axis.xs.length - 1) moveTo(0);
    playing = setInterval(() => (state.at < axis.xs.length - 1 ? moveTo(state.at + 1) : play()), 600);
  }
  byId("play").classList.toggle("on", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play the epochs");
}

function showRuns(keys) {
  if (!keys.length) return start(); // one is always shown
  state.shown = new Set(keys);
  start();
  askSoon();
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const target = event.target;
  if (target.matches("select, input:not([type=checkbox]), summary, .scroll")) return; // they know arrows of their own
  const besides = { PageUp: -1, PageDown: 1 };
  const among = { ArrowUp: -1, ArrowDown: 1 };
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -axis.xs.length, End: axis.xs.length };
  if (event.key in steps) moveTo(state.at + steps[event.key]);
  else if (event.key in besides && byId("large").open) openBeside(besides[event.key]);
  else if (event.key in among && target.matches("#grid .open")) focusBeside(target, among[event.key]);
  else return;
  event.preventDefault();
}

function focusBeside(button, steps) {
  const next = arranged[arranged.findIndex((tile) => tile.open === button) + steps];
  if (next) next.open.focus();
}

function listen() {
  const on = (id, kind, action) => byId(id).addEventListener(kind, (event) => action(event.target));
  on("time", "input", (slider) => moveTo(Number(slider.value)));
  on("play", "click", play);
  on("probe", "change", (select) => { state.probe = Number(select.value); state.follow = true; start(); });
  on("map", "change", (select) => { state.map = Number(select.value); makeCharts(); showAll(); });
  on("reference", "change", (select) => { state.reference = select.value; makeCharts(); noteLink(); });
  on("colormap", "change", (select) => { state.colormap = select.value; showHeats(); noteLink(); });
  on("scale", "change", (select) => { state.scale = select.value; showAll(); });
  on("opacity", "input", (slider) => { state.opacity = Number(slider.value); showHeats(); });
  on("outline", "change", (box) => document.body.classList.toggle("bare", !box.checked));
  on("class", "change", (select) => { state.name = select.value; showAll(); });
  on("answer", "change", (select) => { state.answer = select.value; showAll(); });
  on("order", "change", (select) => { state.order = select.value; showAll(); });
  on("run-list", "change", () => showRuns([...document.querySelectorAll("[data-choose]:checked")].map((box) => box.dataset.choose)));
  on("all-runs", "click", () => showRuns(data.runs.map((run) => run.key)));
  on("no-runs", "click", () => showRuns(data.runs.slice(0, 1).map((run) => run.key)));
  on("close", "click", () => byId("large").close());
  on("before", "click", () => openBeside(-1));
  on("after", "click", () => openBeside(1));
  byId("large").addEventListener("click", (event) => event.target === byId("large") && byId("large").close());
  byId("large").addEventListener("close", () => { if (opened) opened.open.focus({ preventScroll: true }); noteLink(); });
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => { state.follow = true; readLink(); showChoices(); start(); askSoon(); });
  let width = window.innerWidth;
  let resizing = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar
    width = window.innerWidth;
    clearTimeout(resizing);
    resizing = setTimeout(() => { makeCharts(); if (byId("large").open) reopen(); }, 150);
  });
}

function showChoices() {
  byId("opacity").value = state.opacity;
  options(byId("colormap"), Object.keys(data.colormaps).map((name) => [name, name]), state.colormap);
  byId("scale").value = state.scale;
}

function begin() {
  document.documentElement.classList.add("scripted");
  byId("all-numbers").open = false; // open for those without scripts
  for (const id of ["classes", "worst"]) nearby.observe(byId(id));
  readLink();
  showChoices();
  listen();
  start();
  askSoon();
}
