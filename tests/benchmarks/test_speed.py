"""The parts of the speed benchmark run, and what they compare is the same work."""

import importlib.util
import json
from importlib import metadata
from pathlib import Path

import pytest
import torch

from benchmarks.pages import read_json
from benchmarks.speed.__main__ import PARTS, main
from benchmarks.speed.bench import LAYERS, Bench, Case, maps_of
from benchmarks.speed.peers import builders, difference
from benchmarks.speed.stall import HAND_WRITTEN, IN_PLACE, OURS
from lightning_cam import compute_cams

pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages

_QUICK = {"maps"}
_MODULES = {"grad-cam": "pytorch_grad_cam"}


def is_comparable(package):
    """Return whether a package is installed, in a version that explains several images at once."""
    if importlib.util.find_spec(_MODULES.get(package, package)) is None:
        return False
    return package != "torchcam" or metadata.version("torchcam") >= "0.4"


def marked(names):
    return [
        pytest.param(name, marks=() if name in _QUICK else (pytest.mark.slow, pytest.mark.sweep))
        for name in names
    ]


@pytest.mark.parametrize("part", marked(PARTS))
def test_a_part_runs_and_is_written_beside_the_others(part, tmp_path, capsys):
    needed = {"peers": ("grad-cam", "torchcam"), "stall": ("grad-cam",)}.get(part, ())
    if not all(is_comparable(package) for package in needed):
        pytest.skip(f"one of {', '.join(needed)} is not installed, or too old")
    file = tmp_path / "speed.json"
    file.write_text(json.dumps({"unknown": 1, "maps": {"rows": []}}))
    main(["--quick", "--part", part, "--json", str(file)])
    results = read_json(file)
    assert set(results) == {"maps", part}
    assert results[part]["rows"]
    assert results[part]["command"].endswith(f"--part {part} --quick")
    assert "| --- |" in capsys.readouterr().out


def test_the_help_names_all_parts(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in [*PARTS, "--quick", "--json", "--device"])


@pytest.mark.slow
@pytest.mark.parametrize("package", ["grad-cam", "torchcam", "captum"])
def test_other_packages_compute_the_same_maps(package):
    if not is_comparable(package):
        pytest.skip(f"{package} is not installed, or too old")
    case = Case("resnet18", 2, side=64)
    build, layer = builders(case)[package]
    theirs = build(case, layer)()
    assert difference(case, "layer4", theirs) < 1e-3
    assert difference(case, "layer4", theirs.flip(0)) > 0.1


def test_our_call_computes_maps():
    maps = maps_of(Case("resnet18", 2, side=64))()
    assert maps.shape == (2, 2, 2)
    assert torch.isfinite(maps).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", LAYERS)
def test_the_layer_is_the_automatic_choice(model):
    network, images, targets = Case(model, 1).build()
    ((_, layer),) = compute_cams(network, images, targets).maps
    assert layer == LAYERS[model]


def test_quick_measures_little():
    assert Bench().pairs(9) == 9
    assert Bench(quick=True).pairs(9) == 2
    assert Bench(quick=True).peak(lambda: None) == 1.0


def test_the_committed_results_have_all_parts_and_callbacks():
    results = read_json(Path(__file__).parents[2] / "benchmarks/results/speed-cpu.json")
    assert tuple(results) == tuple(part for part in PARTS if part != "variants")  # of a GPU
    assert {row["side"] for row in results["stall"]["rows"]} == {OURS, IN_PLACE, HAND_WRITTEN}
    assert [row["what"] for row in results["growth"]["rows"]] == [
        "images",
        "layers",
        "methods",
        "validations",
    ]
