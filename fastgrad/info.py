"""What a call did."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastgrad.executors import Executor


@dataclass(frozen=True)
class Info:
    """What `numerical_gradient`, or one of its relatives, did.

    Attributes
    ----------
    value : float or ndarray
        f(x).
    evaluations : int
        How often f was evaluated here and in the workers, without the one call in which each worker
        proves that its copy of f works.
    step : float, ndarray or structure
        h; where it differs between coordinates in the structure of x.
    seconds : float
        Duration of the call.
    backend : str
        "serial", "threads", "processes" or the name of joblib's backend that did the work.
    workers : int
        How many workers did it.
    error : structure or None
        With ``h="auto"`` or ``"quick"`` what each derivative may be off by, in the structure of
        the gradient; None where no estimate is made.
    """

    value: Any
    evaluations: int
    step: Any
    seconds: float
    backend: str
    workers: int
    error: Any = None


def told(
    start: float, used: Executor, *, value: Any, evaluations: int, step: Any, error: Any = None
) -> Info:
    """Return the `Info` of a call that began at `start`, by ``time.perf_counter()``."""
    return Info(
        value=value,
        evaluations=evaluations,
        step=step,
        seconds=time.perf_counter() - start,
        backend="processes" if used.name == "loky" else used.name,
        workers=used.workers,
        error=error,
    )
