// From 8-bit map cells to colours over an image, as in the logged overlays.

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const tables = {};
const decoded = new Map();

function table(name) {
  tables[name] = tables[name] || bytesOf(data.colormaps[name]);
  return tables[name];
}

// Maps that are not here yet are asked for, where there is a server.
let fetchMaps = () => {};
let dropWishes = () => {};

// Return the n-th recorded map of an evaluation: cells, size and maximum, or null; `pending` while
// it is on its way.
function cellsOf(probe, map, evaluation, n) {
  if (!map || !map.shape[evaluation] || n >= map.shape[evaluation][0]) return null;
  if (!known(map.cells[evaluation])) {
    fetchMaps(probe, evaluation);
    return { pending: true };
  }
  const [, h, w] = map.shape[evaluation];
  if (!decoded.has(map)) decoded.set(map, []);
  const kept = decoded.get(map);
  kept[evaluation] = kept[evaluation] || bytesOf(map.cells[evaluation]);
  const cells = kept[evaluation].subarray(n * h * w, (n + 1) * h * w);
  return { cells, h, w, peak: map.peak[evaluation][n] };
}

const isFlat = (found) => !found || found.cells.every((cell) => cell === found.cells[0]);

// Return for each of `size` pixels the two of `count` cells it lies between, as in bilinear resizing.
function between(count, size) {
  const low = new Int32Array(size);
  const high = new Int32Array(size);
  const share = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const place = Math.max(0, ((i + 0.5) * count) / size - 0.5);
    low[i] = Math.min(count - 1, Math.floor(place));
    high[i] = Math.min(count - 1, low[i] + 1);
    share[i] = place - low[i];
  }
  return { low, high, share };
}

// Return the map resized to the image, 0 to 255.
function enlarged(found, width, height) {
  const across = between(found.w, width);
  const down = between(found.h, height);
  const line = new Float32Array(found.w);
  const heat = new Float32Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    const a = down.low[y] * found.w;
    const b = down.high[y] * found.w;
    for (let x = 0; x < found.w; x++) {
      line[x] = found.cells[a + x] + (found.cells[b + x] - found.cells[a + x]) * down.share[y];
    }
    for (let x = 0; x < width; x++) {
      const left = line[across.low[x]];
      heat[to++] = left + (line[across.high[x]] - left) * across.share[x];
    }
  }
  return heat;
}

// Draw a map on a canvas, scaled by its own maximum, or by `gain` where maps share one scale.
function drawHeat(canvas, found, gain) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true }); // no round trip to a GPU
  context.clearRect(0, 0, width, height);
  if (isFlat(found)) return;
  const colours = table(state.colormap);
  const picture = context.createImageData(width, height);
  const heat = enlarged(found, width, height);
  const scale = gain === null ? 255 / heat.reduce((a, b) => Math.max(a, b), 0) : gain;
  for (let i = 0, to = 0; i < heat.length; i++, to += 4) {
    const value = heat[i] * scale;
    const at = 3 * Math.round(value);
    picture.data[to] = colours[at];
    picture.data[to + 1] = colours[at + 1];
    picture.data[to + 2] = colours[at + 2];
    picture.data[to + 3] = 255 * state.opacity * Math.sqrt(value / 255);
  }
  context.putImageData(picture, 0, 0);
}

// A colour bar from 0 to the maximum.
function drawBar(canvas) {
  const context = canvas.getContext("2d");
  const colours = table(state.colormap);
  for (let x = 0; x < 256; x++) {
    context.fillStyle = `rgb(${colours[3 * x]} ${colours[3 * x + 1]} ${colours[3 * x + 2]})`;
    context.fillRect((x * canvas.width) / 256, 0, canvas.width / 256 + 1, canvas.height);
  }
}
