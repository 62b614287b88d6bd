"""Every example runs as a script with `--quick`, logs metrics and prints them."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:CAMCallback. (cam/|CONFIRMED)"),  # some are about alerts
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]


def run(name, monkeypatch, *arguments):
    """Run an example as a script."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def events_in(folder):
    (file,) = folder.rglob("events.out.tfevents.*")
    return EventAccumulator(str(file), size_guidance={"images": 0}).Reload()


@pytest.mark.slow
def test_crops_compares_training_and_validation(tmp_path, monkeypatch, capsys):
    run("crops.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert "few: 12 training images" in printed
    assert re.search(r"enrichment( +-?\d+\.\d\d){3}\n", printed)
    scalars = events_in(tmp_path / "few").Tags()["scalars"]
    assert {"cam/train/enrichment", "cam/val/enrichment", "cam/gap/enrichment"} <= {*scalars}


@pytest.mark.slow
@pytest.mark.sweep
def test_a_network_that_overfits_crops_looks_elsewhere_in_new_ones(tmp_path, monkeypatch):
    import crops

    monkeypatch.setattr(crops, "EVALUATIONS", 1)
    metrics = crops.run("few", 0, tmp_path).metrics
    assert metrics["train_acc"] > 0.9
    assert metrics["val_acc"] < 0.4
    assert metrics["cam/gap/relevance_rank"] > 0.05


@pytest.mark.slow
def test_chest_xray_has_a_map_for_each_finding(tmp_path, monkeypatch, capsys):
    run("chest_xray.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert "val_auroc" in printed
    assert "cam/enrichment/gradcam@net.features.denseblock3" in printed
    tags = " ".join(events_in(tmp_path).Tags()["images"])
    assert "nodule" in tags
    assert "effusion" in tags


def chest_files(folder):
    """Write a folder like the unpacked ChestX-ray14 archive; patient 10 is for validation."""
    names = [f"000000{patient:02d}_00{n}.png" for patient in (1, 2, 10, 20, 31) for n in range(3)]
    (folder / "images_001" / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID"]
    for i, name in enumerate(names):
        pixels = draw.integers(0, 255, (256, 256), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images_001" / "images" / name)
        found = ("No Finding", "Effusion|Nodule", "Nodule", "Effusion")[i % 4]
        lines.append(f"{name},{found},0,{int(name[:8])}")
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    (folder / "train_val_list.txt").write_text("\n".join(names[:12]) + "\n")
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    boxes += [f"{name},Effusion,64.5,128.2,32.0,64.0,,," for name in [*names[13:], names[0]]]
    (folder / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    return names


def test_chestxray14_reads_the_unpacked_archive(tmp_path):
    names = chest_files(tmp_path)
    data = runpy.run_path(str(EXAMPLES / "chest_xray.py"))["ChestXray14"]
    train, val, boxed = (data(tmp_path, split, side=128) for split in ("train", "val", "boxed"))
    assert train.names == names[:6]
    assert val.names == names[6:12]  # by patient
    assert boxed.names == names[13:]  # none of the training images
    item = boxed[0]
    assert item["image"].shape == (3, 128, 128)
    assert [name for name, is_ in zip(boxed.classes, item["label"], strict=True) if is_] == [
        "Effusion",
        "Nodule",
    ]
    rows, columns = item["mask"].nonzero(as_tuple=True)
    assert (int(columns.min()), int(columns.max())) == (32, 47)
    assert (int(rows.min()), int(rows.max())) == (64, 95)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No (positive|negative) samples in targets")  # 14 findings
def test_chest_xray_runs_on_a_folder_of_chestxray14(tmp_path, monkeypatch, capsys):
    chest_files(tmp_path / "nih")
    out = tmp_path / "runs"
    run("chest_xray.py", monkeypatch, "--quick", "--chestxray14", tmp_path / "nih", "--out", out)
    assert "cam/enrichment " in capsys.readouterr().out
    assert "Effusion" in " ".join(events_in(out).Tags()["images"])


@pytest.mark.slow
def test_plain_loop_monitors_without_a_trainer(tmp_path, monkeypatch, capsys):
    run("plain_loop.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert re.search(r"^epoch 1  accuracy +\d+%  cam/enrichment \d+\.\d\d$", printed, re.MULTILINE)
    assert f"report      {tmp_path / 'report.html'}\n" in printed
    assert (tmp_path / "lightning_cam" / "cam.jsonl").exists()


def test_the_monitor_takes_at_most_ten_lines_of_the_plain_loop():
    code = (EXAMPLES / "plain_loop.py").read_text(encoding="utf-8").split('"""', 2)[2]
    words = re.compile(r"monitor|evaluation|alert|enrichment|lightning_cam", re.IGNORECASE)
    used = [line for line in code.splitlines() if words.search(line) and '"""' not in line]
    assert 0 < len(used) <= 10, used


@pytest.mark.slow
def test_vit_rollout_logs_rollout_beside_gradcam(tmp_path, monkeypatch, capsys):
    run("vit_rollout.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    for method in ("gradcam", "rollout@attention", "gradient_attention@attention"):
        assert re.search(rf"^{method} +\d\.\d\d +\d\.\d\d$", printed, re.MULTILINE), method


@pytest.mark.slow
def test_detector_fpn_prints_each_level(tmp_path, monkeypatch, capsys):
    run("detector_fpn.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert re.search(r"^fpn\[0\] +\d+% ", printed, re.MULTILINE)
    assert re.search(r"^fpn\[1\] +\d+% ", printed, re.MULTILINE)


def test_detector_fpn_pools_small_boxes_from_the_fine_level(monkeypatch):
    example = runpy.run_path(str(EXAMPLES / "detector_fpn.py"))
    torch.manual_seed(0)
    network = example["make_network"](4, 96)
    pool = network.roi_heads.box_roi_pool
    features = {"0": torch.zeros(1, 48, 12, 12), "1": torch.zeros(1, 48, 6, 6)}
    features["0"] += 1
    boxes = torch.tensor([[10.0, 10.0, 30.0, 30.0], [10.0, 10.0, 46.0, 46.0]])
    small, large = pool(features, [boxes], [(96, 96)])
    assert small.min() > 0
    assert large.max() == 0


@pytest.mark.slow
def test_wandb_stays_offline_and_stores_the_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "online")  # the example must override it
    run("with_wandb.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in printed
    images = len([*(folder / "files/media/images").rglob("overlay*.jpg")])
    assert images
    assert int(re.search(r"(\d+) images", printed).group(1)) >= images


def pets_files(folder):
    """Write a folder laid out like Oxford-IIIT Pet: two breeds of four pets in each split."""
    root = folder / "oxford-iiit-pet"
    trimaps = root / "annotations" / "trimaps"
    trimaps.mkdir(parents=True)
    (root / "images").mkdir()
    draw = np.random.default_rng(0)
    for split in ("trainval", "test"):
        lines = []
        for breed, name in enumerate(("Abyssinian", "american_bulldog"), start=1):
            for n in range(4):
                pixels = draw.integers(0, 90, (80, 100, 3), dtype=np.uint8)
                trimap = np.full((80, 100), 2, np.uint8)
                trimap[20:60, 30:70] = 3  # the outline
                trimap[25:55, 35:65] = 1
                pixels[25:55, 35:65, breed] = 250
                image_id = f"{name}_{n + 10 * (split == 'test')}"
                Image.fromarray(pixels).save(root / "images" / f"{image_id}.jpg")
                Image.fromarray(trimap).save(trimaps / f"{image_id}.png")
                lines.append(f"{image_id} {breed} {breed} {n}")
        (root / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_pets_uses_the_trimaps_as_masks(tmp_path, monkeypatch, capsys):
    quick = ["--side", "64", "--epochs", "1", "--workers", "0", "--out", tmp_path / "runs"]
    run("pets.py", monkeypatch, "--data", pets_files(tmp_path), *quick)
    assert re.search(r"enrichment +\d\.\d\d", capsys.readouterr().out)
    tags = " ".join(events_in(tmp_path / "runs").Tags()["images"])
    assert "Abyssinian" in tags
    data = runpy.run_path(str(EXAMPLES / "pets.py"))["Pets"](tmp_path, "test", side=80)
    image, breed, mask = data[0]
    assert (image.shape, breed, mask.shape) == ((3, 80, 80), 0, (80, 80))
    rows, columns = mask.nonzero(as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (20, 59)  # the outline belongs to the pet
    assert (int(columns.min()), int(columns.max())) == (20, 59)


def test_pets_names_the_folder_without_data(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=re.escape(str(tmp_path))):
        run("pets.py", monkeypatch, "--data", tmp_path)


@pytest.mark.parametrize(
    "path",
    sorted(p for p in EXAMPLES.rglob("*.py") if p.stem not in ("demo", "digits", "picture")),
    ids=lambda path: path.stem,
)
def test_every_example_is_in_the_readme_and_lists_what_to_change(path):
    name = str(path.relative_to(EXAMPLES))
    assert f"({name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    if path.stem != "scenes":
        assert "For your own data, change these lines" in path.read_text(encoding="utf-8")
