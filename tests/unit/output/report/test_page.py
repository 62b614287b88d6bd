"""The report as a file: contents, content security policy, escaped names, files and size."""

import base64
import hashlib
import html.parser
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output.record import Recorder, read_run
from lightning_cam.output.report import write_report
from lightning_cam.output.report.page import run_names
from lightning_cam.output.report.wording import number
from lightning_cam.runtime.forward_context import ForwardContext


class Tags(html.parser.HTMLParser):
    """Collects elements, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self.inside = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def page(path):
    """Return a report's source, its elements, its text and its data."""
    text = path.read_text(encoding="utf-8")
    tags = Tags(text)
    words = " ".join(" ".join(tags.texts).split())
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    return SimpleNamespace(source=text, tags=tags, text=words, data=data)


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run one", probe_of(6, class_names=["cat", "dog", "owl"]))
    made.evaluate_epochs(3)
    return tmp_path / "run one"


# --- contents -------------------------------------------------------------------------------------


def test_the_report_is_in_the_runs_folder_and_holds_its_record(run):
    path = write_report([run])
    assert path == run / "report.html"
    made = page(path)
    (probe,) = made.data["runs"][0]["probes"]
    (record,) = read_run(run)
    assert probe["epochs"] == [0, 1, 2]
    assert [made.data["pictures"][key] for key in probe["images"]] == list(record.images)
    assert probe["maps"][0]["cells"] == [each.maps[0].cells for each in record.evaluations]
    assert probe["metrics"]["enrichment"] == pytest.approx(
        [each.metrics["enrichment"] for each in record.evaluations], rel=1e-3
    )
    assert probe["names"] == {"0": "cat", "1": "dog", "2": "owl"}
    assert "run one" in made.text
    layer = record.evaluations[0].maps[0].layer
    assert f"gradcam at {layer} · 3 evaluations, epochs 0 to 2" in made.text


