"""Where blocks run: here, on threads, in processes, or on any backend that joblib knows.

The only file that knows joblib, which is imported when work is first spread: it would double
the time of ``import fastgrad``.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats
from fastgrad.objectives.base import Objective

THREADS = "fastgrad-threads"
NAMES = {"threads": THREADS, "processes": "loky"}
OVERHEAD = {THREADS: 0.5e-3, "threading": 15e-3, "loky": 50e-3}
"""Seconds that one call through joblib costs beside the work; 0.1 for a backend not listed."""


@dataclass(frozen=True)
class Executor:
    """Runs blocks of an objective on `workers` workers of joblib's `backend`.

    ``backend=None`` is the one that is active in joblib (``joblib.parallel_config``).
    """

    workers: int
    backend: str | None

    def pays(self, seconds: float) -> bool:
        """Tell whether spreading work of that length is faster than doing it here."""
        saved = seconds * (1 - 1 / self.workers)
        return saved > OVERHEAD.get(self.backend or "", 0.1)

    def run(self, objective: Objective, blocks: list[range], out: Floats) -> None:
        """Write the partial derivatives of all blocks to `out`, each block in its span."""
        from joblib import Parallel, delayed

        # One task a block, all handed over at once: joblib's own batching would lump them together.
        parallel = Parallel(
            n_jobs=self.workers, backend=self.backend, batch_size=1, pre_dispatch="all"
        )
        if self.backend == THREADS:
            parallel(
                delayed(objective.partials)(block, out[objective.span(block)]) for block in blocks
            )
            return
        parcel = _pack(objective)
        parts = parallel(delayed(_remote_partials)(parcel, block) for block in blocks)
        for block, part in zip(blocks, parts, strict=True):
            out[objective.span(block)] = part


def choose(workers: int | None, backend: str | None, *, default: str = "threads") -> Executor:
    """Check what the caller asked for and return the executor.

    Parameters
    ----------
    workers : int or None
        How many at most; negative numbers count back from the number of cores, -1 is all of them.
        None takes what ``joblib.parallel_config`` says, and 1 outside of it.
    backend : str or None
        "threads", "processes" or the name of a joblib backend. None takes what
        ``joblib.parallel_config`` says, and `default` outside of it.
    default : str
        "threads" or "processes".

    Raises
    ------
    TypeError
        If `workers` is not a whole number, or `backend` not a name.
    ValueError
        If `workers` is 0, or joblib knows no such backend.
    """
    if workers is not None and (
        isinstance(workers, bool) or not isinstance(workers, int | np.integer)
    ):
        raise TypeError(
            f"workers must be a whole number or None, got {workers!r}; -1 means all cores"
        )
    if workers == 0:
        raise ValueError("workers must not be 0; pass 1 to stay serial, -1 for all cores")
    if backend is not None:
        _check_backend(backend)
    if workers == 1:
        return Executor(1, None)
    return _resolve(workers, backend, default)


def _check_backend(backend: str) -> None:
    from joblib import parallel

    if not isinstance(backend, str):
        raise TypeError(f"backend must be a name or None, got {backend!r}")
    known = [*NAMES, *parallel.BACKENDS, *parallel.EXTERNAL_BACKENDS]
    known = sorted({name for name in known if name != THREADS})
    if backend not in known:
        raise ValueError(f"backend must be one of {', '.join(known)}, got {backend!r}")


def _resolve(workers: int | None, backend: str | None, default: str) -> Executor:
    from joblib.parallel import get_active_backend

    active, configured_workers = get_active_backend(prefer="processes")
    if active.nesting_level:
        return Executor(1, None)  # This is a worker already: its siblings use the other cores.
    # A preference moves joblib's default backend, but not one that somebody chose.
    chosen = type(active) is type(get_active_backend(prefer="threads")[0])
    if backend is None and not chosen:
        backend = default
    name = None if backend is None else NAMES.get(backend, backend)
    if name == THREADS:
        from fastgrad import _low_latency

        _low_latency.register(THREADS)
    return Executor(_count(workers or configured_workers or 1, name), name)


def _count(workers: int, name: str | None) -> int:
    if workers > 0:
        return workers
    import joblib

    with joblib.parallel_config(backend=name) if name else contextlib.nullcontext():
        return int(joblib.effective_n_jobs(workers))


_received = threading.local()


def _pack(objective: Objective) -> tuple[str, Array]:
    """Return a token and the pickled objective, as one array of bytes.

    joblib hands an array of more than 1 MiB to local processes through a memory map and scatters
    it on a cluster: once, not with every block. Cloudpickle takes lambdas and notebook functions
    along, and what comes out at the other end is writable and private.
    """
    import cloudpickle

    return uuid.uuid4().hex, np.frombuffer(cloudpickle.dumps(objective), np.uint8)


def _unpack(parcel: tuple[str, Array]) -> Objective:
    """Return the objective of a parcel, unpickled once a worker and not once a block."""
    import cloudpickle

    token, payload = parcel
    if getattr(_received, "token", None) != token:
        _received.objective = cloudpickle.loads(payload.tobytes())
        _received.token = token
    objective: Any = _received.objective
    return objective  # type: ignore[no-any-return]


def _remote_partials(parcel: tuple[str, Array], block: range) -> Floats:
    objective = _unpack(parcel)
    span = objective.span(block)
    out = np.empty(span.stop - span.start)
    objective.partials(block, out)
    return out
