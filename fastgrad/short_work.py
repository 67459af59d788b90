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
from fastgrad.objectives.jitted import drivable, driver, moved, refuse_frozen
from fastgrad.objectives.values import not_finite
from fastgrad.partition import PIECE_SECONDS
from fastgrad.stencils import STENCILS
from fastgrad.step_sizes import BOOK_STEP
from fastgrad.steps import one_for_all, within
from fastgrad.structures import FLOAT64, PIECE, Parameters


def gradient(
    f: Any, x: Any, h: Any, args: tuple[Any, ...], stencil: object, executor: Executor
) -> Array | None:
    """Return the gradient of `f`, which numba has compiled; None where that takes more than this.

    More is another x than one array of float64 that is writable and has 1 to `PIECE` entries, steps
    that differ, a formula of the caller's own, an f that is new, work that an interrupt would have
    to wait for or that workers would save time on, and words for a wrong argument.
    """
    formula = STENCILS.get(stencil) if isinstance(stencil, str) else None
    step = BOOK_STEP if h is None else h
    if formula is None or type(step) is not float or type(x) is not np.ndarray:
        return None
    if x.dtype is not FLOAT64 or not (x.flags.writeable and 0 < x.size <= PIECE):
        return None
    counts, _, weights, centers = formula.table
    evaluations, known = weights.size * x.size, driver(f)
    if not _is_short(known.pace * evaluations, executor) or (args and not drivable(x, args)):
        return None
    plan, limit = one_for_all(formula.moves, formula.reach, step, FLOAT64)
    if not within(x, limit):
        return None
    refuse_frozen(f, [x])
    start = time.perf_counter()
    value = f(x.copy(), *args)
    seconds = time.perf_counter() - start
    known.pace = pace = seconds if isinstance(value, float) else math.inf
    if not _is_short(pace * evaluations, executor):
        return None
    if formula.center and not math.isfinite(value):
        raise not_finite(value, "x")
    point, derivatives = x.copy(), np.empty(x.shape)
    known.drive(
        point, args, point.reshape(-1), 0, plan, (counts, weights, centers, value, False),
        lambda at: moved(Parameters(x), 0, 0, plan, at), derivatives.reshape(-1),
    )  # fmt: skip
    return derivatives


def _is_short(seconds: float, executor: Executor) -> bool:
    """Tell whether an interrupt can wait for work so long, and workers would save no time on it."""
    alone = executor is SERIAL or executor.saves(Cost(seconds, seconds)) <= 0.0
    return seconds < PIECE_SECONDS and alone
