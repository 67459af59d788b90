"""Who does the work: reads `workers` and `backend`."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import reprlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._parallel import cost, pools
from fastgrad._parallel.payload import working

_logger = logging.getLogger("fastgrad")

WHOLE = int, np.integer

MOST_WORKERS = 10_000  # More are a mistake.


@dataclass(frozen=True)
class Team:
    """So many workers of a backend."""

    workers: int
    backend: str | None  # None is joblib's active one
    name: str  # of the backend that does the work

    def open(self) -> pools.Pool:
        """Return the pool of workers."""
        return pools.open_pool(self.backend, self.workers, self.name)

    @property
    def in_threads(self) -> bool:
        """Whether the workers are threads of this process."""
        return self.name in ("threads", "threading")

    @property
    def warm(self) -> bool:
        """Whether no processes have to be started."""
        return pools.is_warm(self.backend, self.workers)

    def saves(self, pace: float, left: int, cpu_share: float, nogil: bool) -> float:
        """Return about how many seconds handing out `left` evaluations of `pace` seconds saves."""
        if self.in_threads and not nogil and pace < cost.GIL:
            return 0.0
        return cost.saved(self.name, self.workers, pace * left, cpu_share)

    def pays(self, saved: float) -> bool:
        """Tell whether to hand out work where that saves so many seconds."""
        return saved > 0 and (self.warm or cost.worth_starting(saved))


SERIAL = Team(1, None, "serial")


def choose(workers: int | None, backend: str | None, *, compiled: bool = True) -> Team:
    """Return who does the work; `workers` and `backend` are those of `numerical_gradient`.

    Negative numbers of workers count back from the number of cores. Compiled code, which holds no
    lock, runs on threads unless another backend is asked for.
    """
    _check(workers, backend)
    configured = _configured()
    if workers == 1 or (workers is None and backend is None and not configured):
        return SERIAL
    if working() or multiprocessing.current_process().daemon:
        _logger.debug("serial: this is a worker already, or a process that may not start others")
        return SERIAL
    default = "threads" if compiled else "processes"
    if not configured and workers is not None and workers > 0 and backend in (None, *pools_of_own):
        name = backend or default
        return Team(int(workers), name, name)
    return _by_joblib(workers, backend, default)


pools_of_own = "threads", "processes"


def _check(workers: object, backend: object) -> None:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, WHOLE)):
        raise TypeError(
            f"workers must be a whole number or None, got {workers!r}; -1 means all cores"
        )
    if workers is not None and (workers == 0 or workers > MOST_WORKERS):
        raise ValueError(
            f"workers must not be 0 or above {MOST_WORKERS:,}, got {reprlib.repr(workers)}; "
            "-1 means all cores"
        )
    if backend is None or backend in pools_of_own:
        return
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a name or None, got {backend!r}")
    from joblib import parallel

    known = sorted({*pools_of_own, *parallel.BACKENDS, *parallel.EXTERNAL_BACKENDS})
    if backend not in known:
        raise ValueError(f"backend must be one of {', '.join(known)}, got {backend!r}")


def _configured() -> bool:
    """Tell whether a `joblib.parallel_config` may be open; joblib takes 0.1 ms to answer."""
    parallel = sys.modules.get("joblib.parallel")
    if parallel is None:
        return False
    with contextlib.suppress(AttributeError, TypeError):
        nothing = parallel.default_parallel_config
        return vars(parallel._backend).get("config", nothing) is not nothing
    return True


def _by_joblib(workers: int | None, backend: str | None, default: str) -> Team:
    from joblib.parallel import BACKENDS, get_active_backend

    active, configured_workers = get_active_backend(prefer="processes")
    client = getattr(active, "client", None)
    if client is not None and client.status != "running":
        raise pools.lost_scheduler(client)
    if active.nesting_level:
        return SERIAL  # This is a worker already: its siblings use the other cores.
    # A preference moves joblib's default backend, but not one that somebody chose.
    chosen = type(active) is type(get_active_backend(prefer="threads")[0])
    if backend is None and not chosen:
        backend = default
    name = backend
    if name is None:
        kind = type(active)
        name = next((name for name, known in BACKENDS.items() if known is kind), kind.__name__)
    try:
        count = _count(workers or configured_workers, backend)
    except Exception as error:
        if client is None:
            raise
        raise pools.lost_scheduler(client) from error
    count = count if client is None else max(count, 2)  # A cluster may grow.
    return SERIAL if count == 1 else Team(count, backend, name)


def _count(workers: Any, backend: str | None) -> int:
    """Return a number above 0; None asks for the backend's own, all of a cluster but else 1."""
    if workers is not None and workers > 0:
        return int(workers)
    import joblib

    known = {"threads": "threading", "processes": "loky"}.get(backend or "", backend)
    with joblib.parallel_config(backend=known) if known else contextlib.nullcontext():
        own = joblib.parallel.get_active_backend()[0].default_n_jobs
        return int(joblib.effective_n_jobs(workers or own))
