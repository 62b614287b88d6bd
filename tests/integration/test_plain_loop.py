"""`CAMMonitor` in a plain training loop gives what `CAMCallback` gives in a Lightning training."""

import json
import math
from collections import OrderedDict

import pytest
import torch
from helpers.records import alerts_in, assert_close, record_lines
from helpers.training import QUIET, MetricsLog, convnet, fit, history_of, loader, squares_probe
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F

from lightning_cam import CAMCallback, CAMMonitor, Threshold

EPOCHS = 4
OPTIONS = {
    "method": ["gradcam", "layercam"],
    "alerts": [
        Threshold("enrichment", below=9.0, patience=2),
        Threshold("background_reliance", above=-2.0, patience=1, warmup=0),
    ],
    "interventions_every": 2,
    "num_pictures": 2,
}
pytestmark = QUIET


def make_network(seed=0):
    """Return the network of `helpers.training.Module`, its layers under the same names."""
    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(net=convnet()))


def train(monitor, epochs=range(EPOCHS), network=None):
    """Train as `helpers.training.fit` does, and evaluate after each epoch."""
    network = make_network() if network is None else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    evaluations = []
    for epoch in epochs:
        network.train()
        for images, labels, _ in loader():
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        step = 4 * (epoch + 1) - 1  # Lightning counts from 0
        evaluations.append(monitor.evaluate(network, epoch=epoch, step=step))
    return evaluations


def test_metrics_alerts_record_and_report_are_those_of_the_callback(tmp_path):
    log, callback = MetricsLog(), CAMCallback(squares_probe(8), on_alert=(), **OPTIONS)
    fit(tmp_path / "lightning", callback, log, max_epochs=EPOCHS)
    monitor = CAMMonitor(squares_probe(8), log_dir=tmp_path / "plain", **OPTIONS)
    evaluations = train(monitor)
    report = monitor.close()

    for logged, evaluation in zip(log.metrics, evaluations, strict=True):
        expected = {k.removeprefix("cam/"): v for k, v in logged.items() if k.startswith("cam/")}
        assert expected.keys() >= evaluation.metrics.keys()
        for name, value in evaluation.metrics.items():
            assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-6, nan_ok=True), name
    assert {alert.metric for alert in monitor.alerts} == {"enrichment", "background_reliance"}
    raised = [alert for each in evaluations for alert in each.alerts]
    assert raised == monitor.alerts
    assert_close(alerts_in(tmp_path / "plain"), alerts_in(tmp_path / "lightning"))
    assert [alert.as_dict() for alert in raised] == alerts_in(tmp_path / "plain")
    assert_close(record_lines(tmp_path / "plain"), record_lines(tmp_path / "lightning"))
    assert report == tmp_path / "plain" / "report.html"
    assert "Enrichment" in report.read_text()
    assert image_names(tmp_path / "plain") == image_names(tmp_path / "lightning")
    assert monitor.history.count == history_of(callback).count == EPOCHS


def image_names(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*.png"))


def test_the_training_is_as_without_the_monitor(tmp_path):
    class NoMonitor:
        def evaluate(self, network, **_):
            return [p.clone() for p in network.parameters()]

    without = train(NoMonitor())
    network = make_network()
    with CAMMonitor(squares_probe(8), log_dir=tmp_path, **OPTIONS) as monitor:
        train(monitor, network=network)
    for expected, found in zip(without[-1], network.parameters(), strict=True):
        assert torch.equal(expected, found)
    assert network.training
    assert (tmp_path / "report.html").exists()


def test_scalars_images_and_alerts_reach_loggers(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="tb")
    with CAMMonitor(squares_probe(8), loggers=[logger], **OPTIONS) as monitor:
        train(monitor)
    logger.save()
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    assert [each.step for each in events.Scalars("cam/enrichment")] == [3, 7, 11, 15]
    assert [each.step for each in events.Images("cam/timeline")] == [3, 7, 11, 15]
    assert any("cam/alerts" in tag for tag in events.Tags()["tensors"])
    assert (tmp_path / "tb" / "version_0" / "report.html").exists()


def test_two_probes_are_evaluated_by_name(tmp_path):
    probes = {"train": squares_probe(seed=1), "val": squares_probe(seed=2)}
    rule = Threshold("gap/entropy", above=-2.0, patience=1, warmup=0)
    monitor = CAMMonitor(probes, log_dir=tmp_path, alerts=[rule])
    (evaluations,) = train(monitor, epochs=range(1))
    assert list(evaluations) == ["train", "val"]
    expected = evaluations["train"].metrics["entropy"] - evaluations["val"].metrics["entropy"]
    assert evaluations["val"].metrics["gap/entropy"] == pytest.approx(expected)
    assert [alert.metric for alert in evaluations["val"].alerts] == ["gap/entropy"]
    assert list(monitor.history) == ["train", "val"]


def test_a_monitor_continues_from_its_state(tmp_path):
    networks = [make_network(seed) for seed in range(4)]
    whole, first, second = (CAMMonitor(squares_probe(8), **OPTIONS) for _ in range(3))
    expected = [whole.evaluate(network) for network in networks]
    for network in networks[:2]:
        first.evaluate(network)
    torch.save(first.state_dict(), tmp_path / "monitor.pt")
    second.load_state_dict(torch.load(tmp_path / "monitor.pt", weights_only=True))
    found = [second.evaluate(network) for network in networks[2:]]
    assert any(evaluation.alerts for evaluation in expected[2:])
    for one, other in zip(found, expected[2:], strict=True):
        assert (one.epoch, one.snapshot.index) == (other.epoch, other.snapshot.index)
        assert one.metrics == pytest.approx(other.metrics, nan_ok=True)
        assert one.alerts == other.alerts


def test_without_a_folder_and_loggers_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CAMMonitor(squares_probe(8), **OPTIONS) as monitor:
        (evaluation,) = train(monitor, epochs=range(1))
    assert monitor.close() is None
    assert list(tmp_path.iterdir()) == []
    assert math.isfinite(evaluation.metrics["enrichment"])
    assert evaluation.maps["gradcam", "net.3"].shape == (8, 8, 8)
    assert json.dumps([alert.as_dict() for alert in evaluation.alerts])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": "gradcam"}, TypeError, "unknown argument 'methods'. Did you mean 'method'"),
        ({"method": "grad-cam"}, ValueError, "Did you mean 'gradcam'"),
        ({"num_pictures": -1}, ValueError, "expected num_pictures as an integer of 0 or more"),
        ({"panels": ["overlays"]}, ValueError, "Did you mean 'overlay'"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        CAMMonitor(squares_probe(8), **options)


def test_a_probe_that_is_none_is_refused():
    with pytest.raises(TypeError, match="expected probe 'probe' as a Probe, got a Tensor"):
        CAMMonitor(torch.rand(2, 3, 16, 16))
