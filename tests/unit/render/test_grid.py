"""Captions: what must be readable whatever people call their classes."""

import pytest
import torch

from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.config import Options
from lightning_cam.output.panels import Panels
from lightning_cam.probe import Probe
from lightning_cam.render.captions import shortened

LONG = "a name longer than any strip can hold, and then some more of it"
KEY = ("gradcam", "layer")


def captions(maps, predicted):
    """Return the captions of two pictures, labels 0 and 1, at epoch 123."""
    probe = Probe(torch.rand(2, 3, 32, 32), [0, 1], class_names=[LONG, "short"])
    rows = torch.arange(2)
    chances = torch.tensor([0.875, 0.25])
    snapshot = Snapshot(0, 123, 7, {KEY: maps}, rows, rows, torch.tensor(predicted), chances)
    history = History()
    history.add(snapshot)
    panels = Panels("cam", probe, Options())
    return [p.caption.split(" · ") for p in panels.draw({KEY: maps}, snapshot, history)][:2]


def test_the_figures_stand_in_a_line_that_no_name_can_push_out():
    long, short = captions(torch.rand(2, 4, 4), [0, 0])
    assert long == [f"label {LONG}", f"predicted {LONG}", "epoch 123", "88%"]
    assert short == ["label short", f"predicted {LONG}", "epoch 123", "25%", "wrong"]
    figures = "epoch 123 · 25% · wrong"
    assert shortened(figures, 212, 17) == figures  # the narrowest picture and its letters


def test_a_flat_map_says_so():
    flat, drawn = captions(torch.stack([torch.zeros(4, 4), torch.rand(4, 4)]), [0, 1])
    assert flat[-1] == "no evidence"
    assert "no evidence" not in drawn


@pytest.mark.parametrize(("text", "shown"), [("naïve", "naive"), ("Ünïcode", "Unicode")])
def test_accents_are_dropped_rather_than_drawn_as_boxes(text, shown):
    assert shortened(text, 500, 17) == shown
