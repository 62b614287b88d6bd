"""Draw the README's figure from the demo's event files: ``python examples/picture.py``."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROWS = (3, 7, 11, 13)  # of the probe's sixteen images
COLUMNS = (0, 2, -1)  # of the evaluations
SIDE, GAP, HEAD, FOOT = 132, 4, 62, 34
QUALITY = 90
INK, PAPER, SOFT = (32, 33, 36), (255, 255, 255), (95, 99, 104)


def read(folder: Path) -> EventAccumulator:
    """Read a run with all its images."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def overlay(events: EventAccumulator, tag: str, evaluation: int) -> Image.Image:
    """Return an overlay without the caption below it; the images are square."""
    picture = Image.open(io.BytesIO(events.Images(tag)[evaluation].encoded_image_string))
    side = picture.width
    return picture.crop((0, 0, side, side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def block(events: EventAccumulator, title: str) -> Image.Image:
    """Return a run as one row per image and one column per evaluation, with its enrichment."""
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("cam/overlay/")]
    scalars = events.Scalars("cam/enrichment")
    step = SIDE + GAP
    sheet = Image.new("RGB", (len(COLUMNS) * step - GAP, HEAD + len(ROWS) * step - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((0, 4), title, fill=INK, font=ImageFont.load_default(18))
    for column, evaluation in enumerate(COLUMNS):
        text = f"epoch {evaluation % len(scalars)}: {scalars[evaluation].value:.2f}"
        at = (column * step, HEAD - 24)
        draw.text(at, text, fill=SOFT, font=ImageFont.load_default(16))
        for row, image in enumerate(ROWS):
            sheet.paste(overlay(events, tags[image], evaluation), (at[0], HEAD + row * step))
    return sheet


def main() -> None:
    """Draw both runs side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="the demo's --out")
    parser.add_argument("--out", type=Path, default=Path("docs/demo.jpg"), help="file to write")
    options = parser.parse_args()
    blocks = [
        block(read(options.runs / "shortcut"), "Backgrounds that predict the class"),
        block(read(options.runs / "balanced"), "Backgrounds at random"),
    ]
    width = blocks[0].width + blocks[1].width + 8 * GAP
    sheet = Image.new("RGB", (width + 4 * GAP, blocks[0].height + FOOT), PAPER)
    sheet.paste(blocks[0], (2 * GAP, 0))
    sheet.paste(blocks[1], (sheet.width - blocks[1].width - 2 * GAP, 0))
    text = "Numbers: cam/enrichment, attention on the digit relative to its area; 1 is even."
    foot = (2 * GAP, sheet.height - FOOT + 2 * GAP)
    ImageDraw.Draw(sheet).text(foot, text, fill=SOFT, font=ImageFont.load_default(16))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, quality=QUALITY)
    print(options.out)


if __name__ == "__main__":
    main()
