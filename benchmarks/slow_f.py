"""What workers gain beside a slow f: ``python -m benchmarks.slow_f``, about ten minutes.

Writes results/slow_f.txt. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from benchmarks.table import duration
from fastgrad import hessian, numerical_gradient
from fastgrad._files import replacing

WORKERS, SECONDS, COLD = 8, 0.05, 0.5
"""Workers of the first table, and what f sleeps: where they run already, and where they do not."""

PACES, SIZES, LONGEST = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1), (1, 10, 100, 1000), 20.0
"""Seconds of f and coordinates of the second table; cells that take longer here are left out."""

auto = partial(numerical_gradient, h="auto")


def sleeping(x, seconds):
    """Sleep, and return a number."""
    time.sleep(seconds)
    return float(np.sum(np.exp(np.sin(x))))


def busy(x, seconds):
    """Keep a core busy, and return a number."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return float(x[0])


def timed(call):
    """Return the seconds of a call, and what it returns."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def ours(derivative, n, seconds):
    """Return the efficiency of a derivative, and its evaluations without the one that proves."""
    took, (_, info) = timed(
        lambda: derivative(
            sleeping, np.linspace(1, 2, n), args=(seconds,), workers=WORKERS, backend="processes",
            full_output=True,
        )
    )  # fmt: skip
    return ideal(info.evaluations - 1, seconds) / took, info.evaluations - 1


def ideal(evaluations, seconds):
    """Return the seconds that so many evaluations take where the workers never wait."""
    return math.ceil(evaluations / WORKERS) * seconds


def by_pool(pool, points, seconds):
    """Evaluate f at the points by `multiprocessing.Pool`."""
    return pool.starmap(sleeping, [(point, seconds) for point in points], chunksize=1)


def by_executor(executor, points, seconds):
    """Evaluate f at the points by `concurrent.futures.ProcessPoolExecutor`."""
    return list(executor.map(sleeping, points, repeat(seconds)))


RIVALS = ((multiprocessing.Pool, by_pool), (ProcessPoolExecutor, by_executor))


def cold():
    """Return the efficiency of a first call, beside pools that are started in the same time."""

    def started(start, evaluate):
        with start(WORKERS) as workers:
            evaluate(workers, [np.ones(8)] * 17, COLD)

    found, evaluations = ours(numerical_gradient, 8, COLD)
    least = ideal(evaluations, COLD)
    return (found, *(least / timed(partial(started, *rival))[0] for rival in RIVALS))


def warm(derivative, n, rivals, rounds):
    """Return the median efficiency, beside pools that make the same evaluations."""
    found = []
    for _ in range(rounds):
        efficiency, evaluations = ours(derivative, n, SECONDS)
        points, least = [np.ones(n)] * evaluations, ideal(evaluations, SECONDS)
        times = [timed(lambda way=way: way(points, SECONDS))[0] for way in rivals]  # noqa: B023
        found.append((efficiency, *(least / seconds for seconds in times)))
    return np.median(found, axis=0)


def efficiencies(rounds=5):
    """Yield the lines of the first table."""
    yield f"Ideal over measured time: f sleeps {SECONDS} s, {WORKERS} workers\n"
    yield f"{'':24}{'fastgrad':>10}{'Pool':>10}{'Executor':>10}"
    first = cold()
    cells = [(f"gradient, n = {n}", numerical_gradient, n) for n in (4, 20, 100)]
    cells += [(f"Hessian, n = {n}", hessian, n) for n in (4, 8, 16)]
    cells += [('h="auto", n = 20', auto, 20)]
    with multiprocessing.Pool(WORKERS) as pool, ProcessPoolExecutor(WORKERS) as executor:
        rivals = partial(by_pool, pool), partial(by_executor, executor)
        warm(numerical_gradient, 20, rivals, 1)
        for name, derivative, n in cells:
            found = warm(derivative, n, rivals, rounds)
            yield f"{name:24}" + "".join(f"{one:10.3f}" for one in found)
    name = f"n = 8, first call, {COLD} s"
    yield f"{name:24}" + "".join(f"{one:10.3f}" for one in first)


def ratio(n, seconds):
    """Return the time of `numerical_gradient` on two workers over that on one: the median."""
    x, rounds, found = np.linspace(1, 2, n), int(np.clip(1 / (n * seconds), 3, 31)), []
    gradient = partial(numerical_gradient, busy, x, args=(seconds,))
    for _ in range(rounds):
        serial = timed(gradient)[0]
        found.append(timed(partial(gradient, workers=2))[0] / serial)
    return float(np.median(found))


def ratios(paces=PACES, sizes=SIZES):
    """Yield the lines of the second table."""
    yield "\nTime with workers=2 over time with workers=1: f keeps a core busy\n"
    yield f"{'f takes':12}" + "".join(f"{f'n = {n:,}':>10}" for n in sizes)
    numerical_gradient(sleeping, np.ones(8), args=(0.2,), workers=2)  # starts the processes
    for seconds in paces:
        cells = ("-" if 2 * n * seconds > LONGEST else f"{ratio(n, seconds):.2f}" for n in sizes)
        yield f"{duration(seconds):12}" + "".join(f"{cell:>10}" for cell in cells)


def main():
    """Measure, print and write."""
    lines = [f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"]
    print(lines[0])
    for table in (efficiencies(), ratios()):
        for line in table:
            print(line, flush=True)
            lines.append(line)
    with replacing(Path(__file__).parent / "results" / "slow_f.txt", "w") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
