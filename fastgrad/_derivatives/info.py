"""What a call did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgrad._derivatives.engine import Found
from fastgrad._structures import Parameters


@dataclass(frozen=True, repr=False)
class Info:
    """What `numerical_gradient`, or one of its relatives, did.

    Attributes
    ----------
    value : float or ndarray
        f(x).
    evaluations : int
        How often f was evaluated, here and by workers.
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
    evaluations_by_workers : int
        How many of the evaluations workers made.
    worker_seconds : float
        Seconds that all evaluations together took, whoever made them.
    failures : list of (str, Exception)
        With ``errors="nan"`` where f raised, and what.
    """

    value: Any
    evaluations: int
    step: Any
    seconds: float
    backend: str
    workers: int
    error: Any = None
    evaluations_by_workers: int = 0
    worker_seconds: float = 0.0
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def __repr__(self) -> str:
        value = self.value if np.ndim(self.value) == 0 else f"array{np.shape(self.value)}"
        step = f"{self.step:.3g}" if isinstance(self.step, float) else "of each coordinate"
        failed = f", {len(self.failures)} failures" if self.failures else ""
        return (
            f"Info(value {value}, {self.evaluations} evaluations in {self.seconds:.3g} s, "
            f"step {step}, {self.backend}, {self.workers} workers{failed})"
        )


def make_info(start: float, found: Found, parameters: Parameters) -> Info:
    """Return the `Info` of a call that began at `start`, by ``time.perf_counter()``."""
    spent, value, error = found.spent, found.value, None
    if found.rows.dtype.names:
        step, error = (parameters.assemble(found.rows[name]) for name in ("step", "error"))
    else:
        step = found.formula.used()
    if value is not None and found.shape:
        value = value.reshape(found.shape)
    return Info(
        value=value if value is None or found.shape else value.item(),
        evaluations=spent.here + spent.there,
        step=step,
        seconds=time.perf_counter() - start,
        backend=spent.team.name,
        workers=spent.team.workers,
        error=error,
        evaluations_by_workers=spent.there,
        worker_seconds=spent.seconds,
        failures=found.failures,
    )
