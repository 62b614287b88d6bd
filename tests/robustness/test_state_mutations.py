"""Every part of a checkpoint's state replaced: the rest is restored as a whole, or not at all.

Each leaf and each container of a real state is replaced in turn, and each entry removed. Then the
monitor either takes the state without a word and evaluates, or refuses all of it with one warning.
"""

import copy
import math

import pytest
import torch
from helpers.nets import ConvNet
from torch import Tensor

from lightning_cam import CAMMonitor, ControlChart, Probe, Threshold


def filled(value, number):
    """Return a number in place of one, or a tensor filled with it as far as its dtype goes."""
    if isinstance(value, Tensor):
        limits = None if value.dtype == torch.bool else torch.iinfo(torch.int64)
        if value.is_floating_point() or limits is None:
            return torch.full_like(value, min(number, 3e38))
        whole = math.isfinite(number)
        return torch.full_like(value, min(number, limits.max) if whole else limits.max)
    if isinstance(value, list):
        return [filled(each, number) for each in value]
    return number


def another_shape(value):
    if isinstance(value, Tensor):
        return value[..., :-1] if value.ndim else value[None]
    return value * 2 if isinstance(value, (list, str)) else [value]


HUGE = 10**30
MUTATIONS = {
    "another type": lambda v: 7 if isinstance(v, (str, dict, list, Tensor)) else "text",
    "none": lambda _: None,
    "empty": lambda v: v[:0] if isinstance(v, (str, list, Tensor)) else type(v)(),
    "nan": lambda v: filled(v, math.nan),
    "infinite": lambda v: filled(v, math.inf),
    "negative": lambda v: filled(v, -3),
    "huge": lambda v: filled(v, HUGE),
    "another shape": another_shape,
    "another dtype": lambda v: v.to(torch.int32) if isinstance(v, Tensor) else [v],
    "truth": lambda v: not isinstance(v, bool),
}


def probe_of(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, 4:10, 4:10] = True
    images = torch.rand(4, 3, 16, 16, generator=generator)
    return Probe(images, torch.tensor([0, 1, 0, 1]), masks=masks)


