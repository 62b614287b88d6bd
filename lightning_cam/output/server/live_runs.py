"""`LiveRuns`: all runs below the served folders."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_cam.output.report.page import run_names
from lightning_cam.output.report.summary import COLOURS, RunSummary
from lightning_cam.output.server.live_run import Known, LiveRun
from lightning_cam.output.server.runs import find_runs, record_files

_SEARCH_EVERY = 5.0  # seconds
_SEARCH_SHARE = 0.1  # of the time, where a search takes long, as on a network
_READ_FOR = 0.3  # seconds per request, so that a page soon shows what is there
_MOST_SENT = 16 << 20  # characters of evaluations per answer
_MOST_MAPS = 256  # evaluations whose maps are sent at once


class LiveRuns:
    """The runs that a page may show; safe to use from several threads.

    Args:
        roots: folders of runs, or folders with such below them.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = list(roots)
        self._runs: dict[str, LiveRun] = {}
        self._names: list[str] = []
        self._next_search = 0.0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._runs)

    def search(self) -> None:
        """Look for new runs, at most every few seconds; those that are known keep their places."""
        with self._lock:
            started = time.monotonic()
            if started < self._next_search:
                return
            for path in find_runs(self._roots):
                run = LiveRun(path)
                self._runs.setdefault(run.key, run)
            self._names = run_names([run.path for run in self._runs.values()])
            took = time.monotonic() - started
            self._next_search = started + max(_SEARCH_EVERY, took / _SEARCH_SHARE)

    def read_ahead(self) -> threading.Thread:
        """Read what is there in a thread, before anyone asks for it; return the thread."""

        def work() -> None:
            while self.read(self.newest()):
                time.sleep(0)  # others get the lock

        thread = threading.Thread(target=work, name="lightning_cam_serve", daemon=True)
        thread.start()
        return thread

    def newest(self) -> list[str]:
        """Return the keys of the runs that are shown at first: all, or those written to last."""
        with self._lock:
            keys = list(self._runs)
            last = sorted(keys, key=lambda key: _written(self._runs[key].path))[-COLOURS:]
            return [key for key in keys if key in last]

    def page(self) -> tuple[list[RunSummary], list[dict[str, Any]]]:
        """Return what the page says of each run at first, and the runs as its script knows them."""
        with self._lock:
            runs = enumerate(zip(self._runs.values(), self._names, strict=True))
            words = [run.words(i, name) for i, (run, name) in runs]
            listed = [
                {**each, "probes": [], "version": said.version}
                for each, said in zip(self._listed(), words, strict=True)
            ]
            return [each.summary for each in words], listed

    def _listed(self) -> list[dict[str, Any]]:
        pairs = zip(self._runs, self._names, strict=True)
        return [{"key": key, "name": name} for key, name in pairs]

    def read(self, keys: Sequence[str]) -> bool:
        """Read what was added to some runs, for a while; return whether there is more of it."""
        with self._lock:
            end = time.monotonic() + _READ_FOR
            runs = [self._runs[key] for key in keys if key in self._runs]
            for run in runs:
                run.read()
            while time.monotonic() < end and any(run.behind for run in runs):
                for run in runs:
                    if run.behind:
                        run.read()
            return any(run.behind for run in runs)

    def news(self, known: Mapping[str, Known], listed: int) -> str:
        """Return as JSON what a page does not know yet.

        Args:
            known: by the keys of the runs that it shows what it has of them.
            listed: how many runs it knows.
        """
        with self._lock:
            self.search()
            more = self.read(list(known))
            runs, room = [], _MOST_SENT
            for index, (run, name) in enumerate(zip(self._runs.values(), self._names, strict=True)):
                if run.key in known:
                    text, full = run.news(index, name, known[run.key], room)
                    runs += [text] if text else []
                    room, more = room - len(text), more or full
            fields = [f'"runs":[{",".join(runs)}]', f'"more":{json.dumps(more)}']
            if len(self._runs) != listed:
                fields.append(f'"listed":{json.dumps(self._listed())}')
            return "{" + ",".join(fields) + "}"

    def maps(self, wanted: Sequence[tuple[str, int, int, int]]) -> list[Any]:
        """Return the cells of the maps of evaluations, None for each that is not there any more.

        Args:
            wanted: of each the key of its run, number and generation of its record, and its index.
        """
        with self._lock:
            return [self._maps(*each) for each in wanted[:_MOST_MAPS]]

    def _maps(self, key: str, number: int, generation: int, index: int) -> Any:
        run = self._runs.get(key)
        if run is None or not 0 <= number < len(run.records):
            return None
        record = run.records[number]
        return record.cells_of(index) if record.generation == generation else None

    def picture(self, key: str) -> str | None:
        """Return the image of a name as base64, None where no run that was read has it."""
        with self._lock:
            found = (r.pictures.get(key) for run in self._runs.values() for r in run.records)
            return next((picture for picture in found if picture is not None), None)


def _written(run: Path) -> float:
    """Return when a run was written to last, in seconds since 1970."""
    return max(map(_changed, record_files(run)), default=0.0)


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # gone since it was found
        return 0.0
