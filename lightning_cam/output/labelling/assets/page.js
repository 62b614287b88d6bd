"use strict";

const MOST_POINTS = 1024;
const SHARPEST = 720; // pixels of the canvas along the longer side
const DIM = 0.62; // of what is no object
const STEP = 0.02; // of the cross, as a share of the image

const by = (id) => document.getElementById(id);
const canvas = by("canvas");
const pen = canvas.getContext("2d");
const dim = document.createElement("canvas");

let images = [];
let at = 0;
let picture = null; // the current image, decoded
let drawing = null; // points of what is being drawn
let cross = null; // of the keyboard
let last = Promise.resolve(); // requests go one after another

// --- drawing on the canvas ------------------------------------------------------------------------

function fitCanvas() {
  const scale = Math.max(1, SHARPEST / Math.max(picture.naturalWidth, picture.naturalHeight));
  canvas.width = Math.round(picture.naturalWidth * scale);
  canvas.height = Math.round(picture.naturalHeight * scale);
}

/** Paint what is no object black, one pixel of `dim` per pixel of the mask. */
function paintDim(image) {
  const [height, width] = image.size;
  dim.width = width;
  dim.height = height;
  const shade = dim.getContext("2d").createImageData(width, height);
  let pixel = 0; // runs go column by column
  image.counts.forEach((count, run) => {
    for (let end = pixel + count; pixel < end; pixel += 1) {
      const row = pixel % height;
      const column = (pixel - row) / height;
      shade.data[4 * (row * width + column) + 3] = run % 2 ? 0 : 255;
    }
  });
  dim.getContext("2d").putImageData(shade, 0, 0);
}

function paint() {
  if (picture === null) return;
  const image = images[at];
  pen.imageSmoothingEnabled = true;
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (image.counts !== null) {
    pen.globalAlpha = DIM;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(dim, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 1;
  }
  if (drawing !== null) stroke(outline(drawing));
  if (cross !== null) {
    const [x, y] = [cross[0] * canvas.width, cross[1] * canvas.height];
    stroke([[x - 12, y], [x + 12, y]]);
    stroke([[x, y - 12], [x, y + 12]]);
  }
}

function outline(points) {
  let corners = points;
  if (kind() === "box") {
    const [[x1, y1], [x2, y2]] = [points[0], points[points.length - 1]];
    corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]];
  }
  return corners.map(([x, y]) => [x * canvas.width, y * canvas.height]);
}

