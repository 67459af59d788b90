"""Whether workers save time: all that is assumed of what they cost."""

from __future__ import annotations

import functools

OVERHEAD = {"threads": 3e-4, "processes": 10e-3, "threading": 15e-3, "loky": 50e-3, "dask": 20e-3}
"""Seconds that handing work out and collecting it costs a call; 0.1 for a backend not listed."""

START = 0.3
"""Seconds that starting this library's processes costs."""

SLOW = 5e-3
"""Seconds an evaluation from which on it is handed out alone."""

HAND_OVER = 4e-4
"""Seconds of this process for each task; with more workers than an evaluation has of them, single
evaluations would keep the workers waiting."""

LEAST_TASK, MOST_TASK = 5e-3, 0.5
"""Seconds of a task of many evaluations. Handing over costs a twentieth of the least; longer tasks
would make the bar jump and Ctrl-C wait."""

GIL = 1e-3
"""Seconds an evaluation below which threads that share Python's lock only hinder each other."""

_missed = 0.0
"""Seconds that processes would have saved in earlier calls if they had been there."""


@functools.cache
def cores() -> int:
    """Return how many cores there are for this process."""
    from joblib import cpu_count

    return int(cpu_count())


def saved(backend: str, workers: int, seconds: float, cpu_share: float) -> float:
    """Return about how many seconds workers save of `seconds` of work; below 0 they lose some.

    A core computes for a `cpu_share` of that time: what sleeps or waits needs no core.
    """
    if workers == 1:
        return 0.0
    together = seconds / workers
    if backend in ("threads", "processes", "threading", "loky"):
        together = max(together, seconds * cpu_share / cores())
    return 0.95 * seconds - together - OVERHEAD.get(backend, 0.1)


def worth_starting(seconds: float) -> bool:
    """Tell whether to start processes to save so many seconds.

    They are also started once earlier calls together would have been worth it.
    """
    return seconds + _missed > START


def note_missed(seconds: float) -> None:
    """Remember that processes would have saved so many seconds if they had been there."""
    global _missed
    _missed += max(0.0, seconds)


def task_size(left: int, workers: int, pace: float) -> int:
    """Return how many evaluations to hand out together, where `left` are left.

    All workers get equal shares of half of what is left, so that they finish together: factoring
    (S. F. Hummel, E. Schonberg, L. E. Flynn, Communications of the ACM 35/8 (1992), 90-101).
    """
    alone = HAND_OVER * workers
    if pace >= max(SLOW, alone):
        return 1
    least, most = (max(1, int(max(s, alone) / pace)) for s in (LEAST_TASK, MOST_TASK))
    return min(max(left // (2 * workers), min(least, -(-left // workers)), 1), most)
