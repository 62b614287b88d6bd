"""`lightning-cam replay`: the metrics that `CAMCallback` would have logged, from checkpoints."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import cli_nets
from helpers.records import alerts_in
from helpers.replaying import assert_same_metrics, train
from helpers.training import history_of
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from PIL import Image

from lightning_cam import CAMCallback, Probe
from lightning_cam.output.record import read_run

NETS = "helpers.cli_nets"
sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:CAMCallback. cam/"),  # some of these trainings raise alerts
    pytest.mark.filterwarnings("ignore:.*Trainer.* is configured to .*:UserWarning"),
]


@pytest.fixture
def loader():
    return cli_nets.val_loader()


REPLAY = ("replay", f"{NETS}:Lit", "checkpoints", "--probe", f"{NETS}:val_loader")


def test_metrics_steps_alerts_and_record_are_those_of_the_live_training(here, command, loader):
    callback = CAMCallback()
    live = train(here, cli_nets.Lit(6), callback, train=loader, val=loader)
    code, out, err = command(*REPLAY)
    assert code == 0, err
    assert_same_metrics(here / "replay", live)
    assert (here / "replay" / "report.html").stat().st_size > 10_000
    assert alerts_in("replay") == alerts_in(here)
    assert out.splitlines()[-2] == "3 checkpoints, 0 alerts  -> replay"
    assert "monitors 16 images with masks" in err
    history = history_of(callback)
    (record,) = read_run("replay")
    assert record.fingerprint == callback.probes["val"].fingerprint
    for evaluation, snapshot in zip(record.evaluations, history.timeline(), strict=True):
        (maps,) = snapshot.maps.values()
        least = maps.amax(dim=(1, 2)).view(-1, 1, 1) / 500  # the record has 8 bits per cell
        assert (torch.from_numpy(evaluation.maps[0].values()) - maps).abs().le(least).all()
        assert list(evaluation.predictions) == snapshot.predictions.tolist()


@pytest.mark.slow
@pytest.mark.sweep  # the demo is replayed in its own tests
def test_the_digits_of_the_examples_with_a_shortcut(here, command, monkeypatch):
    import digits

    torch.manual_seed(0)
    loaders = digits.make_loaders(0.95, 0)
    few = {"limit_train_batches": 12, "limit_val_batches": 1, "max_epochs": 2}
    live = train(
        here, digits.DigitsModule(), CAMCallback(), train=loaders.train, val=loaders.val, **few
    )
    monkeypatch.setattr(cli_nets, "digits_val", loaders.val, raising=False)
    code, _, err = command(
        "replay", "digits:DigitsModule", "checkpoints", "--probe", f"{NETS}:digits_val",
        "--no-report",
    )  # fmt: skip
    assert code == 0, err
    assert_same_metrics(here / "replay", live)
    assert alerts_in("replay") == alerts_in(here)


@pytest.mark.slow
def test_the_best_evaluation_is_by_what_modelcheckpoint_monitored(here, command, loader):
    checkpoint = ModelCheckpoint(
        dirpath=here / "checkpoints", save_top_k=-1, monitor="val_loss", mode="max"
    )  # the worst loss counts as the best, unlike by default
    live = train(
        here, cli_nets.Lit(6), CAMCallback(), train=loader, val=loader, checkpoint=checkpoint
    )
    assert command(*REPLAY, "--no-report")[0] == 0
    assert_same_metrics(here / "replay", live)
    assert any(logged["cam/jsd_best"] > 0 for _, _, logged in live)


@pytest.mark.slow
def test_several_validations_an_epoch_and_two_optimizers(here, command, loader):
    live = train(
        here, cli_nets.TwoOptimizers(6), CAMCallback(), train=loader, val=loader,
        val_check_interval=0.5, max_epochs=2,
    )  # fmt: skip
    code, _, err = command(*REPLAY[:1], f"{NETS}:TwoOptimizers", *REPLAY[2:], "--no-report")
    assert code == 0, err
    assert len(live) == 4
    assert_same_metrics(here / "replay", live)


@pytest.mark.slow
def test_without_a_validation_loop(here, command, loader):
    callback = CAMCallback(cli_nets.probe())
    live = train(here, cli_nets.LitWithoutValidation(6), callback, train=loader, val=None)
    code, _, err = command(
        "replay", f"{NETS}:LitWithoutValidation", "checkpoints", "--probe", f"{NETS}:probe",
        "--no-report",
    )  # fmt: skip
    assert code == 0, err
    assert_same_metrics(here / "replay", live)


@pytest.mark.slow
def test_options_are_those_of_the_callback(here, command, loader):
    callback = CAMCallback(
        method=["layercam", "gradcam"], layers=["network.2", "network.4"], target="prediction",
        interventions_every=1, num_pictures=2, probe_size=6, seed=3,
    )  # fmt: skip
    live = train(here, cli_nets.Lit(6), callback, train=loader, val=loader)
    code, _, err = command(
        *REPLAY, "--no-report", "--method", "layercam", "--method", "gradcam", "--pictures",
        "--layer", "network.2,network.4", "--target", "prediction", "--interventions-every", 1,
        "--num-pictures", 2, "--probe-size", 6, "--seed", 3,
    )  # fmt: skip
    assert code == 0, err
    assert_same_metrics(here / "replay", live)
    assert len(read_run("replay")[0].images) == 6  # like a live record, of up to 32 images
    names = {path.parent.name for path in Path("replay").rglob("overlay/**/epoch=0002-step=*.png")}
    assert len(names) == 2


@pytest.mark.slow
def test_alerts_are_those_of_the_live_training_and_no_failure(here, command, loader):
    callback = CAMCallback(cli_nets.probe_elsewhere(), interventions_every=1)
    train(here, cli_nets.Lit(12), callback, train=loader, val=loader, max_epochs=6)
    live = alerts_in(here)
    assert live
    code, out, _ = command(*REPLAY[:3], "--probe", f"{NETS}:probe_elsewhere", "--no-report",
                           "--interventions-every", 1)  # fmt: skip
    assert code == 0
    for alert, replayed in zip(live, alerts_in("replay"), strict=True):
        for key in ("metric", "epoch", "step"):
            assert alert[key] == replayed[key]
        assert alert["value"] == pytest.approx(replayed["value"], abs=1e-5)
        assert replayed["message"] in out


@pytest.mark.parametrize("source", [f"{NETS}:dataset", f"{NETS}:Data", "probe.pt", "probe"])
def test_probes_of_every_kind(here, command, loader, source):
    train(here, cli_nets.Lit(6), train=loader, val=loader, max_epochs=1)
    images, labels, masks = cli_nets.squares()
    torch.save({"images": images[:4], "targets": labels[:4], "masks": masks[:4]}, "probe.pt")
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        for folder, values in (("probe", image), ("masks", masks[i].float().expand(3, -1, -1))):
            path = here / folder / f"class {label}" / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (values * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(path)
    extra = ("--masks", "masks", "--size", 16, "--mean", 0, "--std", 1) if source == "probe" else ()
    code, _, err = command(*REPLAY[:3], "--probe", source, "--no-report", *extra)
    assert code == 0, err
    (record,) = read_run("replay")
    (evaluation,) = record.evaluations
    assert "enrichment" in evaluation.metrics
    expected = {
        f"{NETS}:dataset": Probe.from_dataset(cli_nets.dataset()),
        f"{NETS}:Data": Probe.from_dataloader(loader),
        "probe.pt": cli_nets.probe(),
    }
    if source in expected:
        assert record.fingerprint == expected[source].fingerprint
    else:
        assert record.class_names == ("class 0", "class 1", "class 2", "class 3")
        assert record.ids[:2] == ("class 0/00.png", "class 0/04.png")
        assert list(record.targets) == sorted(labels.tolist())


def test_a_probe_of_a_folder_has_the_pixels_of_its_files(here, command):
    from lightning_cam.cli.images import Preparation
    from lightning_cam.cli.probes import Sampling, probe_from

    images, _, masks = cli_nets.squares()
    for i in range(16):
        for folder, values in (("images", images[i]), ("masks", masks[i].float()[None])):
            (here / folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            pixels = (values * 255).round().byte().permute(1, 2, 0).numpy().squeeze()
            Image.fromarray(pixels).save(here / folder / "ab"[i % 2] / f"{i}.png")
    ready = Preparation((16, 16), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    probe = probe_from("images", Sampling(6), ready, masks=Path("masks"))
    assert probe.targets.tolist() == [0, 0, 0, 1, 1, 1]
    for row, name in enumerate(probe.ids):
        number = int(name.split("/")[1].removesuffix(".png"))
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (ready.mean, ready.std))
        assert probe.images[row] * std + mean == pytest.approx(images[number], abs=0.003)
        assert torch.equal(probe.masks[row], masks[number])
    swapped = probe_from("images", Sampling(6), ready, class_names=["b", "c", "a"])
    assert swapped.targets.tolist() == [2, 2, 2, 0, 0, 0]
    assert swapped.class_names == ("b", "c", "a")


def test_state_dicts_are_ordered_by_the_numbers_in_their_names(here, command):
    (here / "saved").mkdir()
    for number in (1, 2, 10):
        model = cli_nets.net()
        torch.nn.init.zeros_(model[-1].weight)
        model[-1].bias.data[0] = number  # later checkpoints are more confident
        torch.save(model.state_dict(), here / "saved" / f"epoch_{number}.pth")
    code, _, err = command(
        "replay",
        f"{NETS}:net",
        "saved",
        "--probe",
        f"{NETS}:probe",
        "--no-report",
    )
    assert code == 0, err
    assert "in the order of their names" in err
    (record,) = read_run("replay")
    assert [each.step for each in record.evaluations] == [0, 1, 2]
    first, second, third = (each.confidences[0] for each in record.evaluations)
    assert 0.4 < first < second < third


def test_a_checkpoint_of_the_same_step_is_left_out(here, command, loader):
    checkpoint = ModelCheckpoint(dirpath=here / "checkpoints", save_top_k=-1, save_last=True)
    train(here, cli_nets.Lit(6), train=loader, val=loader, checkpoint=checkpoint, max_epochs=2)
    code, out, err = command(*REPLAY, "--no-report")
    assert code == 0, err
    assert "last.ckpt is left out: of the same step as epoch=1" in err
    assert "\n2 checkpoints, 0 alerts  -> replay\n" in out


def test_a_checkpoint_saved_after_the_training(here, command, loader):
    from lightning_cam.runtime.checkpoints import TrainingTime, training_time_of

    module = cli_nets.Lit(6)
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=2, default_root_dir=here, **settings, **quiet)
    trainer.fit(module, loader, loader)
    trainer.save_checkpoint("end.ckpt")
    saved = torch.load("end.ckpt", weights_only=True)
    assert (saved["epoch"], saved["global_step"]) == (2, 4)
    assert training_time_of(saved) == TrainingTime(1, 3)


@pytest.mark.slow
def test_a_training_stopped_early_with_another_monitor(here, command, loader):
    stop = EarlyStopping("val_loss", patience=1, min_delta=9.0)
    live = train(here, cli_nets.Lit(6), CAMCallback(monitor="val_loss", mode="min"), stop,
                 train=loader, val=loader, max_epochs=5,
                 checkpoint=ModelCheckpoint(dirpath=here / "checkpoints", save_top_k=-1,
                                      monitor="val_loss"))  # fmt: skip
    assert command(*REPLAY, "--no-report")[0] == 0
    assert len(live) == 2
    assert_same_metrics(here / "replay", live)


def test_a_folder_of_photographs_without_labels_or_masks(here, command):
    (here / "saved").mkdir()
    (here / "photos").mkdir()
    torch.save(cli_nets.net().state_dict(), here / "saved" / "one.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "photos" / "a.png")
    code, _, err = command(
        "replay", f"{NETS}:net", "saved", "--probe", "photos", "--size", 16, "--no-report"
    )
    assert code == 0, err
    (record,) = read_run("replay")
    assert record.targets is None
    assert record.ids == ("a.png",)
    assert alerts_in("replay") == []
