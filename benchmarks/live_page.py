"""How fast `lightning-cam serve` shows twelve runs, in a browser.

    python -m benchmarks.live_page [--json FILE]

Writes the records of 12 made-up runs of 32 samples and 100 epochs, serves them, and opens the page
in Chromium. Measured are the first view, from the request to the maps of the newest epoch on the
screen, with a server that has just started and with one that has read the records, and
interactions: until the browser has painted what changed, and until maps that the server had to send
are there.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.pages import parser_of, write_json
from lightning_cam.metrics import METRICS
from lightning_cam.output.record.format import EVALUATION, HEADER, VERSION, record_folder

RUNS, SAMPLES, EPOCHS = 12, 32, 100
_CELLS = 14
_CLASSES = 10
_PER_IMAGE = ("enrichment", "relevance_mass", "relevance_rank", "pointing_game", "iou", "entropy",
              "border_mass", "center_x", "center_y", "label_confidence", "mean_activation",
              "jsd_previous", "jsd_first", "correlation_previous")  # fmt: skip
_FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
_REPEATS = 15

_COMPLETE = """document.getElementById("now").textContent === "epoch {last}"
  && document.querySelectorAll("#grid li").length === {samples}
  && document.getElementById("live").textContent === "live"
  && ![...document.querySelectorAll("#grid .pending, #grid .open:empty")].some((node) => {{
    const box = node.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }})"""
# Resolves with the milliseconds until the change is painted, and until no map is missing.
_TIMED = """async (action) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  const started = performance.now();
  const next = frame(); // first, so that work which the page leaves for later comes after it
  (0, eval)(action);
  await next;
  const painted = performance.now() - started;
  const found = () => [...document.querySelectorAll("#grid .pending, #grid .open:empty")];
  const missing = () => found().some((node) => {
    const box = node.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  });
  while (missing()) await frame();
  return [painted, performance.now() - started];
}"""
_SLIDE = """(() => {{ const time = document.getElementById("time"); time.value = {at};
  time.dispatchEvent(new Event("input")); }})()"""
_SELECT = """(() => {{ const list = document.getElementById("{name}"); list.value = "{value}";
  list.dispatchEvent(new Event("change")); }})()"""
_OPEN = """document.querySelectorAll("#grid .open")[{n}].click()"""
_CLOSE = """document.getElementById("close").click()"""
_RUN = """document.querySelectorAll("[data-choose]")[{n}].click()"""


def write_run(folder: Path, seed: int, epochs: int) -> None:
    """Write the record of a made-up run."""
    draw = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = [_header(np.random.default_rng(0))]
    names = [name for name, metric in METRICS.items() if not metric.moves]
    for epoch in range(epochs):
        cells = draw.integers(0, 256, (SAMPLES, _CELLS, _CELLS), dtype=np.uint8)
        maps = {"shape": list(cells.shape), "peak": draw.random(SAMPLES).round(4).tolist()}
        maps["cells"] = base64.b64encode(cells.tobytes()).decode()
        lines.append(
            {
                "kind": EVALUATION, "index": epoch, "epoch": epoch, "step": 100 * epoch + 99,
                "time": 1.7e9 + 60 * epoch,
                "metrics": {name: round(float(draw.random()), 5) for name in names},
                "per_image": {n: draw.random(SAMPLES).round(5).tolist() for n in _PER_IMAGE},
                "maps": [{"method": "gradcam", "layer": "layer4", **maps}],
                "drawn": list(range(SAMPLES)), "rows": list(range(SAMPLES)),
                "classes": [i % _CLASSES for i in range(SAMPLES)],
                "predictions": draw.integers(0, _CLASSES, SAMPLES).tolist(),
                "confidences": draw.random(SAMPLES).round(4).tolist(),
                "evidence": {}, "alerts": [], "worst": [],
            }
        )  # fmt: skip
    file = record_folder(folder) / "cam.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _header(draw: np.random.Generator) -> dict[str, Any]:
    images = [cv2.resize(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8), (224, 224))
              for _ in range(SAMPLES)]  # fmt: skip
    mask = np.zeros((224, 224), np.uint8)
    cv2.circle(mask, (112, 112), 50, 255, -1)
    return {
        "kind": HEADER, "version": VERSION, "tag": "cam", "fingerprint": "made up",
        "ids": [f"image {i:02}" for i in range(SAMPLES)],
        "class_names": [f"class {i}" for i in range(_CLASSES)],
        "targets": [i % _CLASSES for i in range(SAMPLES)], "multi_label": False,
        "masks_estimated": False, "mean": None, "std": None, "settings": {}, "environment": {},
        "images": [_encoded(".jpg", image) for image in images],
        "masks": [_encoded(".png", mask)] * SAMPLES,
    }  # fmt: skip


def _encoded(kind: str, pixels: Any) -> str:
    return base64.b64encode(cv2.imencode(kind, pixels)[1].tobytes()).decode()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the runs in a process of its own; yield the address."""
    command = [sys.executable, "-m", "lightning_cam", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def first_view(page: Any, address: str) -> float:
    """Return the seconds until the maps of the newest epoch are on the screen."""
    started = time.perf_counter()
    page.goto(address)
    while not page.evaluate(_COMPLETE.format(last=EPOCHS - 1, samples=SAMPLES)):
        time.sleep(0.02)
    return time.perf_counter() - started


def interactions(page: Any, repeats: int) -> dict[str, dict[str, float]]:
    """Return for each interaction the milliseconds until painted, and until maps were there."""
    places = [(37 * (i + 1)) % EPOCHS for i in range(repeats)]
    actions: dict[str, list[tuple[str, str]]] = {
        "move the slider": [(_SLIDE.format(at=at), "") for at in places],
        "order by movement": [(_SELECT.format(name="order", value="moved"),
                               _SELECT.format(name="order", value=""))] * repeats,
        "only wrong answers": [(_SELECT.format(name="answer", value="wrong"),
                                _SELECT.format(name="answer", value=""))] * repeats,
        "one class": [(_SELECT.format(name="class", value="class 3"),
                       _SELECT.format(name="class", value=""))] * repeats,
        "open a sample's history": [(_OPEN.format(n=i % 4), _CLOSE) for i in range(repeats)],
        "hide a run": [(_RUN.format(n=i % RUNS), _RUN.format(n=i % RUNS)) for i in range(repeats)],
    }  # fmt: skip
    found = {}
    for name, pairs in actions.items():
        times = []
        for action, undo in pairs:
            times.append(page.evaluate(_TIMED, action))
            if undo:
                page.evaluate(_TIMED, undo)
            page.wait_for_timeout(700)  # what is done out of sight, and asked of the server, ends
        painted, complete = zip(*times, strict=True)
        found[name] = {
            "median_ms": statistics.median(painted),
            "worst_ms": max(painted),
            "maps_ms": statistics.median(complete),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("benchmarks.live_page", __doc__)
    args = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    epochs = EPOCHS
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for seed in range(RUNS):
            write_run(Path(folder) / f"run_{seed}", seed, epochs)
        installed = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=installed, args=_FLAGS)
        with serving(Path(folder)) as address:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            results: dict[str, Any] = {"first_view_cold_s": first_view(page, address)}
            results["first_view_s"] = statistics.median(
                first_view(page, address) for _ in range(2 if args.quick else 5)
            )
            results["interactions"] = interactions(page, 2 if args.quick else _REPEATS)
        browser.close()
    print(f"first view, server just started: {results['first_view_cold_s']:.2f} s")
    print(f"first view: {results['first_view_s']:.2f} s")
    for name, each in results["interactions"].items():
        print(f"{name}: {each['median_ms']:.0f} ms, at worst {each['worst_ms']:.0f} ms; "
              f"with maps of the server {each['maps_ms']:.0f} ms")  # fmt: skip
    write_json(args.json, results)


if __name__ == "__main__":
    main()
