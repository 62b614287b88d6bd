"""Exchanges of attributes between a few images, without a monitor."""

import torch

from lightning_cam.interventions import ATTRIBUTES, ExchangeBatch
from lightning_cam.interventions.image_editing import largest_rectangles
from lightning_cam.interventions.marks import find_marks
from lightning_cam.interventions.registry import DRAWS
from lightning_cam.interventions.run import run_exchanges
from lightning_cam.monitor.evidence import Evidence


def batch_of(images, rows=None, *, masks=None, marks=None, cell=(0, 0), seed=0):
    """Return a batch in which all images are altered, or some of them."""
    rows = torch.arange(len(images)) if rows is None else torch.as_tensor(rows)
    draws = torch.rand(len(rows), DRAWS, generator=torch.Generator().manual_seed(seed))
    cells = torch.tensor(cell).expand(len(rows), 2)
    rectangles = () if masks is None else largest_rectangles(masks)
    return ExchangeBatch(images, masks, marks, rectangles, rows, cells, draws, seed)


def exchanged(name, images, partners, **known):
    """Return images with an attribute of others, and optionally the control's."""
    attribute = ATTRIBUTES[name]
    return attribute.exchange(batch_of(images, **known), torch.as_tensor(partners))


def collected(model, images, labels, *, masks=None, rounds=6, names=None, rate=0.05):
    """Return the evidence of some evaluations of one model."""
    fitting = [a for a in ATTRIBUTES.values() if a.masks in (None, masks is not None)]
    fitting = [a for a in fitting if names is None or a.name in names]
    evidence = Evidence(fitting, rate)
    marks = find_marks(images, labels, masks)
    with torch.no_grad():
        clean = model(images).softmax(dim=1)
    for seed in range(rounds):
        batch = batch_of(images, masks=masks, marks=marks, seed=seed)
        plan = evidence.plan(batch, labels)
        if plan is not None:
            answers = run_exchanges(model, batch, labels, plan.requests)
            evidence.take_in(plan, answers, labels, clean)
    return evidence
