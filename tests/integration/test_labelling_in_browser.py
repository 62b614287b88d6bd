"""Masks drawn in a real browser, by mouse and keyboard, up to the next training's metrics."""

import contextlib
import json
import shutil

import lightning.pytorch as pl
import pytest
import torch
from helpers.hostile import NAMES
from helpers.labelling import bounds, disc_area, discs, overlap, recorded, serving
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe
from lightning_cam.output.labelling import Labeller, images_of
from lightning_cam.probe.drawn_masks import read_masks

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.browser, *QUIET]

_FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
COUNT = 8


@pytest.fixture(scope="module")
def browser():
    installed = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=installed, args=_FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"no browser to start: {error}".splitlines()[0])
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser, labeller, width=1280, scheme="light", allowed=(), **options):
    """Open the page; afterwards assert that there were no errors, dialogs and other requests."""
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    with serving(labeller) as address:
        page.goto(address)
        page.locator("#canvas[data-shown]").wait_for()
        yield page
        page.goto("about:blank")  # no connection stays open
    assert [each for each in messages if not any(part in each for part in allowed)] == []
    assert [url for url in requests if not url.startswith((address, "data:", "about:"))] == []
    context.close()


def shown(page, number):
    """Wait until an image, counted from 1, is on the canvas."""
    sync_api.expect(page.locator("#canvas")).to_have_attribute("data-shown", str(number))


def drag(page, *points):
    """Drag over points that are shares of the image."""
    box = page.locator("#canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()


def said(page, text):
    sync_api.expect(page.locator("#said")).to_have_text(text)


def done(page, count, of=COUNT):
    sync_api.expect(page.locator("#done")).to_have_text(f"{count} of {of} done")


class Discs(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
        )

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(folder, **options):
    """Train for an epoch, and return the trainer and the callback."""
    data = DataLoader(TensorDataset(discs(), torch.arange(COUNT) % 2), batch_size=4)
    cam = CAMCallback(probe_size=COUNT, panels=(), report=False, mean=0.0, std=1.0, **options)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[cam], default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(Discs(), data, data)
    return trainer, cam


def order_of(cam):
    """Return for each image of the probe which disc it is."""
    return [int(each.split("-")[-1]) for each in cam.probes["val"].ids]


def test_masks_of_eight_images_arrive_in_the_next_trainings_metrics(browser, tmp_path):
    trainer, cam = train(tmp_path / "first")
    assert "cam/enrichment" not in trainer.callback_metrics
    order = order_of(cam)
    labeller = Labeller(images_of(trainer.log_dir), tmp_path / "masks.json")
    with opened(browser, labeller) as page:
        for count, number in enumerate(order, start=1):
            drag(page, *bounds(number))
            said(page, "Saved.")
            done(page, count)
            assert len(json.loads(labeller.out.read_text())["masks"]) == count
            page.keyboard.press("ArrowRight")
            shown(page, min(COUNT, count + 1))
        assert page.locator("#images .labelled").count() == COUNT
    trainer, cam = train(tmp_path / "second", masks=tmp_path / "masks.json")
    probe = cam.probes["val"]
    assert order_of(cam) == order
    assert not probe.masks_estimated
    for mask, number in zip(probe.masks, order, strict=True):
        assert overlap(mask, disc_area(number)) > 0.9
    drawn = float(trainer.callback_metrics["cam/enrichment"])
    true = Probe(probe.images, probe.targets, masks=torch.stack(list(map(mask_of, order))))
    trainer, _ = train(tmp_path / "third", probe=true)
    assert abs(drawn - float(trainer.callback_metrics["cam/enrichment"])) < 0.1


def mask_of(number):
    return torch.from_numpy(disc_area(number))


def masks_in(labeller):
    found = read_masks(labeller.out).masks
    return [found.get(image.fingerprint) for image in labeller.images]


@pytest.fixture
def labeller(tmp_path):
    return Labeller(images_of(recorded(tmp_path / "run")), tmp_path / "masks.json")


def test_outlines_erasing_undo_and_clear(browser, labeller):
    with opened(browser, labeller) as page:
        page.keyboard.press("o")
        (x1, y1), (x2, y2) = bounds(0)
        drag(page, (x1, y1), (x2, y1), (x2, y2), (x1, y2))
        said(page, "Saved.")
        assert overlap(masks_in(labeller)[0].mask, disc_area(0)) > 0.9
        page.keyboard.press("b")
        page.keyboard.press("e")
        drag(page, (0, 0), (1, (y1 + y2) / 2))
        said(page, "Saved.")
        done(page, 1)
        assert not masks_in(labeller)[0].mask[:25].any()
        page.keyboard.press("Control+z")
        said(page, "Undone.")
        assert masks_in(labeller)[0].mask[:25].any()
        page.locator("#clear").click()
        said(page, "Cleared.")
        done(page, 0)
        assert masks_in(labeller) == [None] * COUNT
        assert page.locator("#undo").is_disabled()


def test_by_keyboard_alone(browser, labeller):
    with opened(browser, labeller) as page:
        page.keyboard.press("p")  # there is none before the first
        page.keyboard.press("n")
        sync_api.expect(page.locator("#place")).to_have_text(f"2 of {COUNT}")
        shown(page, 2)
        page.locator("#refine").focus()
        page.keyboard.press("f")
        page.locator("#canvas").focus()
        for _ in range(2):
            page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Space")
        for key in ("ArrowRight", "ArrowDown"):
            for _ in range(3):
                page.keyboard.press(f"Shift+{key}")
        page.keyboard.press("Space")
        said(page, "Saved.")
        mask = masks_in(labeller)[1].mask
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        assert [rows[0], rows[-1], columns[0], columns[-1]] == [24, 37, 14, 28]
        sync_api.expect(page.locator("#canvas")).to_have_attribute(
            "aria-label", "image 2, 1, with a mask"
        )


def test_the_page_goes_on_where_it_was_left(browser, labeller):
    labeller.draw(0, [{"kind": "box", "points": [*bounds(0)]}])
    with opened(browser, labeller) as page:
        done(page, 1)
        sync_api.expect(page.locator("#place")).to_have_text(f"2 of {COUNT}")
        page.locator("#images button").first.click()
        shown(page, 1)
        page.keyboard.press("u")
        said(page, "Undone.")
        done(page, 0)


def test_a_failure_to_save_is_said_and_nothing_is_shown_as_done(browser, labeller):
    labeller.out.mkdir()
    with opened(browser, labeller, allowed=["507"]) as page:
        drag(page, *bounds(0))
        sync_api.expect(page.get_by_role("alert")).to_contain_text("not saved")
        done(page, 0)
        labeller.out.rmdir()
        drag(page, *bounds(0))
        done(page, 1)
        assert page.locator("#error").is_hidden()


def test_hostile_names_on_a_phone_in_the_dark(browser, tmp_path):
    names = [NAMES[0], NAMES[7]]
    run = recorded(tmp_path / "run", 4, class_names=names, ids=[*NAMES[1:3], *NAMES[5:7]])
    labeller = Labeller(images_of(run), tmp_path / "masks.json")
    with opened(browser, labeller, 360, "dark", has_touch=True, is_mobile=True) as page:
        for number in range(4):
            page.locator("#images button").nth(number).click()
            shown(page, number + 1)
            sync_api.expect(page.locator("#label")).to_have_text(names[number % 2])
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.locator("script").count() == 1
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(20, 22, 26)"
        drag(page, *bounds(3))
        done(page, 1, of=4)
