"""The report in a browser, opened from a file: drawing, controls, and no requests."""

import pytest
from helpers.browser import opened as open_page
from helpers.browser import pixels, set_range
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def opened(browser, path, *args, **options):
    return open_page(browser, path.as_uri(), *args, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def one(folder):
    names = ["cat", "dog", "owl"]
    run = Run(folder / "one", probe_of(6, class_names=names), method=["gradcam", "layercam"])
    run.evaluate_epochs(3)
    alert = Alert("cam", "enrichment", 0.4, 1.0, 3, 39, "confirmed", {"bg_gap": 0.5}, worst=("00",))
    run.evaluate(3, [alert])
    return write_report([folder / "one"])


def test_the_slider_and_the_arrow_keys_move_the_epoch(browser, one):
    with opened(browser, one) as page:
        assert page.locator("#grid li").count() == 6
        assert page.locator("#now").text_content() == "epoch 3"
        last = pixels(page)
        reading = page.locator("#charts .reading").first.text_content()
        set_range(page, "#time", 0)
        assert page.locator("#now").text_content() == "epoch 0"
        assert pixels(page)[0] != last[0]
        assert page.locator("#charts .reading").first.text_content() != reading
        page.locator("body").press("ArrowRight")
        assert page.locator("#now").text_content() == "epoch 1"
        assert page.locator("#time").input_value() == "1"
        assert page.locator("#time").get_attribute("aria-valuetext") == "epoch 1"
        page.locator("body").press("End")
        assert pixels(page) == last
        page.locator("body").press("ArrowRight")
        assert page.locator("#now").text_content() == "epoch 3"


def test_play_stops_at_the_last_epoch(browser, one):
    with opened(browser, one) as page:
        page.locator("#play").click()
        assert page.locator("#play").get_attribute("aria-label") == "Pause"
        page.locator("#play[aria-label='Play the epochs']").wait_for(timeout=5000)
        assert page.locator("#now").text_content() == "epoch 3"


def test_the_options_change_the_images(browser, one):
    with opened(browser, one) as page:
        first, opacity = pixels(page)
        assert opacity == pytest.approx(0.7 * 255, abs=2)
        page.locator("#colormap").select_option("cividis")
        second, _ = pixels(page)
        assert second != first
        set_range(page, "#opacity", 0.25)
        assert pixels(page)[1] == pytest.approx(0.25 * 255, abs=2)
        page.locator("#map").select_option("1")
        assert "layercam" in page.locator("#map option:checked").text_content()
        assert page.locator("#outline-choice").is_visible()
        outline = page.locator("#grid .picture svg").first
        assert outline.is_visible()
        page.locator("#outline").uncheck()
        assert not outline.is_visible()
        page.locator("#scale").select_option("run")
        assert "weak maps stay pale" in page.locator("#scale-note").text_content()


def test_maps_are_drawn_as_the_callback_draws_them(browser, folder):
    import numpy as np
    import torch
    from helpers.recorded_run import SIDE

    from lightning_cam.output.record import read_run
    from lightning_cam.render import overlay

    Run(folder / "heat", probe_of(1, masks=False), alpha=1.0).evaluate(0)
    (record,) = read_run(folder / "heat")
    maps = torch.from_numpy(record.evaluations[0].maps[0].values())
    black = torch.zeros(1, 3, SIDE, SIDE)
    with opened(browser, write_report([folder / "heat"])) as page:
        size = page.evaluate("document.querySelector('#grid canvas').width")
        drawn = page.evaluate(
            """() => {
                const canvas = document.querySelector("#grid canvas");
                return [...canvas.getContext("2d")
                    .getImageData(0, 0, canvas.width, canvas.height).data];
            }"""
        )
    rgba = np.array(drawn, float).reshape(size, size, 4)
    found = rgba[:, :, :3] * rgba[:, :, 3:] / 255
    wanted = overlay(black, maps, size=(size, size), alpha=1.0)[0].numpy()
    assert np.abs(found - wanted).mean() < 1.0


def test_a_sample_opens_large_with_its_timeline_and_closes_by_key(browser, one):
    with opened(browser, one) as page:
        page.locator("#grid .open").nth(1).click()
        page.locator("#large[open]").wait_for()
        assert page.locator("#large-title").text_content() == "01"
        assert page.locator("#large .strip button").count() == 4
        assert page.locator("#large .small-charts svg[role=img]").count() >= 2
        page.locator("#large .strip button").first.click()
        assert page.locator("#now").text_content() == "epoch 0"
        page.locator("#after").click()
        assert page.locator("#large-title").text_content() == "02"
        page.keyboard.press("Escape")
        assert not page.locator("#large").is_visible()


def test_curves_show_baselines_the_alert_and_values_under_the_pointer(browser, one):
    with opened(browser, one) as page:
        chart = page.locator(".chart", has=page.get_by_role("heading", name="Enrichment")).first
        assert chart.locator("svg .base.random").count() >= 1
        assert chart.locator("svg .mark.own.confirmed").count() == 1
        before = chart.locator(".reading").text_content()
        start = {"x": 40, "y": 40}
        chart.locator("svg[role=img]").hover(position=start)
        assert chart.locator(".reading").text_content() != before
        chart.locator("svg[role=img]").click(position=start)
        assert page.locator("#now").text_content() == "epoch 0"
        page.locator("#reference").select_option("first")
        assert page.locator("#charts details").count() >= 3


def test_classes_sort_by_a_click_and_by_the_keyboard(browser, one):
    with opened(browser, one) as page:

        def column(i):
            return page.locator(f"#class-tables tbody tr > :nth-child({i})").all_text_contents()

        button = page.locator("#class-tables thead button", has_text="Enrichment")
        button.focus()
        page.keyboard.press("Enter")
        rising = [float(text) for text in column(4)]
        assert rising == sorted(rising)
        assert page.locator("th[aria-sort=ascending]").count() == 1
        page.keyboard.press("Enter")
        assert [float(text) for text in column(4)] == rising[::-1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen_in_both_colour_schemes(browser, one, width, scheme):
    with opened(browser, one, width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = page.evaluate(
            "(({ color, backgroundColor }) => [color, backgroundColor])"
            "(getComputedStyle(document.body))"
        )
        light = [int(text.strip("rgb()").split(",")[0]) > 127 for text in (ink, paper)]
        assert light == ([False, True] if scheme == "light" else [True, False])


def test_two_runs_are_shown_side_by_side(browser, one, folder):
    Run(folder / "two", probe_of(5, class_names=["cat", "dog", "owl"])).evaluate_epochs(2)
    with opened(browser, write_report([folder / "one", folder / "two"])) as page:
        assert page.locator("#grid li").count() == 6
        assert page.locator("#grid .item canvas").count() == 11
        assert page.locator("#grid .gone").count() == 1
        chart = page.locator(".chart", has=page.get_by_role("heading", name="Enrichment")).first
        assert chart.locator("path.line.run-0").count() == 1
        assert chart.locator("path.line.run-1").count() == 1
        assert page.locator("#class-tables table").count() == 2
        page.locator("#grid .open").first.click()
        page.locator("#large[open]").wait_for()
        assert page.locator("#large .column").count() == 2


def test_one_of_several_probes_is_chosen(browser, folder):
    Run(folder / "many", probe_of(2), tag="cam/train").evaluate_epochs(2)
    Run(folder / "many", probe_of(3, masks=False), tag="cam/val").evaluate_epochs(1)
    with opened(browser, write_report([folder / "many"])) as page:
        assert page.locator("#grid li").count() == 2
        page.locator("#probe").select_option("1")
        assert page.locator("#grid li").count() == 3
        assert page.locator("#outline-choice").is_hidden()
        assert page.locator("#time").is_disabled()


def test_images_with_several_labels_and_with_none(browser, folder):
    Run(folder / "labels", probe_of(3, multi_label=True)).evaluate_epochs(2)
    with opened(browser, write_report([folder / "labels"])) as page:
        assert page.locator("#grid li").count() == 5
        assert page.locator("#grid .prediction").first.text_content().split()[0] in (
            "found",
            "missed",
        )
    Run(folder / "nothing", probe_of(3, masks=False, labels=False)).evaluate_epochs(2)
    with opened(browser, write_report([folder / "nothing"])) as page:
        assert page.locator("#grid .prediction.wrong").count() == 0
        assert "%" in page.locator("#grid .prediction").first.text_content()


def test_an_empty_run_says_so(browser, folder):
    from lightning_cam.output.record import Recorder

    Recorder(folder / "empty", "cam").begin(probe_of(2), 2, {})
    with opened(browser, write_report([folder / "empty"])) as page:
        assert page.locator("#now").text_content() == "no evaluation yet"
        assert "No images were recorded." in page.locator("#grid").text_content()


def test_hostile_names_are_shown_as_text(browser, folder):
    count = len(NAMES)
    names = [f"{name} class" for name in NAMES]
    probe = probe_of(count, count, ids=NAMES, class_names=names)
    run = Run(folder / "<img src=x onerror=alert(1)>", probe, classes=count)
    alert = Alert("cam", NAMES[1], 0.1, 0.2, 0, 0, "confirmed", {NAMES[0]: 1.0}, worst=tuple(NAMES))
    run.evaluate(0, [alert])
    run.evaluate(1, [])
    path = write_report([run.recorder.path.parent.parent], folder / "hostile.html")
    for width in (360, 1280):
        with opened(browser, path, width) as page:
            shown = page.locator("#grid .id").all_text_contents()
            assert shown == NAMES
            assert page.locator("#grid .label").first.text_content() == names[0]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("img:not([src^='data:'])").count() == 0
            page.locator("#grid .open").nth(6).click()
            page.locator("#large[open]").wait_for()
            assert page.locator("#large-title").text_content() == NAMES[6]


def test_without_scripts_the_table_is_shown(browser, one):
    with opened(browser, one, java_script_enabled=False) as page:
        assert page.locator("#all-numbers table").is_visible()
        assert page.locator("#time").is_hidden()
