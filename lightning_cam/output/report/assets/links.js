// The address's fragment holds what is selected, so that a link shows the same to others.

const LINKED = ["reference", "colormap", "scale", "answer", "order"]; // of the state, as they are
const initial = { ...state, shown: null };
let noting = 0;
let wantedSample = null; // to open as soon as it is there

function linkOf() {
  const found = new URLSearchParams();
  if (!state.follow && axis.xs.length) found.set("at", axis.xs[state.at]);
  const keys = data.runs.map((run) => run.key);
  const shown = keys.filter((key) => state.shown.has(key));
  if (shown.length < keys.length) found.set("runs", shown.join(","));
  if (state.probe && tags[state.probe]) found.set("probe", tags[state.probe]);
  if (state.map) found.set("map", state.map);
  if (state.name) found.set("class", state.name);
  for (const name of LINKED) if (state[name] !== initial[name]) found.set(name, state[name]);
  if (byId("large").open && opened) found.set("sample", opened.sample.id);
  return found.toString();
}

// Browsers take only so many changes of the address per second.
function noteLink() {
  clearTimeout(noting);
  noting = setTimeout(() => {
    if (wantedSample !== null && !byId("large").open) return; // not there yet: keep the link
    const link = linkOf();
    if (link !== location.hash.slice(1)) history.replaceState(null, "", link ? `#${link}` : location.pathname + location.search);
  }, LATER);
}

// Take over what the address says; what it does not name is as at the start.
function readLink() {
  const text = location.hash.slice(1);
  if (text && !text.includes("=")) return; // a place on the page
  const found = new URLSearchParams(text);
  const keys = (found.get("runs") || "").split(",").filter((key) => data.runs.some((run) => run.key === key));
  if (keys.length) state.shown = new Set(keys);
  for (const name of LINKED) state[name] = found.has(name) ? found.get(name) : initial[name];
  if (!(state.colormap in data.colormaps)) state.colormap = initial.colormap;
  if (!(state.reference in data.references)) state.reference = initial.reference;
  if (!["own", "run"].includes(state.scale)) state.scale = "own";
  if (!ANSWERS.some(([key]) => key === state.answer)) state.answer = "";
  if (!ORDERS.some(([key]) => key === state.order)) state.order = "";
  state.name = found.get("class") || "";
  state.map = Math.max(0, Number.parseInt(found.get("map"), 10) || 0);
  state.probe = Math.max(0, tagsOf().indexOf(found.get("probe")));
  wantedSample = found.get("sample");
  wantedAt = found.has("at") ? Number(found.get("at")) : null;
}

let wantedAt = null;

// Go to the evaluation and the sample that the address names, once they are there.
function followLink() {
  if (wantedAt !== null && axis.xs.length) {
    const at = axis.xs.reduce((found, x, i) => (x <= wantedAt ? i : found), 0);
    const there = axis.xs.includes(wantedAt) || !waitingForData();
    state.at = at;
    state.follow = false;
    if (there) wantedAt = null;
  }
  if (wantedSample !== null) {
    const tile = tiles.find((each) => each.sample.id === wantedSample);
    if (tile || !waitingForData()) wantedSample = null;
    if (tile) openLarge(tile);
  }
}
