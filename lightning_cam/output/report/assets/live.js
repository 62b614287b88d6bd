// The page of a server: what is new in the runs is asked for, and maps when they are looked at.

const EVERY = 1000; // milliseconds between two questions
const MOST_MAPS = 48; // evaluations per question
const AHEAD = 2; // evaluations beside the shown one whose maps are fetched too
let behind = true; // whether the server has more to say at once
let timer = 0;
let asking = false;

async function answerOf(address) {
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

function showConnection(on, text) {
  byId("live").className = `live ${on ? "on" : "off"}`;
  if (byId("live").textContent !== text) byId("live").textContent = text; // read aloud when it changes
}

// --- what is new ----------------------------------------------------------------------------------

async function ask() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const found = new URLSearchParams({ listed: data.runs.length });
    for (const run of shownRuns().map((i) => data.runs[i])) {
      const has = run.probes.map((probe) => `${probe.record}.${probe.generation}.${probe.answers.length}`);
      found.append("run", [run.key, run.version || "", ...has].join(":"));
    }
    takeIn(await answerOf(`news?${found}`));
    showConnection(true, behind ? "reading" : "live");
  } catch (error) {
    showConnection(false, "no connection to the server");
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(ask, behind && byId("live").classList.contains("on") ? 0 : EVERY);
}

function takeIn(news) {
  const listed = (news.listed || []).slice(data.runs.length);
  if (listed.length && byId("no-run")) byId("no-run").remove();
  behind = news.more;
  for (const { key, name } of listed) {
    data.runs.push({ key, name, probes: [] });
    if (data.runs.length <= FIRST_SHOWN) state.shown.add(key);
    behind = true; // ask for what is in them
  }
  for (const { key, probes: found, words, version } of news.runs) {
    const run = data.runs.find((each) => each.key === key);
    if (!run) continue;
    for (const each of found || []) growRun(run, each);
    if (!words) continue;
    run.version = version;
    if (run === data.runs[0]) takeColours(words.colours);
    showWords(run, words);
  }
  if (news.runs.length || listed.length || !started) grow();
}

// Take over the colours of the first run, unless others were chosen.
function takeColours({ colormap, opacity }) {
  if (initial.colormap === colormap && initial.opacity === opacity) return;
  if (state.colormap === initial.colormap) state.colormap = colormap;
  if (state.opacity === initial.opacity) state.opacity = opacity;
  Object.assign(initial, { colormap, opacity });
  showChoices();
}

// Replace what the page says of a run, which the server has written as HTML, with every name escaped.
function showWords(run, words) {
  const places = { head: byId("run-list") };
  document.querySelectorAll("[data-part]").forEach((node) => { places[node.dataset.part] = node; });
  for (const [name, place] of Object.entries(places)) {
    const parsed = new DOMParser().parseFromString(words[name], "text/html").body.firstElementChild;
    const before = [...place.children].find((node) => node.dataset.run === run.key);
    const focused = before && before.contains(document.activeElement);
    if (before) before.replaceWith(parsed);
    else place.append(parsed);
    const box = focused && parsed.querySelector("input");
    if (box) box.focus({ preventScroll: true });
  }
}

// --- growing columns ------------------------------------------------------------------------------

function growRun(run, { record, generation, from, facts, parts }) {
  let probe = run.probes.find((each) => each.record === record);
  if (facts) {
    run.probes = run.probes.filter((each) => each !== probe);
    probe = { ...facts, record, generation, run: run.key, names: {}, epochs: [], steps: [], maps: [], answers: [], metrics: {}, perImage: {}, alerts: [] };
    run.probes.push(probe);
    run.probes.sort((a, b) => (a.tag < b.tag ? -1 : 1));
  }
  if (!probe || probe.answers.length !== from) return;
  probe.generation = generation;
  for (const part of parts) growProbe(probe, part);
}

