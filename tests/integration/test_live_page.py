"""The live page in a browser: growing runs, many runs, filters, links, keys, hostile names."""

import json

import pytest
from helpers.browser import opened as open_page
from helpers.browser import pixels, set_range
from helpers.gated_training import GatedTraining
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of
from helpers.serving import serving
from helpers.training import QUIET

from lightning_cam.monitor import Alert
from lightning_cam.output.server import live_runs

pytestmark = [pytest.mark.slow, pytest.mark.browser, *QUIET]

EVALUATIONS = 4


@pytest.fixture(autouse=True)
def _search_often(monkeypatch):
    monkeypatch.setattr(live_runs, "_SEARCH_EVERY", 0.2)


def opened(browser, server, link="", **options):
    return open_page(browser, server.address + link, allowed=server.address, **options)


def at(page, text):
    """Wait until the slider is at a time."""
    page.locator("#now", has_text=text).wait_for()


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Return a folder with twelve runs of eight samples; only the last has wrong answers."""
    folder = tmp_path_factory.mktemp("twelve")
    run = Run(folder / "run_0", probe_of(8, class_names=["cat", "dog", "owl"]))
    alert = Alert("cam", "enrichment", 0.4, 1.0, 1, 19, "confirmed", {"bg_gap": 0.5}, worst=("05",))
    for epoch in range(EVALUATIONS):
        run.evaluate(epoch, [alert] if epoch == 1 else [])
    header, *lines = map(json.loads, run.recorder.path.read_text().splitlines())
    for n in range(12):
        targets = header["targets"]
        for line in lines:
            line["predictions"] = [(label + (n == 11 and label == 1)) % 3 for label in targets]
        path = folder / f"run_{n}" / "lightning_cam" / "cam.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    return folder


@pytest.fixture(scope="module")
def server(twelve):
    with serving(twelve) as started:
        yield started


def test_epochs_of_two_trainings_appear_while_the_page_is_open(browser, tmp_path):
    expect = pytest.importorskip("playwright.sync_api").expect  # waits until it holds
    first = GatedTraining(tmp_path / "runs" / "first", 4)
    second = None
    with serving(tmp_path / "runs") as server, opened(browser, server) as page:
        assert page.locator("#no-run").is_visible()
        try:
            first.epoch()
            at(page, "epoch 0")
            expect(page.locator("#grid li")).to_have_count(4)
            page.locator("#live.on").wait_for()
            first.epoch()
            at(page, "epoch 1")
            page.locator("#grid .open .picture:not(.pending)").first.wait_for()
            before = pixels(page)
            second = GatedTraining(tmp_path / "runs" / "second", 4)
            second.epoch()
            page.locator("#grid .item.run-1 canvas").first.wait_for()
            expect(page.locator("#grid .item.run-0 canvas")).to_have_count(4)
            expect(page.locator("#run-list .run")).to_have_count(2)
            set_range(page, "#time", 0)
            at(page, "epoch 0")
            first.epoch()
            second.epoch()
            page.locator("#time[max='2']").wait_for()
            assert page.locator("#now").text_content() == "epoch 0"  # it stays where it was put
            page.locator("body").press("End")
            at(page, "epoch 2")
            page.locator("#grid .item.run-0 .picture:not(.pending)").first.wait_for()
            assert pixels(page, "#grid .item.run-0 canvas") != before
            chart = page.locator(".chart", has=page.get_by_role("heading", name="Enrichment")).first
            for run in (0, 1):
                expect(chart.locator(f"path.line.run-{run}")).to_have_count(1)
            expect(page.locator("#run-list .run-0")).to_contain_text("3 evaluations")
        finally:
            first.finish()
            if second is not None:
                second.finish()
        at(page, "epoch 3")  # it was at the newest, and follows
    assert (tmp_path / "runs" / "first" / "report.html").exists()


def test_twelve_runs_share_one_slider(browser, server):
    with opened(browser, server) as page:
        at(page, "epoch 3")
        tile = page.locator("#grid li").first
        assert tile.locator(".item").count() == 12
        page.wait_for_timeout(100)
        last = pixels(page, "#grid .item.run-11 canvas")
        page.locator("body").press("Home")
        at(page, "epoch 0")
        tile.locator(".run-11 .picture:not(.pending)").wait_for()
        assert pixels(page, "#grid .item.run-11 canvas") != last
        assert page.get_by_role("group", name="Runs").get_by_role("checkbox").count() == 12
        page.get_by_role("checkbox", name="Show run_3", exact=True).uncheck()
        assert tile.locator(".item").count() == 11
        page.get_by_role("button", name="Show the first only").click()
        assert tile.locator(".item").count() == 1
        chart = page.locator(".chart", has=page.get_by_role("heading", name="Enrichment")).first
        assert chart.locator("path.line").count() == 1


def test_samples_are_filtered_and_ordered(browser, server):
    with opened(browser, server) as page:
        at(page, "epoch 3")

        def shown():
            return page.locator("#grid .id").all_text_contents()

        def choose(name, value):
            page.get_by_role("combobox", name=name).select_option(value)

        assert len(shown()) == 8
        choose("Class", "dog")
        assert shown() == ["01", "04", "07"]
        assert page.locator("#matches").text_content() == "3 of 8 samples"
        choose("Class", "")
        for answer, expected in (
            ("wrong", ["01", "04", "07"]),
            ("right", ["00", "02", "03", "05", "06"]),
            ("differ", ["01", "04", "07"]),
            ("alerts", ["05"]),
        ):
            choose("Show", answer)
            assert shown() == expected
        choose("Show", "")

        def figures():
            texts = page.locator("#grid .item.run-0 .figure").all_text_contents()
            return [float(text.split()[-1]) for text in texts]

        choose("Order", "off")
        found = figures()
        assert len(found) > 1
        assert found == sorted(found)
        choose("Order", "moved")
        assert sorted(shown()) == [f"0{n}" for n in range(8)]
        assert shown() != sorted(shown())
        page.get_by_role("checkbox", name="Show run_11", exact=True).uncheck()
        choose("Show", "wrong")
        assert shown() == []
        assert "No sample fits" in page.locator("#grid").text_content()


def test_a_sample_opens_with_its_whole_history_of_all_runs(browser, server):
    with opened(browser, server) as page:
        at(page, "epoch 3")
        page.locator("#grid .open").nth(2).click()
        page.locator("#large[open]").wait_for()
        assert page.locator("#large-title").text_content() == "02"
        assert page.locator("#large .column").count() == 12
        strip = page.locator("#large .strip").last
        strip.scroll_into_view_if_needed()
        strip.locator("button").first.wait_for()
        assert strip.locator("button").count() == EVALUATIONS
        assert page.locator("#large .small-charts path.line.run-11").count() >= 2
        strip.locator("button").first.click()
        at(page, "epoch 0")
        page.keyboard.press("PageDown")
        assert page.locator("#large-title").text_content() == "03"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.ariaLabel").startswith("Enlarge 03")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        assert page.locator("#large-title").text_content() == "02"


def test_a_link_shows_the_same_to_others(browser, server):
    with opened(browser, server) as page:
        at(page, "epoch 3")
        set_range(page, "#time", 1)
        page.get_by_role("combobox", name="Show").select_option("wrong")
        page.get_by_role("combobox", name="Colours").select_option("viridis")
        page.get_by_role("checkbox", name="Show run_0", exact=True).uncheck()
        page.locator("#grid .open").nth(1).click()
        page.locator("#large[open]").wait_for()
        page.wait_for_url("**#*sample=04*")
        link = page.evaluate("location.hash")
    with opened(browser, server, link) as page:
        page.locator("#large[open]").wait_for()
        assert page.locator("#large-title").text_content() == "04"
        assert page.locator("#now").text_content() == "epoch 1"
        assert page.locator("#colormap").input_value() == "viridis"
        assert page.locator("#matches").text_content() == "3 of 8 samples"
        assert not page.get_by_label("Show run_0", exact=True).is_checked()
        assert page.evaluate("location.hash") == link
    with opened(browser, server, "#at=99&runs=none&order=x&class=<b>&map=-1&sample=nobody") as page:
        at(page, "epoch 3")
        assert page.locator("#grid li").count() == 8


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_twelve_runs_fit_the_screen(browser, server, width, scheme):
    with opened(browser, server, width=width, scheme=scheme) as page:
        at(page, "epoch 3")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#grid .open").first.click()
        page.locator("#large[open]").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_are_text_in_the_live_page_too(browser, tmp_path):
    count = len(NAMES)
    probe = probe_of(count, count, ids=NAMES, class_names=[f"{name} class" for name in NAMES])
    run = Run(tmp_path / "<img src=x onerror=alert(1)>", probe, classes=count)
    alert = Alert("cam", NAMES[1], 0.1, 0.2, 0, 0, "confirmed", {NAMES[0]: 1.0}, worst=tuple(NAMES))
    run.evaluate(0, [alert])
    with serving(tmp_path) as server, opened(browser, server) as page:
        at(page, "epoch 0")
        run.evaluate(1, [alert])
        at(page, "epoch 1")
        page.locator("#run-list", has_text="2 evaluations").wait_for()
        assert page.locator("#grid .id").all_text_contents() == NAMES
        assert page.locator("h1").first.text_content().endswith("<img src=x onerror=alert(1)>")
        assert page.locator("img[src=x], article script, #grid script").count() == 0


def test_a_server_that_ends_is_noticed_and_the_page_stays(browser, twelve):
    with serving(twelve) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.address)
        at(page, "epoch 3")
    page.locator("#live.off", has_text="no connection").wait_for()
    assert page.locator("#grid li").count() == 8
    context.close()
