"""How many threads NumPy's matrix products take. The only file that knows threadpoolctl."""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import AbstractContextManager
from typing import Any


def _controller() -> Any:
    return _found(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _found(modules: int) -> Any:
    # Looking for the libraries takes a millisecond: again only after an import, of SciPy say.
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
        # threadpoolctl lets one thread of a process set the number until it ends: this one does.
        setter = threading.Thread(target=_controller().limit, kwargs={"limits": wanted})
        setter.start()
        setter.join()
