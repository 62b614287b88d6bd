"""`CAMTrainerCallback` in trainings of Hugging Face's `Trainer`."""

import contextlib
import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import hf_training
from helpers.hf_training import Classifier, Samples
from helpers.processes import run_python
from helpers.records import record_lines
from helpers.training import QUIET, squares_probe
from helpers.wandb_file import RunFile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cam import CAMTrainerCallback, Threshold

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:CAMTrainerCallback. cam/"),  # alerts
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]
SMALL = {"num_pictures": 0, "panels": (), "alerts": (), "report": False}
DRAWN = {"num_pictures": 2, "panels": ("overlay", "timeline")}
TESTS = Path(__file__).parents[1]
RULE = Threshold("entropy", above=0.01, patience=1, warmup=0)


def small(probe=None, **options):
    return CAMTrainerCallback(squares_probe(4) if probe is None else probe, **{**SMALL, **options})


def train(folder, *callbacks, resume=None, **settings):
    trainer = hf_training.make_trainer(folder, *callbacks, **settings)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def logged(trainer, name):
    """Return a metric's values in the trainer's own history."""
    return [row[f"eval_{name}"] for row in trainer.state.log_history if f"eval_{name}" in row]


def evaluations_in(folder):
    (lines,) = record_lines(folder).values()
    return lines[1:]


# --- what reaches the trainer ---------------------------------------------------------------------


def test_scalars_are_in_the_trainers_history_and_metrics(tmp_path):
    callback = small(strict=True, report=True)
    trainer = train(tmp_path, callback, num_train_epochs=2)
    entropies = logged(trainer, "cam/entropy")
    assert len(entropies) == 2
    rows = [row for row in trainer.state.log_history if "eval_cam/entropy" in row]
    assert [row["step"] for row in rows] == [4, 8]
    assert callback.metrics["cam/entropy"] == entropies[-1]
    assert trainer.evaluate()["eval_cam/entropy"] == pytest.approx(entropies[-1])
    assert [line["step"] for line in evaluations_in(tmp_path)] == [4, 8]  # not of `evaluate`
    assert (tmp_path / "report.html").exists()


def test_other_data_is_evaluated_apart(tmp_path):
    other = hf_training.Samples(16, seed=5)
    callback = small("val", strict=True)
    trainer = train(tmp_path / "a", callback, num_train_epochs=2)
    found = trainer.evaluate(other, metric_key_prefix="test")
    assert not [name for name in found if name.startswith("eval_")]
    assert "test_cam/drift_previous" not in found
    fresh = hf_training.make_trainer(
        tmp_path / "b",
        small("val", strict=True),
        model=trainer.model,
        eval_dataset=None,
        eval_strategy="no",
    )
    alone = fresh.evaluate(other)
    assert found["test_cam/entropy"] == pytest.approx(alone["eval_cam/entropy"], rel=1e-5)
    own = trainer.evaluate()["eval_cam/entropy"]
    assert own == pytest.approx(logged(trainer, "cam/entropy")[1])
    assert found["test_cam/entropy"] != pytest.approx(own, rel=1e-3)
    assert callback.metrics["cam/entropy"] == pytest.approx(own)


def test_the_same_data_made_again_is_no_other_data(tmp_path, capsys):
    trainer = train(tmp_path, small("val", strict=True))
    capsys.readouterr()
    again = trainer.evaluate(hf_training.Samples(16, seed=0), metric_key_prefix="test")
    assert again["eval_cam/entropy"] == pytest.approx(logged(trainer, "cam/entropy")[0])
    assert "monitors" not in capsys.readouterr().out  # what is known is not said again


def test_each_of_several_data_sets_has_its_metrics_outside_of_a_training(tmp_path):
    sets = {"near": hf_training.Samples(16, seed=0), "far": hf_training.Samples(16, seed=5)}
    trainer = train(tmp_path, small("val", strict=True), eval_dataset=sets)
    found = trainer.evaluate()
    assert found["eval_cam/entropy"] == pytest.approx(logged(trainer, "cam/entropy")[0])
    assert found["eval_far_cam/entropy"] != pytest.approx(found["eval_cam/entropy"], rel=1e-3)


