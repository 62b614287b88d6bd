"""The command `export`."""

from helpers.recorded_run import Run, probe_of


def test_a_run_is_exported_into_its_folder(command, here):
    run = Run(here / "run")
    run.evaluate(0)
    code, out, err = command("export", "run", "--by", "off-object", "--count", 2)
    assert code == 0, err
    assert out.strip() == "run/export"
    assert "cam: 2 samples in run/export/worst.csv" in err
    names = {path.name for path in (here / "run" / "export").iterdir()}
    assert names == {"worst.csv", "labels.json", "data"}


def test_several_probes_have_a_folder_each(command, here):
    for tag in ("cam/train", "cam/val"):
        Run(here / "run", probe_of(), tag).evaluate(0)
    code, _, err = command("export", "run", "--out", "out")
    assert code == 0, err
    assert sorted(path.name.partition("-")[0] for path in (here / "out").iterdir()) == [
        "cam_train",
        "cam_val",
    ]


def test_wrong_input_is_one_line_and_leaves_nothing(command, here):
    Run(here / "run").evaluate(0)
    for arguments, message in (
        (("nothing",), "no such folder"),
        ((".",), "expected the folder of a run with lightning_cam/*.jsonl"),
        (("run", "--by", "best"), "expected an order of off-object, wrong, moved"),
        (("run", "--by", "moved"), "expected an evaluation before"),
        (("run", "--count", "0"), "expected --count as an integer of 1 or more"),
        (("run", "--out", "run"), "expected --out as a new or empty folder"),
    ):
        code, out, err = command("export", *arguments)
        assert code == 2
        assert out == ""
        assert message in err
        assert len(err.splitlines()) == 1
    assert not (here / "run" / "export").exists()
