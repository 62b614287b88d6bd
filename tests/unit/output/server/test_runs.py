"""Which runs are found below the served folders, and that nothing outside is opened."""

import os

import pytest

from lightning_cam.output.server.runs import find_runs, open_record, record_files


def run_at(folder, name="cam.jsonl"):
    file = folder / "lightning_cam" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}\n")
    return folder.resolve()


def test_runs_are_found_at_and_below_the_folders_in_natural_order(tmp_path):
    runs = [run_at(tmp_path / "logs" / f"version_{n}") for n in (2, 10, 1)]
    deep = run_at(tmp_path / "logs" / "version_1" / "a" / "b")
    (tmp_path / "logs" / "checkpoints").mkdir()
    assert find_runs([tmp_path / "logs"]) == [runs[2], deep, runs[0], runs[1]]
    assert find_runs([runs[0], tmp_path]) == [runs[0], runs[2], deep, runs[1]]
    assert find_runs([tmp_path / "logs" / "checkpoints", tmp_path / "missing"]) == []


def test_the_folder_of_the_records_stands_for_its_run(tmp_path):
    run = run_at(tmp_path / "run")
    run_at(run / "below")
    assert find_runs([run / "lightning_cam"]) == [run]


def test_hidden_folders_are_not_searched(tmp_path):
    run_at(tmp_path / ".replay.part")
    assert find_runs([tmp_path]) == []


def test_links_lead_nowhere(tmp_path):
    """Neither a folder, nor the folder of records, nor a record may be a link; a root may."""
    secret = run_at(tmp_path / "secret")
    served = tmp_path / "served"
    served.mkdir()
    (served / "folder").symlink_to(secret)
    (served / "records").mkdir()
    (served / "records" / "lightning_cam").symlink_to(secret / "lightning_cam")
    (served / "file" / "lightning_cam").mkdir(parents=True)
    (served / "file" / "lightning_cam" / "x.jsonl").symlink_to(secret / "lightning_cam/cam.jsonl")
    (served / "loop").symlink_to(served)
    assert find_runs([served]) == []
    (tmp_path / "root").symlink_to(secret)
    assert find_runs([tmp_path / "root"]) == [secret]


def test_a_file_that_became_a_link_is_not_opened(tmp_path):
    run, secret = run_at(tmp_path / "run"), tmp_path / "secret"
    secret.write_text("secret")
    (file,) = record_files(run)
    with open_record(file) as found:
        assert found.read() == b"{}\n"
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(OSError, match="got a link"):
        open_record(file)
    (run / "lightning_cam").rename(run / "moved")
    (run / "lightning_cam").symlink_to(run / "moved")
    with pytest.raises(OSError, match="got a link"):
        open_record(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_record_and_does_not_block(tmp_path):
    run = run_at(tmp_path / "run")
    os.mkfifo(run / "lightning_cam" / "pipe.jsonl")
    (run / "lightning_cam" / "folder.jsonl").mkdir()
    assert [file.name for file in record_files(run)] == ["cam.jsonl"]
    with pytest.raises(OSError, match="plain file"):
        open_record(run / "lightning_cam" / "pipe.jsonl")