def monitor_of(messages=None):
    rules = [
        Threshold("enrichment", above=0.0, patience=9, warmup=0),
        ControlChart("entropy", baseline=5, warmup=0),
        Threshold("gap/enrichment", above=-99.0, patience=9, warmup=0),
    ]
    return CAMMonitor(
        {"train": probe_of(0), "val": probe_of(1)},
        warn=(messages if messages is not None else []).append,
        alerts=rules,
        interventions_every=4,
        method=["gradcam", "hirescam"],
        layers="b",
        panels=["overlay", "timeline", "comparison"],
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ConvNet()


@pytest.fixture(scope="module")
def state(model, tmp_path_factory):
    monitor, file = monitor_of(), tmp_path_factory.mktemp("state") / "state.pt"
    for epoch in range(3):
        with torch.no_grad():
            model.b.weight.mul_(1.2)
        monitor.should_evaluate()
        monitor.evaluate(model, epoch=epoch, monitored_value=float(epoch))
    torch.save(monitor.state_dict(), file)
    return torch.load(file, weights_only=True)


def places(value, at=()):
    """Yield the path of every leaf and container; of the two probes only those of the second."""
    if at[:2] != ("probes", "train"):
        yield at
        items = list(enumerate(value)) if isinstance(value, list) else []
        for key, inner in value.items() if isinstance(value, dict) else items:
            yield from places(inner, (*at, key))


def replaced(state, path, change):
    """Return a copy of the state with one part replaced, and whether that changed anything."""
    if not path:
        return change(state), True
    altered = copy.deepcopy(state)
    holder = altered
    for key in path[:-1]:
        holder = holder[key]
    before = holder[path[-1]]
    holder[path[-1]] = change(before)
    return altered, repr(before) != repr(holder[path[-1]])


def seen_by(monitor):
    """Return what is restored: validations, evaluations of both probes, and values by rule."""
    found = monitor.state_dict()
    counts = [found["probes"][name]["history"]["count"] for name in ("train", "val")]
    rules = [each["rules"] for each in found["probes"].values()] + [found["gap"]["rules"]]
    return found["validations"], counts, [each["seen"] for some in rules for each in some]


class Monitors:
    """Monitors that are set up; one that refused a state is as new, and is taken again."""

    def __init__(self, model):
        self.model = model
        self._unused = None

    def take(self):
        found, self._unused = self._unused or self._make(), None
        found[1].clear()
        found[0].errors._warned.clear()
        return found

    def give_back(self, *unused):
        self._unused = unused

    def _make(self):
        messages = []
        monitor = monitor_of(messages)
        monitor.setup(self.model)
        return monitor, messages


@pytest.fixture(scope="module")
def monitors(model):
    return Monitors(model)


def check(monitors, altered, place):
    """Restore and evaluate; return whether the state was taken."""
    monitor, messages = monitors.take()
    monitor.load_state_dict(altered)
    validations, counts, seen = seen_by(monitor)
    taken = not messages
    if taken:
        assert all(counts), place
        assert validations >= 0, place
    elif "another probe" in messages[0] or "of layers" in messages[0]:
        assert counts == [3, 0], place
        assert seen[-1] == 0, place  # the rules of the gap are about both probes
    else:
        assert len(messages) == 1, (place, messages)
        assert "lightning_cam starts its history afresh: the state cannot be used" in messages[0]
        assert (validations, counts, sum(seen)) == (0, [0, 0], 0), place
        assert all(each._baselines is None for each in monitor._monitors.values()), place
        monitors.give_back(monitor, messages)
        return False
    monitor.should_evaluate()
    found = monitor.evaluate(monitors.model, epoch=3)
    assert len(messages) == (not taken), (place, messages)
    for name, each in found.items():
        assert not each.failed, place
        assert math.isfinite(each.metrics["label_confidence"]), place
        pictures = monitor._monitors[name].renderer_of(each)()
        assert pictures, place
    return taken


def test_the_state_as_it_is_is_taken_and_an_evaluation_after_a_refused_one_works(monitors, state):
    assert check(monitors, state, "nothing")
    assert not check(monitors, {}, "empty")
    monitor, messages = monitors.take()
    assert not any(each.failed for each in monitor.evaluate(monitors.model).values())
    assert messages == []


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("name", MUTATIONS)
def test_replaced_parts(monitors, state, name):
    refused = 0
    for path in places(state):
        try:
            altered, differs = replaced(state, path, MUTATIONS[name])
        except (TypeError, ValueError, OverflowError, RuntimeError):
            continue  # there is no such thing for this type
        if differs:
            refused += not check(monitors, altered, (name, path))
    assert refused > 10


@pytest.mark.slow
@pytest.mark.sweep
def test_removed_entries(monitors, state):
    for path in places(state):
        altered = copy.deepcopy(state)
        holder = altered
        for key in path[:-1]:
            holder = holder[key]
        if path:
            del holder[path[-1]]
            check(monitors, altered, ("removed", path))


PARTS = {
    "a count": (("validations",), -1),
    "evaluations": (("probes", "val", "history", "count"), 2),
    "stride": (("probes", "val", "history", "stride"), 0),
    "an index": (("probes", "val", "history", "best", "index"), 3),
    "rows": (("probes", "val", "history", "first", "rows"), torch.tensor([0, 1, 2, 9])),
    "classes": (("probes", "val", "history", "kept", 1, "classes"), torch.tensor([0, 1])),
    "confidences": (("probes", "val", "history", "previous", "confidences"), torch.full((4,), 7.0)),
    "average": (("probes", "val", "history", "average", 0, 2), torch.full((4, 16, 16), math.inf)),
    "best value": (("probes", "val", "history", "best_value"), math.nan),
    "noise floor": (("probes", "val", "noise_floor"), -0.1),
    "baseline": (("probes", "val", "baselines", "enrichment_random"), math.inf),
    "streak": (("probes", "val", "rules", 0, "streak"), 1.5),
    "active": (("probes", "val", "rules", 0, "active"), 1),
    "first values": (("probes", "val", "rules", 1, "baseline"), [1e300]),
    "gap": (("gap", "rules", 0, "seen"), -1),
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_out_of_range_are_refused(monitors, state, part):
    path, value = PARTS[part]
    altered, differs = replaced(state, path, lambda _: value)
    assert differs
    assert not check(monitors, altered, path)
