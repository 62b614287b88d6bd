// What each control does, and which parts are drawn again.

let playing = null;

function showAll() {
  byId("time").value = state.at;
  byId("time").setAttribute("aria-valuetext", timeText(state.at));
  byId("now").textContent = timeText(state.at);
  document.querySelectorAll(".note.at").forEach((each) => {
    const first = probes().some((p) => p && p.maps.length > 1) ? ", first map" : "";
    each.textContent = `at ${timeText(state.at)}${first}`;
  });
  showGrid();
  cursors.forEach((show) => show(state.at));
  makeClasses();
  makeWorst();
  showLarge();
}

// The colours changed, the evaluation did not.
function showHeats() {
  showGrid();
  makeWorst();
  showLarge();
}

function moveTo(at) {
  const next = Math.max(0, Math.min(axis.xs.length - 1, at));
  if (next === state.at) return;
  state.at = next;
  showAll();
}

function start() {
  makeAxis();
  const slider = byId("time");
  slider.max = Math.max(0, axis.xs.length - 1);
  slider.disabled = byId("play").disabled = axis.xs.length < 2;
  state.at = Math.max(0, axis.xs.length - 1);
  fillMaps();
  byId("outline-choice").hidden = !probes().some((p) => p && p.outlines);
  fillReferences();
  makeGrid();
  makeCharts();
  showAll();
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) =>
    el("option", { value, selected: String(value) === String(chosen) }, text)));
}

function fillMaps() {
  const probe = probes().reduce((a, b) => (b && (!a || b.maps.length > a.maps.length) ? b : a), null);
  const maps = probe ? probe.maps : [];
  state.map = Math.min(state.map, Math.max(0, maps.length - 1));
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

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const target = event.target;
  if (target.matches("select, input, summary, .scroll")) return; // they know arrows of their own
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -axis.xs.length, End: axis.xs.length };
  if (!(event.key in steps)) return;
  event.preventDefault();
  moveTo(state.at + steps[event.key]);
}

function listen() {
  const on = (id, kind, action) => byId(id).addEventListener(kind, (event) => action(event.target));
  on("time", "input", (slider) => moveTo(Number(slider.value)));
  on("play", "click", play);
  on("probe", "change", (select) => { state.probe = Number(select.value); start(); });
  on("map", "change", (select) => { state.map = Number(select.value); makeCharts(); showAll(); });
  on("reference", "change", (select) => { state.reference = select.value; makeCharts(); });
  on("colormap", "change", (select) => { state.colormap = select.value; showHeats(); });
  on("scale", "change", (select) => { state.scale = select.value; showHeats(); });
  on("opacity", "input", (slider) => { state.opacity = Number(slider.value); showHeats(); });
  on("outline", "change", (box) => document.body.classList.toggle("bare", !box.checked));
  on("close", "click", () => byId("large").close());
  on("before", "click", () => openLarge(opened - 1));
  on("after", "click", () => openLarge(opened + 1));
  byId("large").addEventListener("click", (event) => event.target === byId("large") && byId("large").close());
  document.addEventListener("keydown", onKey);
  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => { makeCharts(); showLarge(); }, 150);
  });
}

document.documentElement.classList.add("scripted");
byId("all-numbers").open = false; // open for those without scripts
byId("opacity").value = state.opacity;
options(byId("probe"), tags.map((tag, i) => [i, tag]), 0);
byId("probe-choice").hidden = tags.length < 2;
options(byId("colormap"), Object.keys(data.colormaps).map((name) => [name, name]), state.colormap);
listen();
start();
