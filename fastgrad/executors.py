"""Where blocks run: here, on threads, in processes, or on any backend that joblib knows.

joblib is imported when work first goes to a backend of its own: it would double the time of
``import fastgrad``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastgrad import _ambient, _lost_workers, _processes, _shared_memory, _threads, parcels
from fastgrad._typing import Array
from fastgrad.objectives.base import Cost, Objective

THREADS = "threads"
NAMES = {THREADS: THREADS, "processes": "loky"}

OVERHEAD = {THREADS: 3e-4, "threading": 15e-3, "loky": 50e-3, "multiprocessing": 0.2}
"""Seconds that one call costs beside the work; 0.1 for a backend not listed."""

START = 1.0  # Seconds of this process's work that are lost while loky's processes start beside it.

KEPT = 250.0  # Seconds for which loky keeps its processes (300), with a margin.

TASKS_PER_WORKER = 8
"""How many tasks a backend gets at a time that does not tell which of them are done."""

WHOLE = int, np.integer

MOST_WORKERS = 10_000  # More are a mistake: joblib would try to start them all.

_last_use: dict[tuple[str | None, int], float] = {}
# Seconds that processes would have saved if they had been there.
_missed: dict[tuple[str | None, int], float] = {}


class Executor(NamedTuple):
    """Runs blocks of an objective on `workers` workers of a `backend`.

    All but "threads" are joblib's; ``backend=None`` is the one that is active there
    (``joblib.parallel_config``).
    """

    workers: int
    backend: str | None

    @property
    def name(self) -> str:
        """The name of the backend that does the work."""
        if self.workers == 1:
            return "serial"
        if self.backend is not None:
            return self.backend
        from joblib.parallel import BACKENDS, get_active_backend

        kind = type(get_active_backend()[0])
        return next((name for name, known in BACKENDS.items() if known is kind), kind.__name__)

    @property
    def in_threads(self) -> bool:
        """Whether the workers are threads of this process, which share one GIL."""
        return self.name in (THREADS, "threading")

    def pays(self, cost: Cost) -> bool:
        """Tell whether spreading that work is clearly faster than doing it here."""
        saved = self.saves(cost)
        if saved > 0 and self.cold:
            # Processes are started once earlier calls together would have been worth it.
            key = self.backend, self.workers
            _missed[key] = saved + _missed.get(key, 0.0)
            return _missed[key] > START
        return saved > 0

    def saves(self, cost: Cost) -> float:
        """Return about how many seconds workers that are there save, below 0 if they lose some."""
        if self.workers == 1:
            return 0.0
        most = 0.95 * cost.wall - self.overhead
        saved = most - cost.wall / self.workers
        # The workers of a cluster have cores of their own.
        if saved > 0 and self.name in OVERHEAD:
            saved = min(saved, most - cost.cpu / cores())
        return saved

    @property
    def overhead(self) -> float:
        """Seconds that one call costs beside the work."""
        return OVERHEAD.get(self.name, 0.1)

    @property
    def cold(self) -> bool:
        """Whether processes have to be started first."""
        if self.backend != "loky":
            return False
        used = _last_use.get((self.backend, self.workers), -math.inf)
        return time.monotonic() - used > KEPT

    def start(self) -> threading.Thread:
        """Start the processes in the background; the thread ends when they are up."""
        thread = threading.Thread(target=self._start, daemon=True)
        thread.start()
        return thread

    def _start(self) -> None:
        # What goes wrong here will go wrong again, and be heard, when work is sent.
        with contextlib.suppress(Exception):
            list(_processes.results(self.workers, [(parcels.arrive, (), {})] * self.workers))
            _last_use[self.backend, self.workers] = time.monotonic()

    @property
    def shares_memory(self) -> bool:
        """Whether workers see what others write: threads of this library do, and one alone."""
        return self.workers == 1 or self.backend == THREADS

    def run(self, objective: Objective, blocks: list[range], out: Array) -> Iterator[range]:
        """Write the partial derivatives of all blocks to `out`, and yield each block when done."""
        if self.workers == 1:
            for block in blocks:
                objective.partials(block, out[objective.span(block)])
                yield block
        elif self.backend == THREADS and objective.shareable:
            parts = ((objective.partials, (block, out[objective.span(block)])) for block in blocks)
            for block, _ in zip(blocks, self._parallel(list(parts)), strict=True):
                yield block
        else:
            yield from self._send(objective, blocks, out)

    def _send(self, objective: Objective, blocks: list[range], out: Array) -> Iterator[range]:
        """Let copies do the work. The blocks of a worker that was killed are sent once more."""
        parcel = parcels.pack(objective, shared=self.backend == "loky")
        missing = dict.fromkeys(blocks)
        # Dask gives the task of a killed worker to others by itself, three times.
        for _ in range(1 if self.name == "dask" else 2):
            cause = None
            try:
                tasks = [(parcels.partials, (parcel, block)) for block in missing]
                for block, part in self._parallel(tasks):
                    out[objective.span(block)] = part
                    del missing[block]
                    yield block
            except Exception as error:
                if not _lost_workers.lost(error):
                    raise
                cause = error
            # joblib may also end without a word when it aborts.
            if not missing:
                _last_use[self.backend, self.workers] = time.monotonic()
                return
        raise RuntimeError(
            f"workers were killed again and again, {len(missing)} of {len(blocks)} blocks are "
            "missing: out of memory, or does f end its process? Pass fewer workers, or workers=1 "
            "to see the reason"
        ) from cause

    def _parallel(self, tasks: list[_threads.Task]) -> Iterator[Any]:
        """Return the results of all tasks, as they come where the backend can tell."""
        if self.backend == THREADS:
            return _threads.results(self.workers, tasks)
        from joblib import Parallel, parallel_config
        from joblib.parallel import get_active_backend

        if self.backend == "loky":
            return _processes.results(self.workers, [(*task, {}) for task in tasks])
        if self.backend == "dask":
            # `Parallel(backend="dask")` raises a TypeError in joblib 1.6; the context does not.
            with parallel_config("dask", n_jobs=self.workers):
                return Executor(self.workers, None)._parallel(tasks)
        if self.name == "dask":
            _lost_workers.report(get_active_backend()[0])
        # One task a block: joblib's own batching would lump them together.
        options = {"n_jobs": self.workers, "backend": self.backend, "batch_size": 1}
        options["temp_folder"] = _shared_memory.folder()
        with contextlib.suppress(ValueError):  # Some backends hand their results over at the end.
            parallel = Parallel(**options, return_as="generator_unordered")
            results: Iterator[Any] = parallel((call, given, {}) for call, given in tasks)
            return results
        # An exception would have the pool terminated, where multiprocessing may deadlock: it comes
        # back as a result.
        tasks = [(parcels.caught, task) for task in tasks]
        results = _in_turns(Parallel(**options, pre_dispatch="all"), tasks, self.workers)
        return map(parcels.opened, results)


def _in_turns(parallel: Any, tasks: list[_threads.Task], workers: int) -> Iterator[Any]:
    """Yield the results of all tasks in their order, some tasks after the other."""
    length = workers * TASKS_PER_WORKER
    for start in range(0, len(tasks), length):
        yield from parallel([(call, given, {}) for call, given in tasks[start : start + length]])


@functools.cache
def cores() -> int:
    """Return how many cores there are for this process."""
    from joblib import cpu_count

    return int(cpu_count())


SERIAL = Executor(1, None)


def choose(workers: int | None, backend: str | None, *, compiled: bool = True) -> Executor:
    """Check what the caller asked for and return the executor.

    Parameters
    ----------
    workers : int or None
        How many at most; negative numbers count back from the number of cores, -1 is all of them.
        None takes what ``joblib.parallel_config`` says, and 1 outside of it.
    backend : str or None
        "threads", "processes" or the name of a joblib backend. None takes what
        ``joblib.parallel_config`` says, and outside of it threads for compiled code, which holds
        no lock, and processes for any other.
    compiled : bool, default True
        Whether the work is compiled code.

    Raises
    ------
    TypeError
        If `workers` is not a whole number, or `backend` not a name.
    ValueError
        If `workers` is 0 or more than `MOST_WORKERS`, or joblib knows no such backend.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, WHOLE)):
        raise TypeError(
            f"workers must be a whole number or None, got {workers!r}; -1 means all cores"
        )
    if workers is not None and (workers == 0 or workers > MOST_WORKERS):
        raise ValueError(
            f"workers must not be 0 or above {MOST_WORKERS:,}, got {workers}; -1 means all cores"
        )
    if backend is not None:
        _check_backend(backend)
    asked = workers is not None or backend is not None
    if workers == 1 or not (asked or (_ambient.context() and _ambient.configured())):
        return SERIAL
    return _resolve(workers, backend, THREADS if compiled else "processes")


