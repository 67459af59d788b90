"""What travels to a worker: the objective, once, in one piece.

joblib hands arrays of more than 1 MiB to local processes as read-only memory maps, which an open
pool never refreshes, and its Dask backend sends a function and its array apart. A parcel is one
array of bytes instead: what comes out of it at the other end is writable, private and fresh, and
whatever was one object is one object again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad import _processes, _shared_memory
from fastgrad._typing import Array
from fastgrad.objectives.base import Objective


class Parcel(NamedTuple):
    """A pickled objective, the process it comes from, and that process's thread pools.

    `shared` if it goes to that process's children only.
    """

    token: str
    payload: Array
    pid: int
    threads: dict[str, int]
    shared: bool


def pack(objective: Objective, *, shared: bool = False) -> Parcel:
    """Return the objective as a parcel, `shared` if it is for processes on this machine only."""
    import cloudpickle  # Takes lambdas and notebook functions along.
    import threadpoolctl

    try:
        payload = cloudpickle.dumps(objective)
    except Exception as error:
        raise TypeError(
            f"f cannot be sent to a worker ({type(error).__name__}: {error}); let it open files, "
            "locks and connections itself, or pass workers=1"
        ) from error
    content: Array = np.frombuffer(payload, np.uint8)
    if shared:
        content = _shared_memory.shared(content)
    threads = {pool["prefix"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    return Parcel(uuid.uuid4().hex, content, os.getpid(), threads, shared)


_received = threading.local()


def arrive() -> None:
    """Do nothing, slowly enough that every worker has to: it starts, and imports this module."""
    _processes.serve(os.getppid())
    time.sleep(0.02)


def caught(call: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """Return what a call returns, and what it raises."""
    try:
        return call(*arguments), None
    except Exception as error:
        return None, error


def opened(outcome: tuple[Any, Exception | None]) -> Any:
    """Return or raise what `caught` has caught."""
    result, error = outcome
    if error is not None:
        raise error
    return result


def partials(parcel: Parcel, block: range) -> tuple[range, Array]:
    """Return a block and its partial derivatives, in a worker."""
    if getattr(_received, "token", None) != parcel.token:
        _receive(parcel)
    objective = _received.objective
    with _received.limits():
        span = objective.span(block)
        out = np.empty(span.stop - span.start, objective.dtype)
        objective.partials(block, out)
        return block, out


def _receive(parcel: Parcel) -> None:
    """Unpickle and verify the objective: once a worker, not once a block."""
    import cloudpickle

    if parcel.shared:
        _processes.serve(parcel.pid)
    objective: Objective = cloudpickle.loads(parcel.payload.tobytes())
    limits = _thread_limits(parcel)
    with limits():
        objective.verify()
    _received.objective, _received.limits, _received.token = objective, limits, parcel.token


def _thread_limits(parcel: Parcel) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Return what gives BLAS as many threads as it has where the call came from.

    A product's bits depend on that number. joblib gives its processes fewer.
    """
    import threadpoolctl

    if parcel.pid == os.getpid():
        return contextlib.nullcontext
    # Looking for the libraries takes a millisecond: not for every block.
    return functools.partial(threadpoolctl.ThreadpoolController().limit, limits=parcel.threads)
