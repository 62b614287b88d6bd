"""Requests to the server: what it answers, and what it refuses."""

import json
import re
from urllib.parse import quote

import pytest
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of
from helpers.serving import ask, serving

from lightning_cam.monitor import Alert

HIDDEN = "not to be served"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a served folder with one run, beside a file that must stay unseen."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.jsonl").write_text(HIDDEN)
    count = len(NAMES)
    probe = probe_of(count, count, ids=NAMES, class_names=[f"{name} class" for name in NAMES])
    run = Run(outside / "served" / "<img src=x onerror=alert(1)>", probe, classes=count)
    alert = Alert("cam", NAMES[1], 0.1, 0.2, 0, 0, "confirmed", {NAMES[0]: 1.0}, worst=tuple(NAMES))
    run.evaluate(0, [alert])
    return outside / "served"


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder) as started:
        yield started


def known(server):
    """Return the key of the run, and its news."""
    ask(server, "/")
    key = server.runs.newest()[0]
    status, _, news = ask(server, f"/news?listed=1&run={key}:")
    assert status == 200
    return key, news["runs"][0]


def test_the_page_may_load_nothing_but_what_this_server_has(server):
    status, headers, body = ask(server, "/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name, value in (("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")):
        assert headers[name] == value
    assert "access-control-allow-origin" not in headers
    text = body.decode()
    assert "<img src=x" not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https:|innerHTML|insertAdjacent|document\.write|\beval\b", text)


def test_names_are_escaped_in_what_the_page_takes_over_as_html(server):
    _, run = known(server)
    for name in ("head", "alerts", "numbers", "about"):
        assert "<script" not in run["words"][name]
        assert "<img" not in run["words"][name]
    assert "&lt;img src=x onerror=alert(1)&gt;" in run["words"]["head"]
    assert run["probes"][0]["facts"]["ids"] == NAMES


def test_maps_and_images_are_answered(server):
    key, run = known(server)
    (probe,) = run["probes"]
    status, _, maps = ask(server, f"/maps?of={key}:0.{probe['generation']}.0")
    assert status == 200
    assert [len(each) for each in maps] == [1]
    status, headers, body = ask(server, f"/images/{probe['facts']['images'][0]}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.jsonl",
        "/images/../../secret.jsonl",
        "/images/" + quote("../../secret.jsonl", safe=""),
        "/images/%2e%2e%2fsecret.jsonl",
        "/images/" + "a" * 5000,
        "/images/",
        "//etc/passwd",
        "/static/../../secret.jsonl",
        "/lightning_cam/cam.jsonl",
    ],
)
def test_paths_lead_to_no_file(server, path):
    status, _, body = ask(server, path)
    assert status == 404
    assert HIDDEN.encode() not in body


@pytest.mark.parametrize(
    "query",
    [
        "/news?run=../../secret:",
        "/news?listed=" + "9" * 50,
        "/news?run=" + "x" * 20_000,
        "/maps?of=../secret.jsonl:0.0.0",
        "/maps?" + "&".join(["of=x:0.0.0"] * 2000),
    ],
)
def test_unknown_runs_have_nothing(server, query):
    status, _, found = ask(server, query)
    assert status == 200
    runs = found["runs"] if isinstance(found, dict) else [each for each in found if each]
    assert runs == []


@pytest.mark.parametrize("query", ["/maps?of=a", "/maps?of=a:1.2", "/news?run=a::-1.0.0",
                                   "/maps?of=a:1.2.x", "/maps?of=a:1.2." + "9" * 30])  # fmt: skip
def test_malformed_questions_are_refused(server, query):
    assert ask(server, query)[0] == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(server, method):
    assert ask(server, "/news", method=method)[0] == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("evil.example:6226", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("192.168.0.7", 421),
        ("", 421),
    ],
)
def test_only_this_machine_is_the_host(server, host, status):
    assert ask(server, "/news", Host=host)[0] == status


def test_served_to_others_addresses_and_the_own_name_are_hosts_too(folder):
    import socket

    with serving(folder, host="0.0.0.0") as server:  # noqa: S104 - it listens on the loopback only
        for host in ("192.168.0.7:1", "[fe80::1]", socket.gethostname(), "localhost"):
            assert ask(server, "/news", Host=host)[0] == 200
        assert ask(server, "/news", Host="evil.example")[0] == 421


def test_a_folder_without_runs_has_a_page(tmp_path):
    with serving(tmp_path) as server:
        status, _, body = ask(server, "/")
        assert status == 200
        assert b"No run yet" in body
        assert json.loads(server.runs.news({}, listed=0)) == {"runs": [], "more": False}
