"""The one home of the compile options.

Kernels are decorated with `jit`, and what is called in kernels alone with `inner`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

# nogil: blocks run side by side on threads.
# cache: compiled once a machine, not once a process, where there is a folder to keep it.
# contract: a*b + c may become one fused instruction. Nothing that reorders a sum is allowed,
#   so that a row's bits do not depend on the block it was computed in, and (x + h) - x stays.
# error_model numpy: x/0 is inf, as in the reference; the test for it would stop vectorisation.
# no_cfunc_wrapper: nobody calls them from C.
OPTIONS = {
    "nogil": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}


def jit(function: Callable[..., Any]) -> Any:
    """Return the function compiled, from the cache if there is a folder to keep it in."""
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        # numba found no folder that it may write to. Python shows a warning of one place once.
        warnings.warn(
            "compiled code cannot be kept: neither fastgrad's folder nor the user's cache can be "
            "written to, and each process compiles anew; set the environment variable "
            "NUMBA_CACHE_DIR to a folder that can",
            RuntimeWarning,
            stacklevel=1,
        )
        return numba.njit(**OPTIONS)(function)


inner = numba.njit(**OPTIONS)

# For the loop around somebody else's compiled function: no `contract`, so that it rounds as the
# same loop in Python does, and no cache, which cannot hold a function made at run time.
jit_around = numba.njit(nogil=True)