def test_data_without_images_costs_one_warning(tmp_path):
    class Texts(hf_training.Samples):
        def __getitem__(self, index):
            return {"pixel_values": torch.zeros(4), "labels": 0}

    class Answers(hf_training.Classifier):
        def forward(self, pixel_values, labels=None):
            if pixel_values.ndim < 4:
                return {"loss": torch.zeros(()), "logits": torch.zeros(len(pixel_values), 4)}
            return super().forward(pixel_values, labels)

    trainer = train(tmp_path, small("val"), model=Answers())
    with pytest.warns(RuntimeWarning, match="the evaluation of other data"):
        found = trainer.evaluate(Texts(8))
    assert "eval_loss" in found
    assert not [name for name in found if "cam/" in name]


def test_the_best_model_is_chosen_by_a_metric_of_the_callback(tmp_path):
    settings = {"metric_for_best_model": "cam/entropy", "greater_is_better": False}
    trainer = train(tmp_path, small(), num_train_epochs=3, save_strategy="epoch", **settings)
    entropies = logged(trainer, "cam/entropy")
    assert trainer.state.best_metric == min(entropies)
    assert trainer.state.best_global_step == 4 * (1 + entropies.index(min(entropies)))
    assert "drift_best" in evaluations_in(tmp_path)[-1]["metrics"]


def test_early_stopping_reads_a_metric_of_the_callback(tmp_path):
    stopping = transformers.EarlyStoppingCallback(early_stopping_patience=1)
    settings = {"metric_for_best_model": "cam/entropy", "load_best_model_at_end": True}
    settings |= {"save_strategy": "epoch", "greater_is_better": True}
    trainer = train(tmp_path, small(), stopping, num_train_epochs=9, **settings)
    entropies = logged(trainer, "cam/entropy")
    assert len(entropies) < 9
    assert entropies[-1] <= max(entropies[:-1])


def test_skipped_evaluations_keep_the_metric_that_the_trainer_needs(tmp_path):
    settings = {"metric_for_best_model": "cam/entropy", "greater_is_better": True}
    callback = small(every_n_validations=2, metrics=["enrichment"])
    trainer = train(tmp_path, callback, num_train_epochs=2, save_strategy="epoch", **settings)
    assert len(logged(trainer, "cam/entropy")) == 1


def test_a_misspelt_metric_is_refused_before_the_training(tmp_path):
    model = Classifier()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match="Did you mean 'cam/entropy'"):
        train(tmp_path, small(), model=model, metric_for_best_model="cam/entropi")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_metric_of_another_callback_is_its_own(tmp_path):
    callbacks = [small(), small(tag="cam/b")]
    settings = {"metric_for_best_model": "cam/b/entropy", "greater_is_better": True}
    trainer = train(tmp_path, *callbacks, save_strategy="epoch", **settings)
    assert logged(trainer, "cam/entropy") == logged(trainer, "cam/b/entropy")
    assert trainer.state.best_metric == logged(trainer, "cam/b/entropy")[0]


def test_without_evaluations_it_evaluates_after_each_epoch(tmp_path):
    trainer = train(
        tmp_path, small(strict=True), eval_strategy="no", eval_dataset=None, num_train_epochs=2
    )
    assert len(logged(trainer, "cam/entropy")) == 2


def test_of_several_evaluation_data_sets_the_first_is_evaluated_once(tmp_path):
    datasets = {"a": Samples(8, seed=1), "b": Samples(8, seed=2)}
    callback = CAMTrainerCallback(probe_size=8, strict=True, **SMALL)
    trainer = train(tmp_path, callback, eval_dataset=datasets, num_train_epochs=2)
    assert len(logged(trainer, "cam/entropy")) == 2
    images = {image.numpy().tobytes() for image in Samples(8, seed=1).images}
    assert {image.numpy().tobytes() for image in callback.probes["val"].images} == images


# --- promises -------------------------------------------------------------------------------------


