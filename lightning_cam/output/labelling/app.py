"""`label_app`: the labelling page as a Starlette application, and `serve`, which runs it."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lightning_cam.output.labelling.labeller import Labeller

HOST = "127.0.0.1"  # the page writes files: no other machine reaches it
_MOST_BYTES = 1 << 20  # of what the page sends
_ASSETS = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}

Next = Callable[[Request], Awaitable[Response]]


def new_token() -> str:
    """Return what the page's address must hold, so that no other page can write masks."""
    return secrets.token_urlsafe(16)


def label_app(labeller: Labeller, token: str) -> Starlette:
    """Return the application; all its addresses start with the token.

    Args:
        labeller: of a run's images.
        token: see `new_token`.
    """
    pages = _Pages(labeller)
    routes = [
        Route("/{token}/", pages.asset),
        Route("/{token}/images", pages.state),
        Route("/{token}/images/{number:int}", pages.draw, methods=["POST"]),
        Route("/{token}/images/{number:int}.jpg", pages.image),
        Route("/{token}/{name}", pages.asset),
    ]
    guarded = [Route(r.path, _guarded(r.endpoint, token), methods=r.methods) for r in routes]
    hosts = [HOST, "localhost"]  # against other sites' names that were made to mean this machine
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    return Starlette(routes=guarded, middleware=middleware)


def serve(labeller: Labeller, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        labeller: of a run's images.
        port: of this machine; 0 for a free one.
        say: takes the page's address.

    Raises:
        OSError: the port is taken.
    """
    token = new_token()
    with socket.create_server((HOST, port)) as listening:
        say(f"http://{HOST}:{listening.getsockname()[1]}/{token}/")
        config = uvicorn.Config(label_app(labeller, token), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


def _guarded(endpoint: Next, token: str) -> Next:
    """Return an endpoint that answers only who knows the token, and whose answers are strict."""

    async def answer(request: Request) -> Response:
        given = str(request.path_params["token"])
        if not secrets.compare_digest(given.encode(), token.encode()):
            response: Response = PlainTextResponse("no such page", status_code=404)
        else:
            response = await endpoint(request)
        response.headers.update(_HEADERS)
        return response

    return answer


class _Pages:
    def __init__(self, labeller: Labeller) -> None:
        self._labeller = labeller

    async def asset(self, request: Request) -> Response:
        """Return a file of the page itself."""
        name = str(request.path_params.get("name", ""))
        if name not in _ASSETS:
            return PlainTextResponse("no such page", status_code=404)
        file, kind = _ASSETS[name]
        data = (resources.files("lightning_cam.output.labelling") / "assets" / file).read_bytes()
        return Response(data, media_type=kind)

    async def state(self, _: Request) -> Response:
        """Return all images with their masks, and where these are written."""
        images = await run_in_threadpool(self._labeller.state)
        return JSONResponse({"out": str(self._labeller.out), "images": images})

    async def image(self, request: Request) -> Response:
        """Return an image as it was recorded."""
        number = int(request.path_params["number"])
        if number >= len(self._labeller.images):
            return PlainTextResponse("no such image", status_code=404)
        return Response(self._labeller.images[number].jpeg, media_type="image/jpeg")

    async def draw(self, request: Request) -> Response:
        """Make an image's mask of the shapes in the request, and write it."""
        number = int(request.path_params["number"])
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host')}":
            return _refusal("expected a request of this page", 403)
        if number >= len(self._labeller.images):
            return _refusal("no such image", 404)
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > _MOST_BYTES:
                return _refusal("too long", 413)
        try:
            content: Any = json.loads(data)
            shapes = content["shapes"] if isinstance(content, dict) else None
            return JSONResponse(await run_in_threadpool(self._labeller.draw, number, shapes))
        except (ValueError, KeyError, RecursionError) as error:
            return _refusal(f"not saved: {error}", 400)
        except OSError as error:
            return _refusal(f"not saved: {error.strerror or error}", 507)


def _refusal(reason: str, status: int) -> Response:
    return JSONResponse({"error": reason}, status_code=status)