def _check_backend(backend: str) -> None:
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a name or None, got {backend!r}")
    if backend in NAMES:
        return
    from joblib import parallel

    known = sorted({*NAMES, *parallel.BACKENDS, *parallel.EXTERNAL_BACKENDS})
    if backend not in known:
        raise ValueError(f"backend must be one of {', '.join(known)}, got {backend!r}")


def _resolve(workers: int | None, backend: str | None, default: str) -> Executor:
    name = NAMES.get(backend or default)
    if _threads.working():
        return SERIAL
    if name and workers is not None and workers > 0 and not _ambient.context():
        return Executor(workers, name)  # joblib may not be needed at all.
    from joblib.parallel import get_active_backend

    active, configured_workers = get_active_backend(prefer="processes")
    if active.nesting_level:
        return SERIAL  # This is a worker already: its siblings use the other cores.
    # A preference moves joblib's default backend, but not one that somebody chose.
    chosen = type(active) is type(get_active_backend(prefer="threads")[0])
    if backend is None and not chosen:
        backend = default
    name = None if backend is None else NAMES.get(backend, backend)
    return Executor(_count(workers or configured_workers, name), name)


def _count(workers: int | None, name: str | None) -> int:
    """Return a number above 0; None asks for the backend's own, all of a cluster but else 1."""
    if workers is not None and workers > 0:
        return workers
    import joblib

    known = "threading" if name == THREADS else name
    with joblib.parallel_config(backend=known) if known else contextlib.nullcontext():
        own = joblib.parallel.get_active_backend()[0].default_n_jobs
        return int(joblib.effective_n_jobs(workers or own))