class Streams(transformers.TrainerCallback):
    """Keeps the state of all random streams at each step, and what the optimizer holds."""

    def __init__(self):
        self.states = []

    def on_step_end(self, args, state, control, optimizer=None, **_):
        momenta = [s["momentum_buffer"] for s in optimizer.state_dict()["state"].values()]
        self.states.append(
            (
                torch.get_rng_state().numpy().tobytes(),
                str(random.getstate()),
                np.random.get_state()[1].tobytes(),  # noqa: NPY002
                [momentum.numpy().tobytes() for momentum in momenta],
            )
        )


class Noisy(Classifier):
    """Draws from the random stream in training, and has buffers."""

    def __init__(self):
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        head = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Dropout(0.5))
        super().__init__(torch.nn.Sequential(*layers, *head, torch.nn.Linear(8, 4)))


WORKERS = {"dataloader_num_workers": 1, "remove_unused_columns": True}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="float32"),
        pytest.param({"bf16": True, "gradient_accumulation_steps": 2}, id="bf16"),
        pytest.param(WORKERS, id="workers", marks=pytest.mark.slow),
    ],
)
def test_the_training_is_bit_for_bit_as_without_the_callback(tmp_path, settings):
    found = []
    monitored = CAMTrainerCallback(probe_size=4, **{**SMALL, **DRAWN, "report": True})
    for name, callbacks in (("without", []), ("with", [monitored])):
        model, streams = Noisy(), Streams()
        trainer = train(
            tmp_path / name, *callbacks, streams, model=model, num_train_epochs=2, **settings
        )
        losses = logged(trainer, "loss")
        weights = {k: v.numpy().tobytes() for k, v in model.state_dict().items()}
        flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in model.modules()]
        grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        found.append((streams.states, losses, weights, flags, grads))
    assert len(found[0][0]) in (4, 8)
    assert found[0] == found[1]
    assert (tmp_path / "with" / "report.html").exists()


def test_the_model_runs_in_the_precision_of_the_trainer(tmp_path):
    dtypes = set()

    class Model(Classifier):
        def forward(self, pixel_values, labels=None):
            found = self.net[0](pixel_values)
            dtypes.add(found.dtype)
            return super().forward(pixel_values, labels)

    train(tmp_path, small(strict=True), model=Model(), bf16=True)
    assert dtypes == {torch.bfloat16}


def test_a_failure_costs_one_warning(tmp_path, monkeypatch):
    callback = small()
    trainer = hf_training.make_trainer(
        tmp_path,
        callback,
        num_train_epochs=3,
        metric_for_best_model="cam/entropy",
        greater_is_better=True,
        save_strategy="epoch",
    )

    def fail(*_, **__):
        raise RuntimeError("no maps today")

    monkeypatch.setattr("lightning_cam.monitor.probe_monitor.run_passes", fail)
    with pytest.warns(RuntimeWarning, match="no maps today") as caught:
        trainer.train()
    assert len([w for w in caught if "no maps today" in str(w.message)]) == 1
    assert trainer.state.global_step == 12
    assert math.isnan(trainer.evaluate()["eval_cam/entropy"])


