"""The commands run, and what they compare is the same work; no times are asserted."""

import importlib.util
import json

import pytest
import torch

from benchmarks.measuring import ratios, spread
from benchmarks.speed.bench import Bench, Case, maps_of
from benchmarks.speed.growth import exponent
from benchmarks.speed.peers import builders, difference

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # other packages' own
]


def test_each_side_is_timed_as_often_and_divided_by_its_own_round():
    calls = []
    sides = {name: (lambda name=name: calls.append(name)) for name in ("one", "two")}
    found, _ = ratios(sides, lambda: calls.append("floor"), pairs=3, warmup=1)
    assert [calls.count(name) for name in ("one", "two", "floor")] == [4, 4, 4]
    assert calls[3:] == ["floor", "one", "two", "one", "two", "floor", "two", "floor", "one"]
    assert found["one"].pairs == 3


def test_a_spread_is_the_median_and_the_quartiles():
    found = spread([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_an_exponent_is_the_slope():
    assert exponent([(x, 3 * x**1.5) for x in (1.0, 2.0, 8.0)]) == pytest.approx(1.5)


@pytest.mark.parametrize("package", ["grad-cam", "torchcam", "captum"])
def test_peers_do_the_same_work(package):
    modules = {"grad-cam": "pytorch_grad_cam"}
    if importlib.util.find_spec(modules.get(package, package)) is None:
        pytest.skip(f"{package} is not installed")
    case = Case("resnet18", 2, side=64)
    build, layer = builders(case)[package]
    theirs = build(case, layer)()
    assert difference(case, "layer4", theirs) < 1e-3
    assert difference(case, "layer4", theirs.flip(0)) > 0.1


def test_our_side_is_not_the_floor():
    maps = maps_of(Case("resnet18", 2, side=64))()
    assert maps.shape == (2, 2, 2)
    assert torch.isfinite(maps).all()


def test_quick_growth_runs(tmp_path):
    from benchmarks.speed.__main__ import main

    file = tmp_path / "speed.json"
    threads = torch.get_num_threads()
    try:
        main(["--quick", "--part", "growth", "--json", str(file)])
    finally:
        torch.set_num_threads(threads)
    part = json.loads(file.read_text(encoding="utf-8"))["growth"]
    assert [row["what"] for row in part["rows"]] == ["images", "layers", "methods", "validations"]
    assert part["command"].endswith("--quick")


def test_quick_stall_runs():
    from benchmarks.speed.stall import BY_HAND, IN_PLACE, OURS, measure

    assert Bench(quick=True).pairs(9) == 2
    rows = measure(Bench(quick=True))
    assert {row["side"] for row in rows} == {OURS, IN_PLACE, BY_HAND}
