"""`lightning-cam replay` writes the record that `CAMCallback` writes in the live training."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import cli_nets
from helpers.records import alerts_in, assert_close, record_lines
from helpers.replaying import train

from lightning_cam import CAMCallback, Threshold

NETS = "helpers.cli_nets"
CHECKPOINTS = ("checkpoints", "--no-report")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:CAMCallback. cam/"),  # alerts are intended
]


@dataclass(frozen=True)
class Case:
    """A callback, the arguments of the replay that stand for it, and the alerts of the training."""

    make: Callable[[], CAMCallback]
    arguments: Sequence[str]
    alerts: Sequence[str] = ()
    module: str = "Lit"


CASES = {
    "defaults": Case(CAMCallback, ["--probe", f"{NETS}:val_loader"]),
    "function that makes a callback": Case(
        cli_nets.cam_callback,
        ["--probe", f"{NETS}:probe_elsewhere", "--callback", f"{NETS}:cam_callback"],
        alerts=["relevance_mass"],
    ),
    "callback": Case(
        cli_nets.cam_callback,
        ["--probe", f"{NETS}:probe_elsewhere", "--callback", f"{NETS}:CALLBACK"],
        alerts=["relevance_mass"],
    ),
    "rule": Case(
        lambda: CAMCallback(
            cli_nets.probe_elsewhere(), alerts=[Threshold("enrichment", below=0.8)]
        ),
        ["--probe", f"{NETS}:probe_elsewhere", "--alert", "enrichment<0.8"],
        alerts=["enrichment"],
    ),
    "two probes": Case(
        lambda: CAMCallback(
            {"train": cli_nets.probe(), "val": cli_nets.probe_elsewhere()},
            alerts=[Threshold("gap/relevance_mass", below=0.5)],
        ),
        [
            *("--probe", f"train={NETS}:probe", "--probe", f"val={NETS}:probe_elsewhere"),
            *("--alert", "gap/relevance_mass<0.5"),
        ],
        alerts=["gap/relevance_mass"],
    ),
    "batch hook": Case(CAMCallback, ["--probe", f"{NETS}:val_loader"], module="LitWithHook"),
    "panels": Case(
        lambda: CAMCallback(panels=["timeline", "overlay"]),
        ["--probe", f"{NETS}:val_loader", "--panels", "timeline,overlay", "--pictures"],
    ),
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "two probes"]


@pytest.mark.parametrize("name", ["two probes", *SLOW])
def test_the_record_is_that_of_the_live_training(here, command, name):
    case, loader = CASES[name], cli_nets.val_loader()
    train(
        here,
        getattr(cli_nets, case.module)(12),
        case.make(),
        train=loader,
        val=loader,
        max_epochs=5,
    )
    code, out, err = command("replay", f"{NETS}:{case.module}", *CHECKPOINTS, *case.arguments)
    assert code == 0, err
    live, replayed = record_lines(here), record_lines("replay")
    assert live.keys() == replayed.keys()
    for file, lines in live.items():
        assert [line["kind"] for line in lines] == ["probe", *["evaluation"] * 5]
        assert_close(replayed[file], lines)
    assert replayed == live  # on CPU even exactly
    alerts = alerts_in("replay")
    assert alerts == alerts_in(here)
    assert [alert["metric"] for alert in alerts] == list(case.alerts)
    assert all(alert["message"] in out for alert in alerts)
    assert f"5 checkpoints, {len(alerts)} alert" in out
    gaps = [name for line in lines[1:] for name in line["metrics"] if name.startswith("gap/")]
    assert bool(gaps) == (len(live) == 2)  # in the record of the second probe, `val`
    if "--pictures" in case.arguments:
        assert images_in(Path("replay")) == images_in(here / "cam", here)


def images_in(folder, root=None):
    """Return the image files in a folder and their contents, by path below `root`."""
    return {p.relative_to(root or folder): p.read_bytes() for p in folder.rglob("*.png")}


@pytest.mark.slow
def test_the_first_and_last_headline_metrics_are_printed(here, command):
    case, loader = CASES["two probes"], cli_nets.val_loader()
    live = train(here, cli_nets.Lit(6), case.make(), train=loader, val=loader, max_epochs=2)
    code, out, err = command("replay", f"{NETS}:{case.module}", *CHECKPOINTS, *case.arguments)
    assert code == 0, err
    printed = re.findall(r"^(cam/\S+) +first (\S+), last (\S+)  \((.+)\)$", out, re.MULTILINE)
    headlines = [f"cam/{probe}/enrichment" for probe in ("train", "val", "gap")]
    assert set(headlines) <= {name for name, *_ in printed}
    assert ("cam/gap/enrichment", "Enrichment, gap between probes") in {
        (name, title) for name, *_, title in printed
    }
    for name, first, last, _ in printed:
        known = [logged[name] for _, _, logged in live if math.isfinite(logged[name])]
        assert (first, last) == (f"{known[0]:.2f}", f"{known[-1]:.2f}"), name