def test_a_logger_that_is_down_costs_one_warning(tmp_path):
    class Down(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            if "eval_cam/entropy" in logs:
                raise OSError("the server is down")

    with pytest.warns(RuntimeWarning, match="the server is down"):
        trainer = train(tmp_path, small(), Down(), num_train_epochs=2)
    assert trainer.state.global_step == 8


def test_a_data_set_that_fails_is_named_before_the_training(tmp_path):
    class Broken(Samples):
        def __getitem__(self, index):
            raise OSError("no such file")

    callback = CAMTrainerCallback(**SMALL)
    with pytest.raises(OSError, match="no such file"):
        train(tmp_path, callback, eval_dataset=Broken())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": "gradcam"}, TypeError, "unknown argument 'methods'. Did you mean 'method'"),
        ({"on_alert": "halt"}, ValueError, "unknown action on_alert 'halt'"),
        ({"probe": "valid"}, ValueError, "expected probe 'train', 'val' or 'test'"),
        ({"probe_size": 0}, ValueError, "expected probe_size as an integer of 1 or more"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        CAMTrainerCallback(**arguments)


def test_a_probe_of_data_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="to choose a probe from, got none"):
        train(tmp_path, CAMTrainerCallback(), eval_dataset=None, eval_strategy="no")
    with pytest.raises(ValueError, match="expected probe 'val' or 'train', got 'test'"):
        train(tmp_path, CAMTrainerCallback("test"))


# --- alerts ---------------------------------------------------------------------------------------


def test_an_alert_warns_stops_saves_and_calls(tmp_path):
    seen = []
    callback = small(
        alerts=[RULE],
        on_alert=["warn", "stop", "checkpoint", lambda *args: seen.append(args)],
    )
    with pytest.warns(RuntimeWarning, match="cam/entropy is"):
        trainer = train(tmp_path, callback, num_train_epochs=5)
    assert trainer.state.global_step == 4
    assert (tmp_path / "checkpoint-4").is_dir()
    (alert, with_trainer, with_model) = seen[0]
    assert alert.metric == "entropy"
    assert (with_trainer, with_model) == (trainer, trainer.model)
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 1


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_resumed_training_remembers(tmp_path):
    whole = train(tmp_path / "whole", small(), num_train_epochs=4)
    settings = {"save_strategy": "epoch", "num_train_epochs": 4}
    train(tmp_path / "first", small(), **{**settings, "num_train_epochs": 2})
    moved = (tmp_path / "first" / "checkpoint-8").rename(tmp_path / "moved")
    resumed = train(tmp_path / "second", small(strict=True), resume=str(moved), **settings)
    for name in ("cam/entropy", "cam/drift_previous", "cam/drift_first"):
        assert logged(resumed, name) == pytest.approx(logged(whole, name), nan_ok=True), name
    json.loads((tmp_path / "moved" / "trainer_state.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["no base64", "bm8gemxpYg=="])
def test_a_damaged_state_costs_one_warning(tmp_path, damaged):
    train(tmp_path, small(), save_strategy="epoch")
    path = tmp_path / "checkpoint-4" / "trainer_state.json"
    state = json.loads(path.read_text())
    state["stateful_callbacks"]["lightning_cam/cam"] = damaged
    path.write_text(json.dumps(state))
    with pytest.warns(RuntimeWarning, match="what a checkpoint remembers"):
        trainer = train(tmp_path, small(), num_train_epochs=2, resume=str(path.parent))
    assert len(logged(trainer, "cam/entropy")) == 2  # one of them in the checkpoint


# --- loggers --------------------------------------------------------------------------------------


def test_tensorboard_gets_images_and_alerts_beside_the_scalars(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    callback = small(alerts=[RULE], on_alert=(), strict=True, **DRAWN)
    train(tmp_path, callback, report_to=["tensorboard"], num_train_epochs=2)
    events = EventAccumulator(str(tmp_path / "tb"), size_guidance={"images": 0}).Reload()
    assert [each.step for each in events.Scalars("eval/cam/entropy")] == [4, 8]
    assert [each.step for each in events.Images("eval/cam/timeline")] == [4, 8]
    assert any("eval/cam/alerts" in tag for tag in events.Tags()["tensors"])
    assert list(tmp_path.rglob("*.png")) == []


def test_without_a_logger_for_images_they_are_files(tmp_path):
    train(tmp_path, small(strict=True, **DRAWN))
    assert list(tmp_path.glob("cam/timeline/*.png"))


@pytest.mark.slow
def test_wandb_gets_images_at_the_trainers_step(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    settings = wandb.Settings(console="off", x_disable_stats=True)
    with wandb.init(project="p", settings=settings, dir=tmp_path):
        callback = small(alerts=[RULE], on_alert=(), strict=True, report=True, **DRAWN)
        train(tmp_path / "run", callback, report_to=["wandb"], num_train_epochs=2)
    run = RunFile(tmp_path)
    steps = [row["train/global_step"] for row in run.history if "eval/cam/timeline" in row]
    assert steps == [4, 8]
    assert len(run.of("eval/cam/entropy")) == 2
    assert run.summary["eval/cam/alerts/count"] == 1
    assert len(run.of("eval/cam/report")) == 1


@pytest.mark.slow
def test_mlflow_gets_images_of_a_run_that_has_ended(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    # The file store, whose data base need not be made; no telemetry.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with contextlib.suppress(ImportError):  # Comet copies every run of MLflow, as is its way
        from comet_ml.loggers import mlflow_logger

        monkeypatch.setattr(mlflow_logger, "_create_experiment", lambda *_: None)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    experiment = mlflow.create_experiment("cam")
    mlflow.set_experiment(experiment_id=experiment)
    train(
        tmp_path / "run",
        small(strict=True, report=True, **DRAWN),
        report_to=["mlflow"],
        num_train_epochs=2,
    )
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "eval_cam/entropy")]
    assert steps == [4, 8]
    names = [each.path for each in client.list_artifacts(run.info.run_id, "images")]
    assert any("eval_cam~timeline+step+8" in name for name in names)
    (report,) = client.list_artifacts(run.info.run_id, "eval_cam")
    assert report.path == "eval_cam/report.html"


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_agree_and_see_samples_of_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
    run_python("-m", "helpers.hf_ddp_run")
    first, second = (json.loads((tmp_path / f"rank{n}.json").read_text()) for n in range(2))
    assert first == second
    assert (first["world_size"], first["wrapper"]) == (2, "DistributedDataParallel")
    assert first["step"] == 4  # the alert after two epochs of two steps each has stopped both
    assert len(first["ids"]) == 12
    shares = {int(name.rpartition("-")[2]) // 4 % 2 for name in first["ids"]}
    assert shares == {0, 1}
    assert len(evaluations_in(tmp_path / "run")) == 2


# --- models and processors of the hub -------------------------------------------------------------


class Processor:
    """Has what is read of an image processor."""

    image_mean, image_std = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


class Normalised(Samples):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {**sample, "pixel_values": (sample["pixel_values"] - 0.5) / 0.25}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_models_of_the_hub_are_called_and_named_as_they_are(tmp_path, kind):
    names = {0: "up left", 1: "up right", 2: "down left", 3: "down right"}
    if kind == "vit":
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
            image_size=16, patch_size=4, id2label=names, label2id={v: k for k, v in names.items()},
        )  # fmt: skip
        model = transformers.ViTForImageClassification(config)
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic",
            id2label=names, label2id={v: k for k, v in names.items()},
        )  # fmt: skip
        model = transformers.ResNetForImageClassification(config)
    callback = CAMTrainerCallback(probe_size=4, strict=True, **SMALL)
    trainer = train(
        tmp_path, callback, model=model, eval_dataset=Normalised(), processing_class=Processor()
    )
    probe = callback.probes["val"]
    assert list(probe.class_names) == list(names.values())
    assert (list(probe.mean), list(probe.std)) == ([0.5] * 3, [0.25] * 3)
    assert math.isfinite(logged(trainer, "cam/entropy")[0])


def test_a_hook_outside_of_a_trainer_says_so():
    state = transformers.TrainerState()
    with pytest.raises(RuntimeError, match="In a loop of your own use CAMMonitor"):
        small().on_train_begin(None, state, None)


# --- the extra ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_transformers_is_imported_where_it_is_used_only():
    done = run_python(
        "-c",
        "import sys, lightning_cam\n"
        "lightning_cam.CAMMonitor, lightning_cam.compute_cams\n"
        "assert 'CAMTrainerCallback' not in lightning_cam.__all__  # nor of `import *`\n"
        "assert 'CAMTrainerCallback' in dir(lightning_cam)\n"
        "assert 'transformers' not in sys.modules\n"
        "sys.modules['transformers'] = None\n"
        "try: lightning_cam.CAMTrainerCallback\n"
        "except ImportError as error: print(error)",
    )
    assert "pip install 'lightning-cam[transformers]'" in done.stdout


@pytest.mark.slow
def test_lightning_is_not_imported_for_a_trainer():
    done = run_python(
        "-c",
        "import sys\n"
        "from lightning_cam import CAMTrainerCallback\n"
        "CAMTrainerCallback()\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'lightning'])",
    )
    assert done.stdout.strip() == "[]"