// Add one evaluation; what it does not have, or others did not, is null.
function growProbe(probe, part) {
  const at = probe.answers.length;
  const growColumn = (column, value) => {
    while (column.length < at) column.push(null);
    column.push(value);
  };
  for (const name of ["epochs", "steps", "answers"]) probe[name].push(...part[name]);
  Object.assign(probe.names, part.names);
  probe.alerts.push(...part.alerts.map((alert) => ({ ...alert, evaluation: at })));
  for (const [name, [value]] of Object.entries(part.metrics)) growColumn((probe.metrics[name] = probe.metrics[name] || []), value);
  for (const [name, [values]] of Object.entries(part.perImage)) growColumn((probe.perImage[name] = probe.perImage[name] || []), values);
  for (const { method, layer, shape, peak } of part.maps) {
    let map = probe.maps.find((each) => each.method === method && each.layer === layer);
    if (!map) {
      map = { method, layer, suffix: probe.maps.length ? `/${method}@${layer}` : "", shape: [], peak: [], cells: [] };
      probe.maps.push(map);
    }
    growColumn(map.shape, shape[0]);
    growColumn(map.peak, peak[0]);
  }
  for (const column of [...Object.values(probe.metrics), ...Object.values(probe.perImage)]) if (column.length <= at) growColumn(column, null);
  const gaps = data.groups.find((group) => group.key === "gap");
  for (const chart of part.gaps) if (gaps && !gaps.metrics.some(({ name }) => name === chart.name)) gaps.metrics.push(chart);
}

let started = false;

// Show what was added; what the viewer looks at stays where it is.
function grow() {
  started = true;
  makeScale(axis.xs[state.at]);
  if (layoutOf() !== madeOf || !tiles.length) return start();
  fillMaps();
  fillReferences();
  fillFilters();
  makeCharts();
  followLink();
  showAll();
  if (byId("large").open) reopen();
}

// --- maps -----------------------------------------------------------------------------------------

const wantedMaps = new Map(); // by name what is looked at and is not here
let fetching = false;

dropWishes = () => wantedMaps.clear(); // what is still looked at is wished for again

fetchMaps = (probe, evaluation) => {
  if (!probe.generation) return;
  const name = `${probe.run}:${probe.record}.${probe.generation}.${evaluation}`;
  wantedMaps.set(name, { probe, evaluation });
  if (!fetching) {
    fetching = true;
    queueMicrotask(fetchWanted); // all that one change of the page asks for, at once
  }
};

async function fetchWanted() {
  fetching = wantedMaps.size > 0;
  if (!fetching) return;
  const wanted = [...wantedMaps].slice(0, MOST_MAPS);
  wanted.forEach(([name]) => wantedMaps.delete(name));
  try {
    const found = await answerOf(`maps?${wanted.map(([name]) => `of=${name}`).join("&")}`);
    wanted.forEach(([, { probe, evaluation }], i) => keepMaps(probe, evaluation, found[i]));
  } catch (error) {
    showConnection(false, "no connection to the server");
    wantedMaps.clear();
    fetching = false;
    return; // the next change of the page asks again
  }
  fetching = false;
  showHeats(); // asks for what is missing still
  if (!fetching) lookAhead();
}

// A map that the server does not have any more is flat.
function keepMaps(probe, evaluation, found) {
  for (const map of probe.maps) {
    const own = (found || []).find(([method, layer]) => method === map.method && layer === map.layer);
    if (own) map.cells[evaluation] = own[2];
    else map.shape[evaluation] = null;
  }
}

// Fetch the maps of the evaluations beside the shown one: the slider will go there next.
function lookAhead() {
  const beside = [...Array(AHEAD).keys()].flatMap((i) => [state.at + i + 1, state.at - i - 1]);
  probes().forEach((probe, run) => {
    if (!probe || !probe.maps.length) return;
    for (const at of beside) {
      const evaluation = at >= 0 && at < axis.xs.length ? axis.exact[run][at] : -1;
      if (evaluation >= 0 && mapOf(probe).shape[evaluation] && !known(mapOf(probe).cells[evaluation])) fetchMaps(probe, evaluation);
    }
  });
}

waitingForData = () => behind || data.runs.some((run) => state.shown.has(run.key) && !run.probes.length);
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
askSoon = () => { behind = true; ask(); };
