"""Alerts in a training: where they are reported, once, and what their actions do."""

import json

import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    fit,
    fit_with_tensorboard,
    loader,
    make_trainer,
    scalar_steps,
    small,
    squares_probe,
)

from lightning_cam import Probe, Threshold

pytestmark = QUIET
ALWAYS = Threshold("entropy", below=2.0, patience=1, warmup=0)


def alerting(**options):
    return small(**{"probe": squares_probe(12), "alerts": [ALWAYS], "on_alert": (), **options})


def reported(folder):
    """Return the lines of all `alerts.jsonl` below a folder."""
    files = folder.rglob("alerts.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_an_alert_is_reported_once_everywhere(tmp_path):
    callback = alerting(on_alert="warn")
    with pytest.warns(UserWarning, match="cam/entropy is") as caught:
        _, events = fit_with_tensorboard(tmp_path, callback, max_epochs=3)
    assert len([w for w in caught if "cam/entropy" in str(w.message)]) == 1
    (alert,) = reported(tmp_path)
    assert (alert["metric"], alert["epoch"], alert["limit"]) == ("entropy", 0, 2.0)
    assert alert["verdict"] in ("confirmed", "contradicted", "saliency only")
    assert alert["evidence"]["background_reliance_low"] is not None
    (tag,) = [tag for tag in events.Tags()["tensors"] if "cam/alerts" in tag]
    assert b"cam/entropy is" in events.Tensors(tag)[0].tensor_proto.string_val[0]


def test_an_alert_can_stop_the_training(tmp_path):
    trainer = fit(tmp_path, alerting(on_alert="stop"), max_epochs=9)
    assert trainer.current_epoch == 1


def test_an_alert_can_save_a_checkpoint(tmp_path):
    fit(tmp_path, alerting(on_alert="checkpoint"), max_epochs=2)
    (path,) = tmp_path.rglob("alert-entropy-*.ckpt")
    assert "state_dict" in torch.load(path, weights_only=True)


def test_an_alert_can_call_a_function_and_several_actions(tmp_path):
    calls = []
    action = lambda alert, trainer, module: calls.append((alert.metric, trainer, module))
    trainer = fit(tmp_path, alerting(on_alert=[action, "stop"]), max_epochs=5)
    assert calls == [("entropy", trainer, trainer.lightning_module)]
    assert trainer.current_epoch == 1


def test_an_action_that_fails_costs_a_warning(tmp_path):
    def broken(*_):
        raise RuntimeError("the mail server is down")

    with pytest.warns(UserWarning, match="the mail server is down"):
        trainer = fit(tmp_path, alerting(on_alert=broken), max_epochs=2)
    assert trainer.current_epoch == 2


def test_rules_keep_their_state_over_a_resume(tmp_path):
    callback, module = alerting(), Module()
    trainer = fit(tmp_path, callback, module=module, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fit(tmp_path, alerting(), module=Module(), max_epochs=4, ckpt_path=tmp_path / "last.ckpt")
    assert len(reported(tmp_path)) == 1


def test_without_rules_there_are_no_alerts(tmp_path):
    fit(tmp_path, small(alerts=()), max_epochs=2)
    assert reported(tmp_path) == []


def test_a_rule_of_an_unknown_metric_fails_before_the_first_batch(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match=r"unknown metric in a rule 'enrichmnt'.*'enrichment'"):
        make_trainer(tmp_path, [small(alerts=[Threshold("enrichmnt", below=1.0)])]).fit(
            module, loader(), loader()
        )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alerts": ["enrichment"]}, TypeError, "rules such as Threshold"),
        ({"on_alert": "sotp"}, ValueError, "Did you mean 'stop'"),
        ({"interventions_every": -1}, ValueError, "interventions_every as an integer of 0"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)


def test_interventions_are_run_at_their_own_cadence(tmp_path):
    _, events = fit_with_tensorboard(
        tmp_path, small(interventions_every=3, probe=squares_probe(12), metrics="all"), max_epochs=8
    )
    due = [0, 1, 2, 3, 4, 6]  # the first five, then every third
    assert scalar_steps(events, "cam/background_reliance_se") == [4 * n + 3 for n in due]
    assert len(events.Scalars("cam/enrichment")) == 8


def test_between_interventions_other_callbacks_see_the_last_values(tmp_path):
    log = MetricsLog()
    fit(tmp_path, small(interventions_every=5, probe=squares_probe(12)), log, max_epochs=7)
    seen = log.of("cam/background_reliance_se")
    assert len(set(seen[:6])) > 1
    assert seen[6] == seen[5]
    assert log.of("cam/entropy")[6] != log.of("cam/entropy")[5]


def test_an_alert_says_that_masks_are_estimated(tmp_path):
    data = Squares(8, side=32)
    rule = Threshold("entropy", above=-1.0, patience=1, warmup=0)
    callback = small(probe=Probe(data.images, data.targets), estimate_masks=True, alerts=[rule])
    with pytest.warns(UserWarning, match="masks are estimated"):
        fit(tmp_path, callback, train=loader(Squares(side=32)), val=loader(Squares(side=32)))
    (alert,) = reported(tmp_path)
    assert alert["estimated"] is True
