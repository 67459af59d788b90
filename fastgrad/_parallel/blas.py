"""How many threads NumPy's matrix products take. The only file that knows threadpoolctl."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any


@functools.cache
def _controller() -> Any:
    # Looking for the libraries takes a millisecond: once a process.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Keep each matrix product on the thread that calls it.

    Where all cores have a caller, more threads only get in each other's way: those of OpenBLAS go
    on spinning for tens of milliseconds after a product, and take a core from what comes next.
    """
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


def threads() -> dict[str, int]:
    """Return the number of threads of each library: the bits of a product depend on it."""
    return {pool["prefix"]: pool["num_threads"] for pool in _controller().info()}


def set_threads(wanted: dict[str, int]) -> None:
    """Give the libraries of this process, a worker, so many threads from now on."""
    if threads() != wanted:
        _controller().limit(limits=wanted)
