"""What a call found, and what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgrad._parallel.schedule import Spent
from fastgrad._structures import Parameters


@dataclass(frozen=True, repr=False)
class Info:
    """What `numerical_gradient`, or one of its relatives, did.

    Attributes
    ----------
    value : float or ndarray
        f(x).
    evaluations, evaluations_by_workers : int
        How often f was evaluated, and how often of these by workers.
    step : float, ndarray or structure
        h; where it differs between coordinates in the structure of x: 0 by coordinates that bounds
        fix, nan where no step was found.
    seconds, worker_seconds : float
        Duration of the call, and what all evaluations together took, whoever made them.
    backend, workers
        "serial", "threads", "processes" or the name of joblib's backend that did the work, and the
        number of its workers.
    error : structure or None
        With ``h="auto"`` or ``"quick"`` what each derivative may be off by, in the structure of
        the gradient; None where no estimate is made.
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


@dataclass(slots=True)
class Found:
    """Derivatives, and what is known when they are."""

    calls: Any  # what evaluated f
    formula: Any  # what made derivatives of its values
    eps: float  # relative precision of f, 0 where it is unknown
    pace: float  # seconds an evaluation, 0 where they are unknown
    spent: Spent
    rows: Any = None  # the derivatives, as the formula allocates them
    value: Any = None  # f(x), flat, where it was wanted
    shape: tuple[int, ...] | None = None  # of what f returns
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    expected: Callable[[Any], None] | None = None  # checks the witness of a worker

    def info(self, start: float, parameters: Parameters) -> Info:
        """Return the `Info` of a call that began at `start`, by ``time.perf_counter()``."""
        spent, value, error = self.spent, self.value, None
        if self.rows.dtype.names:
            step, error = (parameters.assemble(self.rows[name]) for name in ("step", "error"))
        else:
            step = self.formula.used()
        if value is not None:
            value = value.reshape(self.shape) if self.shape else value.item()
        return Info(
            value=value,
            evaluations=spent.here + spent.there,
            step=step,
            seconds=time.perf_counter() - start,
            backend=spent.team.name,
            workers=spent.team.workers,
            error=error,
            evaluations_by_workers=spent.there,
            worker_seconds=spent.seconds,
            failures=self.failures,
        )
