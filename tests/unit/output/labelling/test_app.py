"""The server of the page: whom it answers, what it refuses, what its answers forbid."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from helpers.hostile import NAMES
from helpers.labelling import TOKEN, bounds, recorded, serving

from lightning_cam.output.labelling import Labeller, images_of

SHAPES = {"shapes": [{"kind": "box", "points": [*bounds(0)], "refine": False}]}


@pytest.fixture(scope="module")
def labeller(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    names = [NAMES[0], NAMES[3]]
    run = recorded(folder, 4, class_names=names, ids=NAMES[:4])
    return Labeller(images_of(run), folder / "masks.json")


@pytest.fixture(scope="module")
def place(labeller):
    with serving(labeller) as address:
        yield urlsplit(address).netloc


@pytest.fixture(autouse=True)
def _nothing_drawn(labeller):
    labeller.draw(0, [])


def ask(place, path, body=None, **headers):
    """Return status, headers and content of an answer; a body is posted."""
    connection = http.client.HTTPConnection(place, timeout=20)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_page_and_what_it_needs(place, labeller):
    for path, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "javascript")):
        status, headers, _ = ask(place, f"/{TOKEN}/{path}")
        assert status == 200
        assert kind in headers["Content-Type"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers.get("Access-Control-Allow-Origin") is None
    status, headers, data = ask(place, f"/{TOKEN}/images/2.jpg")
    assert (status, headers["Content-Type"], data) == (200, "image/jpeg", labeller.images[2].jpeg)


def test_names_are_data_not_markup(place):
    status, headers, data = ask(place, f"/{TOKEN}/images")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    content = json.loads(data)
    assert [each["id"] for each in content["images"]] == NAMES[:4]
    assert content["images"][0]["label"] == NAMES[0]


def test_drawing_writes_the_file(place, labeller):
    status, _, data = ask(place, f"/{TOKEN}/images/0", SHAPES, Origin=f"http://{place}")
    assert status == 200
    assert sum(json.loads(data)["counts"]) == 48 * 48
    assert labeller.count == 1


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/images", "/wrong/images/0.jpg", "/x/page.js"]
)
def test_who_does_not_know_the_token_gets_nothing(place, path):
    assert ask(place, path)[0] == 404


def test_other_pages_cannot_write(place, labeller):
    path = f"/{TOKEN}/images/0"
    assert ask(place, "/wrong/images/0", SHAPES)[0] == 404
    assert ask(place, path, SHAPES, Origin="https://example.com")[0] == 403
    assert ask(place, path, SHAPES, Origin="null")[0] == 403
    assert (
        ask(place, path, SHAPES, Host="example.com")[0] == 400
    )  # a name made to mean this machine
    assert ask(place, f"/{TOKEN}/", None, Host="example.com:80")[0] == 400
    assert labeller.count == 0


@pytest.mark.parametrize(
    "path",
    ["images/99.jpg", "images/-1.jpg", "images/../../masks.json", "..%2f..%2fmasks.json",
     "%2e%2e/masks.json", "masks.json", "page.html", "images/0.png", "assets/page.js"],
)  # fmt: skip
def test_there_is_nothing_beside(place, path):
    assert ask(place, f"/{TOKEN}/{path}")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        ([], 400),
        ({"shapes": None}, 400),
        ({"shapes": [{"kind": "<b>"}]}, 400),
        (b"x" * (1 << 21), 413),
    ],
)
def test_what_is_no_shape_is_refused_and_changes_nothing(place, labeller, body, status):
    got, _, data = ask(place, f"/{TOKEN}/images/0", body)
    assert got == status
    assert "error" in json.loads(data)
    assert labeller.count == 0
    assert ask(place, f"/{TOKEN}/images/99", SHAPES)[0] == 404
    assert ask(place, f"/{TOKEN}/", SHAPES)[0] == 405
