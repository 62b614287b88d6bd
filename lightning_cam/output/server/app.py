"""`make_app`: the page, what is new in its runs, their maps and images, as an ASGI application."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from lightning_cam.output.report.page import render_page
from lightning_cam.output.report.payload import frame
from lightning_cam.output.server.live_run import Known
from lightning_cam.output.server.live_runs import LiveRuns

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'",  # of answers that are no page
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_NUMBER = re.compile(r"[0-9]{1,9}")


def make_app(runs: LiveRuns, host: str = LOOPBACK[0]) -> Starlette:
    """Return the application. It only reads, and opens no file that a request names.

    Args:
        runs: what it shows.
        host: the address that it is served at.
    """

    def page(_request: Request) -> Response:
        runs.search()
        shown = runs.newest()
        runs.read(shown)
        summaries, listed = runs.page()
        records = summaries[0].records if summaries else ()
        data = {**frame(records[0].settings if records else {}), "runs": listed, "shown": shown}
        html, policy = render_page(summaries, data, live=True)
        headers = {"content-security-policy": f"{policy}; frame-ancestors 'none'"}
        return HTMLResponse(html.encode("utf-8", "replace"), headers=headers)

    def news(request: Request) -> Response:
        known = dict(map(_known, request.query_params.getlist("run")))
        listed = request.query_params.get("listed", "")
        count = int(listed) if _NUMBER.fullmatch(listed) else -1
        return _json(runs.news(known, count))

    def maps(request: Request) -> Response:
        wanted = [_evaluation(each) for each in request.query_params.getlist("of")]
        return _json(json.dumps(runs.maps(wanted)))

    def image(request: Request) -> Response:
        found = runs.picture(request.path_params["key"])
        if found is None:
            return PlainTextResponse("no such image", status_code=404)
        kept = {"cache-control": "private, max-age=86400, immutable"}  # the name is of its content
        return Response(base64.b64decode(found), media_type="image/jpeg", headers=kept)

    routes = [
        Route("/", page),
        Route("/news", news),
        Route("/maps", maps),
        Route("/images/{key}", image),
    ]
    guards = [Middleware(_OnlyHosts, hosts=_hosts(host)), Middleware(_WithHeaders)]
    return Starlette(routes=routes, middleware=guards)


def _json(text: str) -> Response:
    return Response(text.encode("utf-8", "replace"), media_type="application/json")


def _known(text: str) -> tuple[str, Known]:
    """Return the key of a run and what the page has of it, as `live.js` writes it."""
    key, *rest = text.split(":")
    records = {}
    for each in rest[1:]:
        number, generation, count = _numbers(each)
        records[number] = generation, count
    return key, Known(rest[0] if rest else "", records)


def _evaluation(text: str) -> tuple[str, int, int, int]:
    key, _, place = text.partition(":")
    number, generation, index = _numbers(place)
    return key, number, generation, index


def _numbers(text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(map(_NUMBER.fullmatch, parts)):  # noqa: PLR2004
        raise HTTPException(400, "expected three numbers with dots between them")
    first, second, third = map(int, parts)
    return first, second, third


# --- guards ---------------------------------------------------------------------------------------


def _hosts(host: str) -> frozenset[str]:
    """Return the names under which the server may be asked for.

    A page of elsewhere may let its own name point at this machine, and would then read the answers
    as if they were its own: a name that is not ours is refused.
    """
    own = {host.lower(), *LOOPBACK}
    if host not in LOOPBACK:
        own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(own)


class _OnlyHosts:
    """Refuses requests for other hosts, and methods that are not for reading."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._any_address = not self._hosts <= set(LOOPBACK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._fits(scope):
            refused = PlainTextResponse("expected another Host", status_code=421)
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _fits(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            return False
        name = re.sub(r":[0-9]+$", "", given[0].decode("latin-1").lower())
        name = name.removeprefix("[").removesuffix("]")
        return name in self._hosts or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    """Return whether it is a number: such a name belongs to no page of elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _WithHeaders:
    """Adds to each answer the headers that keep other pages away from it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in more if name not in there),
                ]
            await send(message)

        await self._app(scope, receive, send_with)
