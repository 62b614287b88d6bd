"""The server of the live page on a free port, in a thread, and requests to it."""

import contextlib
import http.client
import json
import threading
from types import SimpleNamespace

import uvicorn

from lightning_cam.output.server.app import make_app
from lightning_cam.output.server.live_runs import LiveRuns


@contextlib.contextmanager
def serving(*folders, host="127.0.0.1"):
    """Yield the address, the port and the runs of a server."""
    runs = LiveRuns(folders)
    options = {"lifespan": "off", "log_level": "error", "access_log": False}
    server = uvicorn.Server(uvicorn.Config(make_app(runs, host), port=0, **options))
    started = threading.Event()
    startup = server.startup

    async def start(sockets=None):
        await startup(sockets)
        started.set()

    server.startup = start
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(60)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield SimpleNamespace(address=f"http://127.0.0.1:{port}/", port=port, runs=runs)
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def ask(server, path, *, method="GET", **headers):
    """Return status, headers and body of an answer; JSON is parsed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        body, kind = answer.read(), answer.headers.get("content-type", "")
        found = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status, found, json.loads(body) if "json" in kind else body
