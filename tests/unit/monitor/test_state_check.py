"""`check_state`: what is refused, and where the message says it is."""

import copy

import pytest
import torch

from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.rules import RuleState
from lightning_cam.monitor.state_check import check_state

KEY = ("gradcam", "layer")


def state_of(evaluations=3, *, multi_label=False):
    """Return the state of a monitor of one probe of two images, after some evaluations."""
    history = History()
    rows = torch.arange(2)
    for n in range(evaluations):
        predictions, confidences = torch.tensor([0, -1]), torch.tensor([0.5, torch.nan])
        if multi_label:
            predictions, confidences = torch.rand(2, 3) > 0.5, torch.rand(2, 3)
        maps = {KEY: torch.rand(2, 3, 3) - 0.1}
        history.add(Snapshot(n, n, 10 * n, maps, rows, rows, predictions, confidences), 0.1 * n)
    probe = {
        "fingerprint": "0" * 12,
        "layers": ["layer"],
        "history": history.state_dict(),
        "rules": [{"metric": "entropy", **RuleState(seen=3, baseline=[0.1]).state_dict()}],
        "baselines": {"enrichment_random": 1.0, "iou_center": float("nan")},
        "noise_floor": float("nan"),
    }
    return {"validations": evaluations, "probes": {"val": probe}}


@pytest.mark.parametrize("evaluations", [0, 1, 2, 12, 13, 25, 60])
@pytest.mark.parametrize("multi_label", [False, True])
def test_states_of_any_length_are_sound(evaluations, multi_label):
    check_state(state_of(evaluations, multi_label=multi_label))


def test_maps_of_a_network_that_diverged_are_sound():
    state = state_of()
    for name in ("first", "previous"):
        state["probes"]["val"]["history"][name]["maps"][0][2].fill_(torch.nan)
    check_state(state)


def test_a_state_of_an_older_version_is_sound():
    state = state_of()
    probe = state["probes"]["val"]
    for name in ("rules", "baselines", "noise_floor"):
        del probe[name]
    for name in ("best", "best_value", "average", "before"):
        del probe["history"][name]
    check_state(state)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("validations",), True, "expected validations as an integer from 0, got True"),
        (("probes",), [], "expected probes as a dict, got a list"),
        (("probes", "val", "layers"), "layer", "expected probes.val.layers as a list, got a str"),
        (("probes", "val", "history", "count"), 4, r"expected 4 snapshots in probes.val.history"),
        (
            ("probes", "val", "history", "best", "maps", 0, 2),
            torch.rand(2, 3, 4),
            "expected maps of 3×3 for gradcam@layer in probes.val.history.best, got 3×4",
        ),
        (
            ("probes", "val", "history", "first", "rows"),
            torch.tensor([0, 2]),
            "expected probes.val.history.first.rows from 0 to 1, got others",
        ),
        (("probes", "val", "noise_floor"), 2.0, "expected probes.val.noise_floor between 0 and"),
        (("probes", "val", "baselines", "iou_center"), -0.5, "iou_center between 0.0 and"),
        (("probes", "val", "rules", 0, "seen"), -1, "expected seen of 0 or more, got -1 in probes"),
    ],
)
def test_the_message_says_what_is_wrong_and_where(path, value, message):
    state = copy.deepcopy(state_of())
    holder = state
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        check_state(state)


def test_what_a_gap_has_seen_needs_two_probes():
    state = state_of() | {"gap": {"rules": [{"metric": "gap/entropy", "seen": 0}]}}
    check_state(state)
    state["gap"]["rules"][0]["seen"] = 2
    with pytest.raises(ValueError, match="expected the two probes of a gap, got 1"):
        check_state(state)
