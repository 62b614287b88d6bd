"""DeepSpeed's stages 1 and 2 on two processes, where it is installed.

It is no test dependency, since Lightning runs it on GPUs only and it compiles a part of itself:
`pip install deepspeed`, then `python -m pytest tests/integration/test_deepspeed.py`.
"""

import json

import pytest
from helpers.processes import run_python

pytest.importorskip("deepspeed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deepspeed")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    run_python(*launch, "-m", "helpers.deepspeed_run", folder, "ddp", 1, 2, timeout=600)
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_training_does_not_notice(runs, stage, rank):
    monitored, alone = (runs[f"{stage}-{which}-{rank}"] for which in ("with", "without"))
    assert monitored["weights"] == alone["weights"]
    assert monitored["random"] == alone["random"]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_have_the_metrics_of_ddp(runs, stage, rank):
    found, expected = (runs[name]["metrics"] for name in (f"{stage}-with-{rank}", "ddp-with-0"))
    assert len(found) == 3
    for now, before in zip(found, expected, strict=True):
        ours = {name for name in before if name.startswith("cam/")}
        assert ours
        assert {n: now[n] for n in ours} == pytest.approx(
            {n: before[n] for n in ours}, abs=1e-5, nan_ok=True
        )
