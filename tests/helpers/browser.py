"""Pages in Chromium, and the assertion that nothing goes wrong in them."""

import contextlib
import shutil

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]


def executable():
    """Return the path of an installed browser, None for Playwright's own."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def opened(browser, address, width=1280, scheme="light", allowed=None, **context):
    """Open a page; afterwards assert that there were no messages, dialogs and other requests.

    Args:
        browser: Playwright's.
        address: of the page.
        width: of the window in pixels.
        scheme: `light` or `dark`.
        allowed: how addresses of requests may start; by default only the page is requested.
        context: further options of the browser's context.
    """
    viewport = {"width": width, "height": 800}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **context)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    assert messages == []
    requested = [url for url in requests if not url.startswith("data:")]
    if allowed is None:
        assert requested == [address]
    else:
        assert [url for url in requested if not url.startswith(allowed)] == []
    context.close()


def set_range(page, which, value):
    """Move a slider."""
    page.locator(which).evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", value
    )


def pixels(page, which="#grid canvas"):
    """Return the sum of a canvas's pixels and its largest opacity."""
    return page.evaluate(
        """which => {
            const canvas = document.querySelector(which);
            const all = canvas.getContext("2d")
                .getImageData(0, 0, canvas.width, canvas.height).data;
            return [all.reduce((a, b) => a + b, 0), all.filter((_, i) => i % 4 === 3)
                .reduce((a, b) => Math.max(a, b), 0)];
        }""",
        which,
    )
