"""The gradient of a compiled function, where all of it takes less than a blink.

What longer work is made of (structures, plans, objectives, executors) is a few dozen functions of
Python, whose code has left the caches by the next call: that takes longer than their arithmetic,
and as long as a hundred evaluations of a short function. Here is what one array and one step need,
around the same compiled loop.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.executors import SERIAL, Executor
from fastgrad.objectives.base import Cost
from fastgrad.objectives.jitted import drivable, driver, refuse_frozen
from fastgrad.partition import PIECE_SECONDS
from fastgrad.stencils import STENCILS
from fastgrad.step_sizes import BOOK_STEP
from fastgrad.steps import one_for_all, within
from fastgrad.structures import FLOAT64


def gradient(
    f: Any, x: Any, h: Any, args: tuple[Any, ...], stencil: object, executor: Executor
) -> Array | None:
    """Return the gradient of `f`, which numba has compiled; None where that takes more than this.

    More is another x than one array of float64, steps that differ, a formula of the caller's own,
    work that an interrupt would have to wait for or that workers would save time on, and words for
    what went wrong.
    """
    formula = STENCILS.get(stencil) if isinstance(stencil, str) else None
    step = BOOK_STEP if h is None else h
    if formula is None or type(step) is not float:
        return None
    if type(x) is not np.ndarray or x.dtype is not FLOAT64 or (args and not drivable(x, args)):
        return None
    plan, limit = one_for_all(formula.moves, formula.reach, step, FLOAT64)
    if not within(x, limit):
        return None
    refuse_frozen(f, [x])
    counts, _, weights, centers = formula.table
    try:
        start = time.perf_counter()
        value = f(x.copy(), *args)
        seconds = (time.perf_counter() - start) * weights.size * x.size
        if not (isinstance(value, float) and math.isfinite(value)) or seconds > PIECE_SECONDS:
            return None
        if executor is not SERIAL and executor.saves(Cost(seconds, seconds)) > 0.0:
            return None
        moved, at, derivatives = x.copy(), np.zeros(2, np.int64), np.empty(x.shape)
        finite = driver(f)(
            moved, args, moved.reshape(-1), 0, *plan, counts, weights, centers, value, False,
            at, derivatives.reshape(-1),
        )  # fmt: skip
    except Exception:
        return None
    return derivatives if finite else None