function stroke(points) {
  for (const [color, width] of [["#000", 5], ["#fff", 2.5]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.beginPath();
    points.forEach(([x, y]) => pen.lineTo(x, y));
    pen.stroke();
  }
}

// --- what is said ---------------------------------------------------------------------------------

function say(text) {
  by("said").textContent = text;
}

function complain(text) {
  by("error").textContent = text;
  by("error").hidden = text === "";
}

function show() {
  const done = images.filter((image) => image.counts !== null).length;
  by("bar").max = images.length;
  by("bar").value = done;
  by("done").textContent = `${done} of ${images.length} done`;
  const image = images[at];
  by("place").textContent = `${at + 1} of ${images.length}`;
  by("label").textContent = image.label;
  by("name").textContent = image.id;
  by("undo").disabled = by("clear").disabled = image.counts === null;
  by("previous").disabled = at === 0;
  by("next").disabled = at === images.length - 1;
  const state = image.counts === null ? "without a mask" : "with a mask";
  canvas.setAttribute("aria-label", `image ${at + 1}, ${image.label || "no label"}, ${state}`);
  images.forEach((each, number) => {
    const button = by("images").children[number].firstChild;
    const labelled = each.counts !== null;
    button.classList.toggle("labelled", labelled);
    button.setAttribute("aria-current", String(number === at));
    button.setAttribute(
      "aria-label",
      `image ${number + 1}, ${each.label} ${each.id}, ${labelled ? "done" : "not done"}`,
    );
  });
}

// --- images ---------------------------------------------------------------------------------------

async function open(number) {
  if (number < 0 || number >= images.length) return;
  at = number;
  drawing = cross = picture = null;
  complain("");
  say("");
  show();
  history.replaceState(null, "", `#${number + 1}`);
  const loaded = new Image();
  loaded.src = `images/${number}.jpg`;
  await loaded.decode();
  if (at !== number) return;
  picture = loaded;
  fitCanvas();
  if (images[at].counts !== null) paintDim(images[at]);
  paint();
  canvas.dataset.shown = number + 1; // the image that can be drawn on now
}

/** Send all shapes of an image, and show the mask that they make. */
function send(number, change, done) {
  last = last.then(async () => {
    canvas.classList.add("busy");
    try {
      const shapes = change(images[number].shapes);
      const answer = await fetch(`images/${number}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ shapes }),
      });
      const content = await answer.json();
      if (!answer.ok) throw new Error(content.error);
      Object.assign(images[number], content);
      complain("");
      say(content.note || done);
      if (number === at && content.counts !== null) paintDim(images[number]);
    } catch (error) {
      const gone = error instanceof TypeError;
      complain(gone ? "Not saved: lightning-cam label is not running." : String(error.message));
    }
    canvas.classList.remove("busy");
    show();
    paint();
  });
}

function add(points) {
  const number = at;
  const shape = {
    kind: kind(),
    points: kind() === "box" ? [points[0], points[points.length - 1]] : points,
    refine: by("refine").checked,
    erase: by("erase").checked,
  };
  send(number, (shapes) => [...shapes, shape], "Saved.");
}

function undo() {
  if (!by("undo").disabled) send(at, (shapes) => shapes.slice(0, -1), "Undone.");
}

function kind() {
  return document.querySelector("input[name=kind]:checked").value;
}

function choose(value) {
  document.querySelector(`input[name=kind][value=${value}]`).checked = true;
}

// --- mouse and touch ------------------------------------------------------------------------------

function point(event) {
  const box = canvas.getBoundingClientRect();
  const inside = (share) => Math.min(1, Math.max(0, share));
  return [
    inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height),
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || picture === null) return;
  event.preventDefault(); // no focus: the arrow keys go on to the next image
  canvas.setPointerCapture(event.pointerId);
  cross = null;
  drawing = [point(event)];
  say(""); // so that the same words are read out again
});

canvas.addEventListener("pointermove", (event) => {
  if (drawing === null || cross !== null) return;
  if (drawing.length < MOST_POINTS) drawing.push(point(event));
  paint();
});

canvas.addEventListener("pointerup", (event) => {
  if (drawing === null || cross !== null) return;
  const points = [...drawing, point(event)];
  drawing = null;
  const [xs, ys] = [0, 1].map((axis) => points.map((each) => each[axis]));
  const sides = [xs, ys].map((values) => Math.max(...values) - Math.min(...values));
  if (Math.min(...sides) > 0.005) add(points);
  else say("Drag around the object.");
  paint();
});

canvas.addEventListener("pointercancel", () => {
  drawing = null;
  paint();
});

// --- keyboard -------------------------------------------------------------------------------------

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveCross(event) {
  const size = STEP * (event.shiftKey ? 5 : 1);
  const from = cross === null ? [0.5, 0.5] : cross;
  cross = from.map((share, axis) => {
    const moved = share + size * MOVES[event.key][axis];
    return Math.min(1, Math.max(0, moved));
  });
  if (kind() === "box" && drawing !== null) drawing = [drawing[0], cross];
}

function setCorner() {
  cross = cross === null ? [0.5, 0.5] : cross;
  if (kind() === "box" && drawing !== null) {
    add([drawing[0], cross]);
    drawing = null;
  } else {
    drawing = [...(drawing === null ? [] : drawing), cross];
    say(kind() === "box" ? "First corner set." : `${drawing.length} corners set.`);
  }
}

function closeOutline() {
  if (drawing.length > 2) add(drawing);
  drawing = null;
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || picture === null) return;
  if (event.key in MOVES) moveCross(event);
  else if (event.key === " ") setCorner();
  else if (event.key === "Enter" && drawing !== null) closeOutline();
  else if (event.key === "Escape") drawing = cross = null;
  else return;
  event.preventDefault();
  event.stopPropagation();
  paint();
});

canvas.addEventListener("blur", () => {
  drawing = cross = null;
  paint();
});

const KEYS = {
  b: () => choose("box"),
  o: () => choose("outline"),
  f: () => by("refine").click(),
  e: () => by("erase").click(),
  u: undo,
  n: () => open(at + 1),
  p: () => open(at - 1),
  arrowright: () => open(at + 1),
  arrowleft: () => open(at - 1),
};

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  const undoes = key === "z" && (event.ctrlKey || event.metaKey);
  if (!undoes && (event.ctrlKey || event.metaKey || event.altKey)) return;
  if (key.startsWith("arrow") && event.target.type === "radio") return;
  const act = undoes ? undo : KEYS[key];
  if (act === undefined || images.length === 0) return;
  event.preventDefault();
  act();
});

by("undo").addEventListener("click", undo);
by("clear").addEventListener("click", () => send(at, () => [], "Cleared."));
by("previous").addEventListener("click", () => open(at - 1));
by("next").addEventListener("click", () => open(at + 1));

// --- start ----------------------------------------------------------------------------------------

async function start() {
  const answer = await fetch("images");
  const content = await answer.json();
  images = content.images;
  by("out").textContent = content.out;
  images.forEach((_, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => open(number));
    const small = document.createElement("img");
    small.src = `images/${number}.jpg`;
    small.alt = "";
    small.loading = "lazy";
    button.append(small);
    const item = document.createElement("li");
    item.append(button);
    by("images").append(item);
  });
  const wanted = Number.parseInt(location.hash.slice(1), 10) - 1;
  const unlabelled = images.findIndex((image) => image.counts === null);
  await open(wanted >= 0 && wanted < images.length ? wanted : Math.max(0, unlabelled));
}

start().catch((error) => complain(`Cannot load the images: ${error.message}`));
