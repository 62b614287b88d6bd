"""The recipes of docs/loops.md, and small data and networks for them."""

import re
from pathlib import Path

import torch

from helpers.records import record_lines
from helpers.training import Squares, convnet, loader, squares_probe

PAGE = Path(__file__).parents[2] / "docs" / "loops.md"
EPOCHS = 3


def recipes():
    """Return the Python code of each section by its title; several blocks are a list."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    code = re.compile(r"```python\n(.*?)```", re.DOTALL)
    return {title: code.findall(text) for title, text in found.items()}


def items(count=16, seed=0):
    """Return images and labels, without the masks."""
    data = Squares(count, seed)
    return list(zip(data.images, data.targets, strict=True))


def names_that_the_recipes_assume():
    """Return the user's own objects: the training that `helpers.training.fit` makes."""
    torch.manual_seed(0)
    model = convnet()
    data = Squares(8, seed=5)
    return {
        "torch": torch,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "train_loader": loader(items()),
        "epochs": EPOCHS,
        "images": data.images,
        "targets": data.targets,
        "masks": data.masks,
        "names": ["up left", "up right", "down left", "down right"],
    }


def run(title, block=0, **names):
    """Run the introduction and a recipe; return all names afterwards."""
    namespace = {**names_that_the_recipes_assume(), **names}
    for code in [*recipes()[""], recipes()[title][block]]:
        exec(compile(code, f"{PAGE}: {title}", "exec"), namespace)  # noqa: S102 - our own code
    return namespace


def probe():
    """Return the probe of the introduction."""
    return squares_probe(8, class_names=names_that_the_recipes_assume()["names"])


def metrics_in(folder):
    """Return the metrics of each evaluation that a run recorded."""
    (lines,) = record_lines(folder).values()
    return [line["metrics"] for line in lines[1:]]
