// Which samples are shown, and in which order, at the selected evaluation.

const ANSWERS = [["", "all"], ["wrong", "wrong"], ["right", "right"], ["differ", "runs differ"], ["alerts", "named in alerts"]];
const ORDERS = [["", "as in the probe"], ["moved", "moved most"], ["off", "least on the object"]];
const ORDER_BY = { moved: ["jsd_previous", -1], off: ["enrichment", 1] };
let arranged = null; // the tiles in the order they have on the page

// Return for each shown run what it says of a sample, where it does.
function readingsOf(sample) {
  return shownRuns().flatMap((run) => {
    const probe = probes()[run];
    const evaluation = evaluationOf(run);
    const reading = readingOf(probe, evaluation, sample.items[run]);
    return reading ? [{ probe, evaluation, reading, wrong: predictionText(probe, reading).wrong }] : [];
  });
}

const judged = ({ probe, reading }) => (probe.multi ? reading.cls >= 0 : reading.label >= 0 && reading.pred >= 0);

function answerFits(sample, readings, named) {
  const known = readings.filter(judged);
  const wrong = known.filter((each) => each.wrong).length;
  switch (state.answer) {
    case "wrong": return wrong > 0;
    case "right": return known.length > 0 && wrong === 0;
    case "differ": return wrong > 0 && wrong < known.length;
    case "alerts": return named.has(sample.id);
    default: return true;
  }
}

// Return the ids of the samples that an alert of a shown run names.
const namedInAlerts = () => new Set(probes().flatMap((p) => (p ? p.alerts.flatMap((alert) => alert.worst) : [])));

function selected() {
  const named = namedInAlerts();
  const found = [];
  for (const tile of tiles) {
    const readings = readingsOf(tile.sample);
    if (state.name && !readings.some(({ probe, reading }) => labelOf(probe, reading) === state.name)) continue;
    if (!answerFits(tile.sample, readings, named)) continue;
    found.push({ tile, readings });
  }
  if (!state.order) return found.map(({ tile }) => tile);
  const [name, sign] = ORDER_BY[state.order];
  const value = ({ readings }) => mean(readings.map(({ probe, evaluation, reading }) => valueOf(probe, name, evaluation, reading.n)));
  const ranked = found.map((each) => [each.tile, value(each)]);
  ranked.sort(([, a], [, b]) => (known(a) && known(b) ? sign * (a - b) : known(b) - known(a)));
  return ranked.map(([tile]) => tile);
}

// Put the selected tiles on the page; nothing is moved where nothing changed.
function arrange() {
  const wanted = selected();
  const filtered = state.name || state.answer;
  byId("matches").textContent = !tiles.length ? "" : filtered || state.order ? `${wanted.length} of ${tiles.length} samples` : `${tiles.length} sample${tiles.length === 1 ? "" : "s"}`;
  if (arranged && wanted.length === arranged.length && wanted.every((tile, i) => tile === arranged[i])) return;
  arranged = wanted;
  const there = new Set(wanted);
  tiles.forEach((tile) => { tile.node.hidden = !there.has(tile); });
  const focused = document.activeElement;
  byId("grid").replaceChildren(...wanted.map((tile) => tile.node));
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  if (!wanted.length) {
    const why = tiles.length ? "No sample fits the filters at this evaluation." : waitingForData() ? "Reading the records…" : "No images were recorded.";
    byId("grid").append(el("li", { class: "quiet" }, why));
  }
}

// Offer what the shown runs have: their classes, orders by metrics that they know.
function fillFilters() {
  const all = probes().filter(Boolean);
  const names = new Set();
  for (const tile of tiles) {
    tile.sample.items.forEach((item, run) => {
      const probe = probes()[run];
      if (probe && item) names.add(labelOf(probe, readingOf(probe, probe.answers.length - 1, item)));
    });
  }
  names.delete("");
  const sorted = [...names].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  if (state.name && !names.has(state.name) && !waitingForData()) state.name = "";
  options(byId("class"), [["", "all"], ...sorted.map((name) => [name, name])], state.name);
  byId("class-choice").hidden = sorted.length < 2;
  const fits = { differ: several(), alerts: namedInAlerts().size > 0 };
  const answers = ANSWERS.filter(([key]) => fits[key] !== false || key === state.answer);
  options(byId("answer"), answers, state.answer);
  const orders = ORDERS.filter(([key]) => !key || key === state.order || all.some((p) => p.perImage[ORDER_BY[key][0]]));
  options(byId("order"), orders, state.order);
  byId("order-choice").hidden = orders.length < 2;
}