def test_nothing_is_loaded_and_only_its_own_script_may_run(run):
    made = page(write_report([run]))
    for tag, attributes in made.tags.found:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    (policy,) = [a["content"] for a in made.tags.of("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    script = made.source.rsplit("<script>", 1)[1].split("</script>")[0]
    style = made.source.split("<style>", 1)[1].split("</style>")[0]
    for code in (script, style):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "http:" not in script.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https:|@import|url\(|innerHTML|insertAdjacent|document\.write|\beval\b|new Function",
        script + style,
    )


def test_without_scripts_the_numbers_are_in_a_table(run):
    made = page(write_report([run]))
    assert made.tags.of("noscript")
    assert "open" in next(a for a in made.tags.of("details") if a.get("id") == "all-numbers")
    (record,) = read_run(run)
    last = record.evaluations[-1].metrics["enrichment"]
    first = record.evaluations[0].metrics["enrichment"]
    assert f"Enrichment {number(first)} {number(last)}" in made.text


def test_settings_and_environment_are_shown(run):
    made = page(write_report([run]))
    assert "alpha 0.7" in made.text
    assert f"torch {torch.__version__.split('+')[0]}" in made.text
    assert read_run(run)[0].fingerprint in made.text


def test_the_report_of_two_runs_is_another_file(run, tmp_path):
    Run(tmp_path / "two").evaluate_epochs(5)
    own = write_report([run])
    both = write_report([run, tmp_path / "two"])
    assert own != both
    assert both.parent == run
    made = page(both)
    assert [r["name"] for r in made.data["runs"]] == ["run one", "two"]
    assert [len(r["probes"][0]["epochs"]) for r in made.data["runs"]] == [3, 5]
    assert "run one and two" in made.text


def test_several_probes_are_all_shown(tmp_path):
    for tag in ("cam/train", "cam/val"):
        Run(tmp_path, tag=tag).evaluate_epochs(2)
    made = page(write_report(tmp_path))
    assert [p["tag"] for p in made.data["runs"][0]["probes"]] == ["cam/train", "cam/val"]
    assert "cam/train · 4 images" in made.text


@pytest.mark.parametrize(
    "kind",
    [
        {"masks": False},
        {"labels": False},
        {"multi_label": True},
        {"masks": False, "labels": False},
    ],
)
def test_probes_without_masks_or_labels_and_with_several_have_a_report(tmp_path, kind):
    Run(tmp_path, probe_of(4, **kind)).evaluate_epochs(2)
    probe = page(write_report([tmp_path])).data["runs"][0]["probes"][0]
    assert (probe["outlines"] is None) == (kind.get("masks") is False)
    answers = probe["answers"][-1]
    if kind.get("multi_label"):
        assert len(answers["row"]) > 4
        assert answers["label"] == answers["cls"]
    elif not kind.get("labels", True):
        assert set(answers["label"]) == {-1}
    else:
        assert answers["label"] == [0, 1, 2, 0]


def test_runs_without_evaluations_and_without_images_have_a_report(tmp_path):
    Recorder(tmp_path / "none", "cam").begin(probe_of(2), 2, {})
    empty = page(write_report([tmp_path / "none"]))
    assert "No evaluation has been recorded yet." in empty.text
    Run(tmp_path / "bare", pictures=0).evaluate(0)
    assert page(write_report([tmp_path / "bare"])).data["runs"][0]["probes"][0]["images"] == []


def test_nan_is_null_and_flat_maps_are_kept(tmp_path):
    run = Run(tmp_path)
    for weights in run.model.parameters():
        weights.data.zero_()
    evaluation = run.monitor.evaluate(run.model, ForwardContext.of(run.model), 0, 0)
    assert any(math.isnan(value) for value in evaluation.metrics.values())
    run.recorder.add(evaluation)
    made = page(write_report([tmp_path]))
    assert made.data["runs"][0]["probes"][0]["metrics"]["enrichment"] == [None]


# --- unusual names --------------------------------------------------------------------------------


def test_names_are_escaped(tmp_path):
    classes = len(NAMES)
    names = [f"{name} class" for name in NAMES]
    probe = probe_of(classes, classes, ids=NAMES, class_names=names)
    folder = tmp_path / "<b>run & 'co'<"
    run = Run(folder, probe, tag="cam/<i>tag", classes=classes)
    alert = Alert(
        "<s>probe", "<u>metric", 0.1, 0.2, 0, 0, "contradicted", {"<em>": 1.0}, worst=tuple(NAMES)
    )
    run.evaluate(0, [alert])
    made = page(write_report([folder]))
    assert made.source.count("<script") == 2
    assert not {"b", "i", "u", "s", "em", "img"} & {
        tag for tag, attributes in made.tags.found if tag != "b" or attributes
    }
    raw = made.source.split('id="data">')[1].split("</script>")[0]
    assert "<" not in raw
    (data,) = made.data["runs"][0]["probes"]
    assert data["ids"] == NAMES
    assert list(data["names"].values()) == names
    assert "<u>metric" in made.text
    assert NAMES[0] in made.text
    assert "{{ 7*7 }}" in made.text


def test_a_lone_surrogate_in_a_name_is_replaced(tmp_path):
    Run(tmp_path, probe_of(1, ids=["bad \udc80 name"])).evaluate(
        0,
        [
            Alert(
                "cam", "enrichment", 0.1, 0.2, 0, 0, "contradicted", {}, worst=("bad \udc80 name",)
            )
        ],
    )
    assert "bad ? name" in page(write_report([tmp_path])).text


# --- files ----------------------------------------------------------------------------------------


def test_the_file_can_be_given_or_its_folder(run, tmp_path):
    assert write_report([run], tmp_path / "deep" / "x.html") == tmp_path / "deep" / "x.html"
    assert write_report([run], tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "deep" / "x.html").stat().st_size == (
        tmp_path / "report.html"
    ).stat().st_size


def test_wrong_input_leaves_the_file_unchanged(run, tmp_path):
    kept = tmp_path / "kept.html"
    kept.write_text("before")
    with pytest.raises(ValueError, match="expected the folder of a run"):
        write_report([run, tmp_path / "missing"], kept)
    with pytest.raises(ValueError, match="at least one run, got none"):
        write_report([], kept)
    assert kept.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_names_of_runs_tell_them_apart(tmp_path):
    one, two = tmp_path / "a" / "version_0", tmp_path / "b" / "version_0"
    assert run_names([one, two]) == ["a/version_0", "b/version_0"]
    assert run_names([one]) == ["a/version_0"]
    assert run_names([tmp_path / "x", tmp_path / "y"]) == ["x", "y"]
    assert run_names([one, one]) == ["version_0", "version_0"]


@pytest.mark.slow
def test_sixteen_images_and_fifty_evaluations_are_below_five_megabytes(tmp_path):
    draw = torch.Generator().manual_seed(0)
    probe = probe_of(16, side=224)  # noise, the largest JPEG that there can be
    run = Run(tmp_path, probe, interventions_every=0, alerts=())
    evaluation = run.evaluate(0)
    for index in range(50):
        maps = {key: torch.rand(16, 16, 16, generator=draw) for key in evaluation.maps}
        snapshot = replace(evaluation.snapshot, maps=maps, index=index, epoch=index)
        run.recorder.add(replace(evaluation, snapshot=snapshot))
    size = write_report([tmp_path]).stat().st_size
    assert size < 5_000_000, size
