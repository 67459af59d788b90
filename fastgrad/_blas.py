"""The only file that knows threadpoolctl: how many threads NumPy's matrix products take."""

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
