"""Simulate clusters of 10 to 10,000 workers on the scheduling code, with stragglers and losses.

    python -m benchmarks.cluster

Time is simulated: workers that take so many seconds an evaluation are events in a queue, and
`fastgrad._parallel.schedule` hands the work out as it does to real ones.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from typing import Any, NamedTuple

import numpy as np

from fastgrad._parallel import cost
from fastgrad._parallel.pools import Pool
from fastgrad._parallel.schedule import Schedule, Spent
from fastgrad._parallel.team import Team

HALF = cost.HAND_OVER / 2
"""Seconds that the caller needs to hand out one task, and to take one result."""


class Answer(NamedTuple):
    """What an evaluation returns."""

    count: int
    seconds: float


class Clock:
    """Simulated time, of the caller and of the workers."""

    def __init__(self) -> None:
        self.now = 0.0


class Simulated(Pool):
    """Workers in simulated time.

    Parameters
    ----------
    workers : int
    seconds : float
        An evaluation.
    slow, lost : float
        Share of workers that take four times as long, and share of evaluations that fail with
        their worker.
    """

    survives = True

    def __init__(self, workers: int, seconds: float, slow: float, lost: float) -> None:
        rng = np.random.default_rng(0)
        self.warm, self.clock = True, Clock()
        self.pace = np.where(rng.random(workers) < slow, 4 * seconds, seconds)
        self._free = [(0.0, k) for k in range(workers)]
        self._running: list[tuple[float, int, int, Future[Any], int]] = []
        self._order, self._rng, self._loss = itertools.count(), rng, lost
        self._waiting: deque[tuple[Future[Any], int]] = deque()

    def submit(self, call: Any, *arguments: Any) -> Future[Any]:
        """Queue an evaluation."""
        self.clock.now += HALF
        future: Future[Any] = Future()
        self._waiting.append((future, arguments[-1]))
        self._start()
        return future

    def _start(self) -> None:
        while self._waiting and self._free:
            free, k = heapq.heappop(self._free)
            future, count = self._waiting.popleft()
            end = max(free, self.clock.now) + count * self.pace[k]
            heapq.heappush(self._running, (end, next(self._order), k, future, count))

    def next_done(self, done: Any) -> Any:
        """Go to the end of the next evaluation."""
        if done.empty():
            end, _, k, future, count = heapq.heappop(self._running)
            self.clock.now = max(self.clock.now, end) + HALF
            heapq.heappush(self._free, (end, k))
            self._start()
            if self._rng.random() < self._loss:
                future.set_exception(BrokenExecutor("lost"))
            else:
                future.set_result(Answer(count, count * float(self.pace[k])))
        return done.get()

    def abandon(self) -> None:
        """Nothing to leave."""


class Evaluations:
    """So many evaluations."""

    def __init__(self, total: int) -> None:
        self.left, self.done = total, 0

    def take(self, evaluations: int) -> int:
        """Return how many of them the next task makes."""
        count = min(evaluations, self.left)
        self.left -= count
        return count

    def give(self, task: int, result: Answer) -> None:
        """Count them."""
        self.done += task


class SimulatedTeam(Team):
    """A team of simulated workers that always pays."""

    def open(self) -> Pool:
        """Return the pool."""
        return POOLS[self]

    def saves(self, *work: Any) -> float:
        """Return more than nothing."""
        return 1.0


POOLS: dict[Team, Pool] = {}


class Work:
    """Stands in for f."""

    originals: tuple[()] = ()


def efficiency(
    workers: int, evaluations: int, *, seconds: float = 1.0, slow: float = 0.01, lost: float = 0.0
) -> float:
    """Return ideal over simulated time; the ideal counts slow workers by what they can do."""
    pool = Simulated(workers, seconds, slow, lost)
    team = SimulatedTeam(workers, "simulated", f"simulated {workers} {evaluations} {slow} {lost}")
    POOLS[team] = pool
    source = Evaluations(evaluations)
    schedule = Schedule(Work(), source, team, Spent())
    schedule.pace = seconds
    schedule.run()
    assert source.done == evaluations
    return float(evaluations / (1 / pool.pace).sum() / pool.clock.now)


def main() -> None:
    """Print a table."""
    print("evaluations of 1 s; one worker in a hundred takes 4 s; lost: tasks lost in 100,000")
    print(f"{'workers':>8} {'evaluations':>12} {'lost':>5} {'efficiency':>11}")
    for workers in (10, 100, 1_000, 10_000):
        for lost in (0, 1):
            found = efficiency(workers, 100 * workers, lost=lost * 1e-5)
            print(f"{workers:8,} {100 * workers:12,} {lost:5} {found:11.3f}")


if __name__ == "__main__":
    main()
