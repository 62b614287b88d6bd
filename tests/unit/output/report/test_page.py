"""The page as a file: what is in it, how large it is, and what cannot get out of its strings."""

import base64
import hashlib
import html.parser
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output.record import Recorder, read_run
from lightning_cam.output.report import write_report
from lightning_cam.output.report.page import run_names
from lightning_cam.output.report.payload import outline
from lightning_cam.output.report.wording import GROUPS, number, title_of, verdict


def alert(metric="enrichment", judged="confirmed", epoch=1, **changes):
    known = {"probe": "cam", "value": 0.4, "limit": 1.0, "step": 10 * epoch + 9}
    evidence = {"bg_gap_confidence": 0.5}
    return Alert(
        **{**known, **changes}, metric=metric, epoch=epoch, verdict=judged, evidence=evidence,
        worst=("00",),
    )  # fmt: skip


class Tags(html.parser.HTMLParser):
    """Collects elements, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words, self.inside = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def page(path):
    text = path.read_text(encoding="utf-8")
    tags = Tags(text)
    words = " ".join(" ".join(tags.words).split())
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    return SimpleNamespace(text=text, tags=tags, words=words, data=data)


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run one", probe_of(6, class_names=["cat", "dog", "owl"]))
    made.looks(3)
    return tmp_path / "run one"


# --- what is in it -------------------------------------------------------------------------------


def test_the_page_lies_in_the_run_and_holds_its_record(run):
    path = write_report([run])
    assert path == run / "report.html"
    made = page(path)
    (probe,) = made.data["runs"][0]["probes"]
    (record,) = read_run(run)
    assert probe["epochs"] == [0, 1, 2]
    assert probe["images"] == list(record.images)
    assert probe["maps"][0]["cells"] == [look.maps[0].cells for look in record.looks]
    assert probe["metrics"]["enrichment"] == pytest.approx(
        [look.metrics["enrichment"] for look in record.looks], rel=1e-3
    )
    assert probe["names"] == {"0": "cat", "1": "dog", "2": "owl"}
    assert "run one" in made.words
    layer = record.looks[0].maps[0].layer
    assert f"gradcam at {layer} · 3 validations, epochs 0 to 2" in made.words


def test_nothing_is_fetched_and_only_its_own_script_may_run(run):
    made = page(write_report([run]))
    for tag, attributes in made.tags.found:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    (policy,) = [a["content"] for a in made.tags.of("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    script = made.text.rsplit("<script>", 1)[1].split("</script>")[0]
    style = made.text.split("<style>", 1)[1].split("</style>")[0]
    for code in (script, style):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "http:" not in script.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https:|@import|url\(|innerHTML|insertAdjacent|document\.write|eval", script + style
    )


def test_without_scripts_the_numbers_are_there_as_a_table(run):
    made = page(write_report([run]))
    assert made.tags.of("noscript")
    assert "open" in next(a for a in made.tags.of("details") if a.get("id") == "all-numbers")
    (record,) = read_run(run)
    last = record.looks[-1].metrics["enrichment"]
    assert (
        f"Enrichment {number(record.looks[0].metrics['enrichment'])} {number(last)}" in made.words
    )


def test_settings_and_environment_are_told(run):
    made = page(write_report([run]))
    assert "alpha 0.7" in made.words
    assert f"torch {torch.__version__.split('+')[0]}" in made.words
    assert read_run(run)[0].fingerprint in made.words


def test_two_runs_are_one_page_that_leaves_their_own_alone(run, tmp_path):
    Run(tmp_path / "two").looks(5)
    own = write_report([run])
    both = write_report([run, tmp_path / "two"])
    assert own != both
    assert both.parent == run
    made = page(both)
    assert [r["name"] for r in made.data["runs"]] == ["run one", "two"]
    assert [len(r["probes"][0]["epochs"]) for r in made.data["runs"]] == [3, 5]
    assert "run one and two" in made.words


def test_several_probes_are_all_there(tmp_path):
    for tag in ("cam/train", "cam/val"):
        Run(tmp_path, tag=tag).looks(2)
    made = page(write_report(tmp_path))
    assert [p["tag"] for p in made.data["runs"][0]["probes"]] == ["cam/train", "cam/val"]
    assert "cam/train · 4 images" in made.words


@pytest.mark.parametrize(
    "kind",
    [{"masks": False}, {"labels": False}, {"several": True}, {"masks": False, "labels": False}],
)
def test_probes_that_know_less_or_more_have_a_page(tmp_path, kind):
    Run(tmp_path, probe_of(4, **kind)).looks(2)
    probe = page(write_report([tmp_path])).data["runs"][0]["probes"][0]
    assert (probe["outlines"] is None) == (kind.get("masks") is False)
    said = probe["shots"][-1]
    if kind.get("several"):
        assert len(said["row"]) > 4
        assert said["label"] == said["cls"]
    elif not kind.get("labels", True):
        assert set(said["label"]) == {-1}
    else:
        assert said["label"] == [0, 1, 2, 0]


def test_a_run_without_a_validation_and_one_without_pictures_have_a_page(tmp_path):
    Recorder(tmp_path / "none", "cam").begin(probe_of(2), 2, {})
    assert "No validation has been recorded yet." in page(write_report([tmp_path / "none"])).words
    Run(tmp_path / "bare", pictures=0).looks(1)
    assert page(write_report([tmp_path / "bare"])).data["runs"][0]["probes"][0]["images"] == []


def test_nan_is_null_and_flat_maps_are_kept(tmp_path):
    run = Run(tmp_path)
    for weights in run.model.parameters():
        weights.data.zero_()
    look = run.watch.look(run.model, run.watch.probe.images, 0, 0)
    assert any(math.isnan(value) for value in look.metrics.values())
    run.recorder.add(look)
    made = page(write_report([tmp_path]))
    assert made.data["runs"][0]["probes"][0]["metrics"]["enrichment"] == [None]


# --- the sentence at the top ---------------------------------------------------------------------


def test_the_worst_alert_is_the_verdict(tmp_path):
    run = Run(tmp_path)
    run.look(0, [alert("entropy", "contradicted", 0), alert("border_mass", "saliency only", 0)])
    run.look(1, [alert()])
    level, sentence = verdict(read_run(tmp_path))
    assert level == "confirmed"
    assert sentence == (
        "The model uses the background: 1 confirmed alert of 3 at epoch 1 "
        "(Enrichment 0.40, limit 1.00)."
    )
    made = page(write_report([tmp_path]))
    assert sentence in made.words
    kinds = [a["class"] for a in made.tags.of("article")]
    assert kinds == ["alert contradicted", "alert saliency", "alert confirmed"]
    assert [a["look"] for a in made.data["runs"][0]["probes"][0]["alerts"]] == [0, 0, 1]


@pytest.mark.parametrize(
    ("judged", "level"), [("saliency only", "saliency"), ("contradicted", "contradicted")]
)
def test_what_no_intervention_confirmed_is_not_called_reliance(tmp_path, judged, level):
    Run(tmp_path).look(0, [alert(judged=judged), alert(judged=judged)])
    found, sentence = verdict(read_run(tmp_path))
    assert found == level
    assert "uses the background" not in sentence
    assert "2 alerts, the first at epoch 1" in sentence


def test_no_alert_is_told_apart_from_nobody_watching(tmp_path):
    Run(tmp_path / "a", rules=None).look(0, [])
    Run(tmp_path / "b", rules=()).look(0, [])
    assert verdict(read_run(tmp_path / "a")) == ("none", "No alert in 1 validation.")
    assert verdict(read_run(tmp_path / "b"))[0] == "unwatched"
    assert "no rule was watching" in verdict(read_run(tmp_path / "b"))[1]


def test_numbers_and_titles_read_as_words():
    assert [number(v) for v in (0.5, -1.256, 0.00012, 0, None, math.nan)] == [
        "0.50", "−1.26", "1.2e−04", "0.00", "–", "–",
    ]  # fmt: skip
    assert title_of("jsd_first") == "Divergence (JSD) from the first validation"
    assert title_of("enrichment/layercam@layer4") == "Enrichment (layercam@layer4)"
    assert title_of("my own") == "my own"


def test_every_metric_has_one_chart():
    names = [metric.name for group in GROUPS for metric in group.metrics]
    assert len(names) == len(set(names))


# --- names of all kinds --------------------------------------------------------------------------


def test_user_text_stays_text(tmp_path):
    classes = len(NAMES)
    names = [f"{name} class" for name in NAMES]
    probe = probe_of(classes, classes, ids=NAMES, class_names=names)
    folder = tmp_path / "<b>run & 'co'<"
    run = Run(folder, probe, tag="cam/<i>tag", classes=classes)
    told = Alert("<s>probe", "<u>metric", 0.1, 0.2, 0, 0, "confirmed", {"<em>": 1.0}, tuple(NAMES))
    run.look(0, [told])
    made = page(write_report([folder]))
    assert made.text.count("<script") == 2
    assert not {"b", "i", "u", "s", "em", "img"} & {
        tag for tag, attributes in made.tags.found if tag != "b" or attributes
    }
    raw = made.text.split('id="data">')[1].split("</script>")[0]
    assert "<" not in raw
    (data,) = made.data["runs"][0]["probes"]
    assert data["ids"] == NAMES
    assert list(data["names"].values()) == names
    assert "<u>metric" in made.words
    assert NAMES[0] in made.words
    assert "{{ 7*7 }}" in made.words


def test_half_a_character_in_a_name_is_no_reason_to_fail(tmp_path):
    Run(tmp_path, probe_of(1, ids=["bad \udc80 name"])).look(
        0, [Alert("cam", "enrichment", 0.1, 0.2, 0, 0, "confirmed", {}, ("bad \udc80 name",))]
    )
    assert "bad ? name" in page(write_report([tmp_path])).words


# --- files ---------------------------------------------------------------------------------------


def test_a_named_file_or_folder_is_taken(run, tmp_path):
    assert write_report([run], tmp_path / "deep" / "x.html") == tmp_path / "deep" / "x.html"
    assert write_report([run], tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "deep" / "x.html").stat().st_size == (
        tmp_path / "report.html"
    ).stat().st_size


def test_wrong_input_leaves_the_file_as_it_was(run, tmp_path):
    kept = tmp_path / "kept.html"
    kept.write_text("before")
    with pytest.raises(ValueError, match="expected a run's folder"):
        write_report([run, tmp_path / "missing"], kept)
    with pytest.raises(ValueError, match="one or two run folders, got 3"):
        write_report([run] * 3, kept)
    assert kept.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    one, two = tmp_path / "a" / "version_0", tmp_path / "b" / "version_0"
    assert run_names([one, two]) == ["a/version_0", "b/version_0"]
    assert run_names([one]) == ["a/version_0"]
    assert run_names([tmp_path / "x", tmp_path / "y"]) == ["x", "y"]
    assert run_names([one, one]) == ["version_0", "version_0"]


def test_sixteen_samples_and_fifty_validations_are_far_below_eight_megabytes(tmp_path):
    draw = torch.Generator().manual_seed(0)
    probe = probe_of(16, side=224)  # noise: no JPEG is larger
    run = Run(tmp_path, probe)
    look = run.look(0)
    fields = {
        name: getattr(look.snapshot, name) for name in type(look.snapshot).__dataclass_fields__
    }
    for validation in range(50):
        maps = {key: torch.rand(16, 16, 16, generator=draw) for key in look.snapshot.maps}
        changed = {"maps": maps, "validation": validation, "epoch": validation}
        snapshot = type(look.snapshot)(**{**fields, **changed})
        run.recorder.add(SimpleNamespace(**{**vars(look), "snapshot": snapshot}))
    size = write_report([tmp_path]).stat().st_size
    assert size < 5_000_000, size


def test_an_outline_follows_the_pixels_edges_and_holes():
    import cv2

    mask = np.zeros((10, 20), np.uint8)
    mask[2:8, 4:16] = 255
    mask[4:6, 8:12] = 0
    path = outline(base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode())
    assert path.count("M") == path.count("Z") == 2
    numbers = np.array(re.findall(r"[\d.]+", path), float).reshape(-1, 2)
    assert np.allclose(numbers.min(axis=0), (4, 2), atol=0.2)
    assert np.allclose(numbers.max(axis=0), (16, 8), atol=0.2)
    assert not re.search(r"[^MZ\d. ]", path)
