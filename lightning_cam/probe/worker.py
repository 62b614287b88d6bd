"""`read_in_worker`: read a probe's samples without a trace in this process."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import pickle
import time
import traceback
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from lightning_cam.probe.sample_reader import SampleData, read_samples
from lightning_cam.runtime.generators import preserve_generators
from lightning_cam.runtime.model_state import isolated_rng
from lightning_cam.runtime.open_files import own_file_positions

if TYPE_CHECKING:
    from typing_extensions import Self

_TIMEOUT = 120  # seconds without a sample after which the worker is given up
_SILENT = 1.0  # seconds before a progress bar appears


def read_in_worker(loader: Any, size: int, seed: int) -> tuple[SampleData, str]:
    """Return what `read_samples` reads in a worker process, and a note or an empty string.

    A process of its own, because reading leaves traces that no one could undo: files that data sets
    open at first use (workers which are forked later would share their position), random generators
    wherever they are kept, settings of OpenCV. It is started as the loader's own workers are. Where
    that cannot be done, the samples are read in this process, with all generators that can be found
    restored.

    Args:
        loader: a `DataLoader`; its own iterator and workers are not used.
        size: largest number of samples.
        seed: of the choice and of random transforms.

    Raises:
        ValueError: there are no samples.
        Exception: whatever the data set raises.
    """
    facts = _facts_of(loader)
    job = (facts, size, seed)
    context = loader.multiprocessing_context or _fork()
    if context is None and loader.num_workers:  # then the data set can be sent to a process
        context = multiprocessing.get_context()
    with _ProgressBar() as bar:
        try:
            return _run(job, context, getattr(loader, "timeout", 0) or _TIMEOUT, bar), ""
        except _NotReadError as error:
            reason = str(error)
        with isolated_rng(), preserve_generators(loader), _attributes_kept(loader.dataset):
            data = read_samples(facts, size, seed, progress=bar.update)
    return data, f"read in the main process: {reason}"


class _NotReadError(Exception):
    """The worker could not be started, or ended without a result."""


def _facts_of(loader: Any) -> SimpleNamespace:
    """Return what is needed of a `DataLoader`, which cannot be pickled while it is iterated."""
    return SimpleNamespace(
        dataset=loader.dataset,
        batch_size=loader.batch_size,
        sampler=None if isinstance(loader.dataset, IterableDataset) else loader.sampler,
        batch_sampler=loader.batch_sampler,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn if loader.num_workers else None,
    )


@contextlib.contextmanager
def _attributes_kept(dataset: Any) -> Iterator[None]:
    """Restore the attributes of a data set and of those inside it, such as a file opened lazily.

    Workers that are forked later would share the file's position.
    """
    found = [dataset]
    for each in found:
        inner = [getattr(each, "dataset", None), *(getattr(each, "datasets", None) or ())]
        found += [one for one in inner if one is not None and not any(one is f for f in found)]
    kept = [(each, dict(vars(each))) for each in found if hasattr(each, "__dict__")]
    try:
        yield
    finally:
        for each, attributes in kept:
            vars(each).clear()
            vars(each).update(attributes)


def _fork() -> Any:
    """Return the way to start a process that needs nothing to be picklable, None without one."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork") if "fork" in methods else None


def _run(job: tuple[Any, ...], context: Any, timeout: float, bar: _ProgressBar) -> SampleData:
    if context is None:
        raise _NotReadError("this system cannot fork a process")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, *job))
    process.daemon = False  # a daemon may start no processes, as some data sets do
    try:
        with warnings.catch_warnings():
            # Of a process with threads, such as this one. The worker reads and ends.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*fork", category=RuntimeWarning)
            process.start()
    except Exception as error:
        raise _NotReadError(
            f"no worker could be started ({type(error).__name__}: {error})"
        ) from error
    sender.close()  # so that the end of the worker ends the connection
    try:
        return _receive(receiver, timeout, bar)
    finally:
        receiver.close()
        if process.is_alive():
            process.join(1)
            process.kill()
        process.join()


def _receive(receiver: Any, timeout: float, bar: _ProgressBar) -> SampleData:
    while True:
        if not receiver.poll(timeout):
            raise _NotReadError(f"the worker read nothing for {timeout:g} seconds")
        try:
            # Not `pickle`, which does not know all of torch's dtypes; of our own process.
            kind, content = torch.load(io.BytesIO(receiver.recv_bytes()), weights_only=False)
        except (EOFError, OSError) as error:
            raise _NotReadError("the worker ended before it had read the samples") from error
        if kind == "progress":
            bar.update(*content)
        elif kind == "samples":
            data: SampleData = content
            return data
        elif "CUDA" in str(content):  # which a forked process cannot use
            raise _NotReadError(f"{type(content).__name__}: {content}")
        else:
            raise content


def _work(sender: Any, facts: SimpleNamespace, size: int, seed: int) -> None:
    """Read the samples and send them: the worker process."""

    def send(kind: str, content: Any) -> None:
        # By value: shared memory may be small, and must not outlive this process.
        buffer = io.BytesIO()
        torch.save((kind, content), buffer)
        sender.send_bytes(buffer.getvalue())

    torch.set_num_threads(1)
    own_file_positions()
    try:
        if facts.worker_init_fn is not None:
            _become_worker(facts.dataset, seed)
            facts.worker_init_fn(0)
        data = read_samples(
            facts,
            size,
            seed,
            progress=lambda done, most: send("progress", (done, most)),
        )
        send("samples", data)
    except KeyboardInterrupt:  # Ctrl-C reaches the main process too, which says so
        return
    except Exception as error:  # noqa: BLE001 - raised again in the main process
        text = traceback.format_exc()
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301
            send("error", error)
            return
        send("error", RuntimeError(f"{type(error).__name__}: {error}\n\n{text}"))


def _become_worker(dataset: Any, seed: int) -> None:
    """Let `get_worker_info` return what it does in a worker of the loader."""
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from torch.utils.data._utils import worker

        info = worker.WorkerInfo(id=0, num_workers=1, seed=seed, dataset=dataset)
        worker._worker_info = info  # noqa: SLF001 - there is no public way


class _ProgressBar:
    """A bar of the samples read, once that takes noticeably long."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, most: int) -> None:
        """Show how many samples have been read."""
        if self._bar is None and time.monotonic() - self._started > _SILENT:
            with contextlib.suppress(ImportError):
                from tqdm import tqdm  # type: ignore[import-untyped]

                class Bar(tqdm):  # type: ignore[misc]
                    monitor_interval = 0  # starts no thread, which would stay

                text = "lightning_cam: reading images"
                self._bar = Bar(total=most, desc=text, leave=False, dynamic_ncols=True)
        if self._bar is not None:
            self._bar.total = most
            self._bar.n = done
            self._bar.refresh()
