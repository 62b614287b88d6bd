"""`lightning-cam replay`: what a past training would have logged, had the callback been there."""

import json
import math
import sys
from pathlib import Path

from helpers import cli_nets
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from PIL import Image

from lightning_cam import CAMCallback, Probe
from lightning_cam.output.record import read_run

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:CAMCallback. cam/"),  # some of these runs have alerts
    pytest.mark.filterwarnings("ignore:.*Trainer.* is configured to .*:UserWarning"),
]


class Ledger(Callback):
    """What was logged at each validation, with Lightning's own epoch and step."""

    def __init__(self):
        self.looks = []

    def _note(self, trainer, step):
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("cam")}
        self.looks.append((trainer.current_epoch, step, logged))

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self._note(trainer, trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_train_epoch_end(self, trainer, pl_module):
        if not trainer.fit_loop.epoch_loop.val_loop._data_source.is_defined():
            self._note(trainer, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)


def train(folder, module, *callbacks, train, val, keep=None, **settings):
    """Train with the callback, a checkpoint at every validation; return what was logged."""
    ledger = Ledger()
    keep = keep or ModelCheckpoint(dirpath=folder / "checkpoints", save_top_k=-1)
    trainer = Trainer(
        **{
            "max_epochs": 3,
            "callbacks": [*callbacks, ledger, keep],
            "logger": False,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            "log_every_n_steps": 1,
            **settings,
        }
    )
    trainer.fit(module, train, val)
    return ledger.looks


def assert_the_same(folder, live):
    """Compare a replay's record with what the live run logged."""
    (record,) = read_run(folder)
    assert [(look.epoch, look.step) for look in record.looks] == [(e, s) for e, s, _ in live]
    for look, (_, _, logged) in zip(record.looks, live, strict=True):
        assert len(look.metrics) > 10
        for name, value in look.metrics.items():
            assert math.isclose(value, logged[f"cam/{name}"], abs_tol=1e-5) or (
                math.isnan(value) and math.isnan(logged[f"cam/{name}"])
            ), (look.validation, name, value, logged[f"cam/{name}"])


def alerts_in(folder):
    path = Path(folder) / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def loader():
    return cli_nets.val_loader()


REPLAY = ("replay", "cli_nets:Lit", "checkpoints", "--probe", "cli_nets:val_loader")


def test_the_same_metrics_steps_alerts_and_record_as_live(here, command, loader):
    callback = CAMCallback()
    live = train(here, cli_nets.Lit(6), callback, train=loader, val=loader)
    code, out, err = command(*REPLAY)
    assert code == 0, err
    assert_the_same(here / "replay", live)
    assert (here / "replay" / "report.html").stat().st_size > 10_000
    assert alerts_in("replay") == alerts_in(here)
    assert out.splitlines()[-2] == "3 checkpoints, 0 alerts  -> replay"
    assert "watching 16 images with masks" in err
    history = callback._watches["val"].history
    (record,) = read_run("replay")
    assert record.fingerprint == callback.probes["val"].fingerprint
    for look, snapshot in zip(record.looks, history.timeline(), strict=True):
        (maps,) = snapshot.maps.values()
        least = maps.amax(dim=(1, 2)).view(-1, 1, 1) / 500  # the record has 8 bits a cell
        assert (torch.from_numpy(look.maps[0].values()) - maps).abs().le(least).all()
        assert list(look.predictions) == snapshot.predictions.tolist()


def test_the_examples_digits_with_a_shortcut(here, command, monkeypatch):
    digits = pytest.importorskip("digits")
    torch.manual_seed(0)
    loaders = digits.make_loaders(0.95, 0)
    few = {"limit_train_batches": 12, "limit_val_batches": 1, "max_epochs": 2}
    live = train(
        here, digits.DigitsModule(), CAMCallback(), train=loaders.train, val=loaders.val, **few
    )
    monkeypatch.setattr(cli_nets, "digits_val", loaders.val, raising=False)
    code, _, err = command(
        "replay", "digits:DigitsModule", "checkpoints", "--probe", "cli_nets:digits_val",
        "--no-report",
    )  # fmt: skip
    assert code == 0, err
    assert_the_same(here / "replay", live)
    assert alerts_in("replay") == alerts_in(here)


def test_the_best_validation_by_what_modelcheckpoint_monitored(here, command, loader):
    keep = ModelCheckpoint(
        dirpath=here / "checkpoints", save_top_k=-1, monitor="val_loss", mode="max"
    )  # the worst is the best, so that the default would pick another
    live = train(here, cli_nets.Lit(6), CAMCallback(), train=loader, val=loader, keep=keep)
    assert command(*REPLAY, "--no-report")[0] == 0
    assert_the_same(here / "replay", live)
    assert any(logged["cam/jsd_best"] > 0 for _, _, logged in live)


def test_several_validations_an_epoch_and_two_optimizers(here, command, loader):
    live = train(
        here, cli_nets.TwoOptimizers(6), CAMCallback(), train=loader, val=loader,
        val_check_interval=0.5, max_epochs=2,
    )  # fmt: skip
    code, _, err = command(*REPLAY[:1], "cli_nets:TwoOptimizers", *REPLAY[2:], "--no-report")
    assert code == 0, err
    assert len(live) == 4
    assert_the_same(here / "replay", live)


def test_without_a_validation_loop(here, command, loader):
    callback = CAMCallback(cli_nets.probe())
    live = train(here, cli_nets.LitWithoutValidation(6), callback, train=loader, val=None)
    code, _, err = command(
        "replay", "cli_nets:LitWithoutValidation", "checkpoints", "--probe", "cli_nets:probe",
        "--no-report",
    )  # fmt: skip
    assert code == 0, err
    assert_the_same(here / "replay", live)


def test_the_options_of_the_watch_are_the_callbacks(here, command, loader):
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
    assert_the_same(here / "replay", live)
    assert len(read_run("replay")[0].images) == 2
    assert list(Path("replay/cam/overlay").rglob("epoch=0002-step=*.png"))


def test_alerts_are_told_as_live_and_are_no_failure(here, command, loader):
    callback = CAMCallback(cli_nets.probe_elsewhere(), interventions_every=1)
    train(here, cli_nets.Lit(12), callback, train=loader, val=loader, max_epochs=6)
    told = alerts_in(here)
    assert told
    code, out, _ = command(*REPLAY[:3], "--probe", "cli_nets:probe_elsewhere", "--no-report",
                           "--interventions-every", 1)  # fmt: skip
    assert code == 0
    again = alerts_in("replay")
    for one, two in zip(told, again, strict=True):
        assert (one["metric"], one["epoch"], one["step"]) == (
            two["metric"],
            two["epoch"],
            two["step"],
        )
        assert one["value"] == pytest.approx(two["value"], abs=1e-5)
        assert two["message"] in out


@pytest.mark.parametrize("source", ["cli_nets:dataset", "cli_nets:Data", "probe.pt", "probe"])
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
    (look,) = record.looks
    assert "enrichment" in look.metrics
    expected = {
        "cli_nets:dataset": Probe.from_dataset(cli_nets.dataset()),
        "cli_nets:Data": Probe.from_dataloader(loader),
        "probe.pt": cli_nets.probe(),
    }
    if source in expected:
        assert record.fingerprint == expected[source].fingerprint
    else:
        assert record.class_names == ("class 0", "class 1", "class 2", "class 3")
        assert record.ids[:2] == ("class 0/00.png", "class 0/04.png")
        assert list(record.targets) == sorted(labels.tolist())


def test_a_folder_probe_is_what_the_files_hold(here, command):
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


def test_plain_state_dicts_go_by_the_numbers_in_their_names(here, command):
    (here / "saved").mkdir()
    for number in (1, 2, 10):
        model = cli_nets.net()
        torch.nn.init.zeros_(model[-1].weight)
        model[-1].bias.data[0] = number  # the surer, the later
        torch.save(model.state_dict(), here / "saved" / f"epoch_{number}.pth")
    code, _, err = command(
        "replay", "cli_nets:net", "saved", "--probe", "cli_nets:probe", "--no-report"
    )
    assert code == 0, err
    assert "in the order of their names" in err
    (record,) = read_run("replay")
    assert [look.step for look in record.looks] == [0, 1, 2]
    first, second, third = (look.confidences[0] for look in record.looks)
    assert 0.4 < first < second < third


def test_a_checkpoint_of_the_same_step_is_left_out(here, command, loader):
    keep = ModelCheckpoint(dirpath=here / "checkpoints", save_top_k=-1, save_last=True)
    train(here, cli_nets.Lit(6), train=loader, val=loader, keep=keep, max_epochs=2)
    code, out, err = command(*REPLAY, "--no-report")
    assert code == 0, err
    assert "last.ckpt is left out: of the same step as epoch=1" in err
    assert out.startswith("2 checkpoints")


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


def test_a_training_stopped_early_with_another_monitor(here, command, loader):
    stop = EarlyStopping("val_loss", patience=1, min_delta=9.0)
    live = train(here, cli_nets.Lit(6), CAMCallback(monitor="val_loss", mode="min"), stop,
                 train=loader, val=loader, max_epochs=5,
                 keep=ModelCheckpoint(dirpath=here / "checkpoints", save_top_k=-1,
                                      monitor="val_loss"))  # fmt: skip
    assert command(*REPLAY, "--no-report")[0] == 0
    assert len(live) == 2
    assert_the_same(here / "replay", live)


def test_photographs_without_labels_or_masks(here, command):
    (here / "saved").mkdir()
    (here / "photos").mkdir()
    torch.save(cli_nets.net().state_dict(), here / "saved" / "one.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "photos" / "a.png")
    code, _, err = command(
        "replay", "cli_nets:net", "saved", "--probe", "photos", "--size", 16, "--no-report"
    )
    assert code == 0, err
    (record,) = read_run("replay")
    assert record.targets is None
    assert record.ids == ("a.png",)
    assert alerts_in("replay") == []
