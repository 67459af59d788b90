"""From parameters to their gradient: cut into blocks, run them, put the pieces in place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
from tqdm import tqdm

from fastgrad import _threads
from fastgrad._typing import Array
from fastgrad.executors import SERIAL, Executor, cores
from fastgrad.objectives.base import Cost, Objective
from fastgrad.partition import balance, partition, taper

BLOCK_SECONDS = 0.5
"""Longer blocks are cut: the bar moves, and an interrupt leaves little behind."""

LEAST_BLOCK = 2e-3
"""Seconds; to hand over a block takes a fiftieth of that."""

MOST_BLOCKS = 10_000

Run = Callable[[Executor, list[range]], None]

START_SECONDS = 0.05
"""How often to look whether processes have started."""

TRIAL_SECONDS = 0.02
"""Time, for each worker, after which threads have shown whether they help."""

LEAST_FOR_TRIAL = 0.25
"""Seconds of work from which on it does not matter if they do not."""


def differentiate(
    objective: Objective,
    executor: Executor,
    *,
    progress: bool = False,
) -> tuple[Array, Executor]:
    """Return the gradient of `objective` as a flat array, and the executor that did the work.

    The bits do not depend on the executor, nor on how many workers it has. Where splitting the
    work would cost more than it saves, all of it runs here.

    Parameters
    ----------
    objective : Objective
        What to differentiate.
    executor : Executor
        Where blocks may run.
    progress : bool, default False
        Show a bar with the time left.
    """
    gradient = np.empty(objective.size, objective.dtype)
    items = range(objective.items)
    cost = objective.cost() if executor.workers > 1 else None
    if executor.workers == 1 or (cost is not None and not executor.pays(cost)):
        executor = SERIAL
    if executor is SERIAL and not progress:
        objective.partials(items, gradient)
        return gradient, executor
    with tqdm(total=objective.size, unit="derivative") if progress else nullcontext() as bar:
        run = partial(_run, objective, gradient, bar)
        if cost is None or executor is SERIAL:
            items, cost = _begin(run, items, executor)
            executor = executor if executor.pays(cost) else SERIAL
        # Whether threads help shows in a trial, which costs too much where there is little to do.
        trial = executor.in_threads and not objective.shareable
        if trial and cost.wall < LEAST_FOR_TRIAL:
            executor = SERIAL
        if executor.cold:
            items, cost = _until_started(run, executor, items, cost)
        if executor is not SERIAL and not (items and objective.prepare()):
            executor = SERIAL
        if trial and executor is not SERIAL:
            items, cost, executor = _try_threads(run, executor, items, cost)
        blocks = _blocks(items, executor, cost)
        weights = objective.weights() if len(blocks) > 1 else None
        if weights is not None:
            blocks = balance(blocks, weights[items.start : items.stop])
        run(executor, blocks)
    return gradient, executor


def team(executor: Executor, seconds: float) -> int:
    """Return on how many threads to make calls `together` that take about so long in all."""
    if executor.shares_memory and executor.pays(Cost(seconds, seconds)):
        return min(executor.workers, cores())  # More would wait for each other.
    return 1


def together(threads: int, seconds: float, calls: list[Callable[[], bool]]) -> None:
    """Make calls to compiled code, one after the other, each on all threads at a time.

    They take about so long in all. Each shares its work by itself, and tells whether all of it is
    done: if not, others were slow, and it is made again.
    """
    # Between long ones an interrupt is heard.
    for group in [calls] if seconds < BLOCK_SECONDS else [[call] for call in calls]:
        given_up: list[bool] = []
        call = partial(_in_order, group, given_up)
        try:
            if threads == 1:
                call()
            else:
                _threads.together(threads, call)
        except BaseException:
            given_up.append(True)
            raise


def _in_order(calls: list[Callable[[], bool]], given_up: list[bool]) -> None:
    for call in calls:
        while not (given_up or call()):
            time.sleep(0)  # Others need the core.


def _begin(run: Run, items: range, executor: Executor) -> tuple[range, Cost]:
    """Do some items here; return the rest, and what they cost if they are like those."""
    blocks, spent = 0, 0.0
    best = Cost(math.inf, math.inf)
    while items:
        count = 4 ** max(0, blocks - 1)  # 1, 1, 4, 16, ...
        done, items = items[:count], items[count:]
        wall, cpu = time.perf_counter(), time.process_time()
        run(SERIAL, [done])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best, Cost(wall / len(done), cpu / len(done)))
        blocks, spent = blocks + 1, spent + wall
        # A first call may be slow: one tells enough only where it is long, or where all as slow
        # would still be too little to spread.
        if spent >= 0.5 or (spent >= 2e-3 and blocks > 1):
            break
        if executor is not SERIAL and executor.saves(best.times(len(items))) <= 0.0:
            break
    return items, best.times(len(items))


def _blocks(items: range, executor: Executor, cost: Cost) -> list[range]:
    """Cut items into blocks that suit the executor."""
    fewest = min(math.ceil(cost.wall / BLOCK_SECONDS), MOST_BLOCKS)
    if executor is SERIAL:
        return partition(items, max(1, fewest))
    pace = max(cost.wall / max(len(items), 1), 1e-9)
    most = -(-len(items) // max(1, fewest))
    least = max(executor.overhead / 5, LEAST_BLOCK, 20 * cost.block) / pace
    least = min(math.ceil(least), -(-len(items) // executor.workers))
    return taper(items, executor.workers, least, max(least, most))


def _run(
    objective: Objective,
    gradient: Array,
    bar: tqdm | None,
    executor: Executor,
    blocks: list[range],
) -> None:
    for block in executor.run(objective, blocks, gradient):
        span = objective.span(block)
        if bar is not None:
            bar.update(span.stop - span.start)


def _until_started(run: Run, executor: Executor, items: range, cost: Cost) -> tuple[range, Cost]:
    """Work here while the processes start; return what is left for them, and its cost."""
    starting = executor.start()
    left = items
    for block in partition(items, math.ceil(cost.wall / START_SECONDS)):
        if not starting.is_alive():
            break
        run(SERIAL, [block])
        left = range(block.stop, items.stop)
    return left, cost.times(len(left) / len(items))


def _try_threads(
    run: Run, executor: Executor, items: range, cost: Cost
) -> tuple[range, Cost, Executor]:
    """Run a few items in threads; return the rest, its cost, and how to go on.

    Threads do not help where f holds the GIL, which nothing but a trial tells.
    """
    pace = cost.wall / len(items)
    count = executor.workers * max(1, int(TRIAL_SECONDS / pace))
    tried, left = items[:count], items[count:]
    start = time.perf_counter()
    run(executor, partition(tried, executor.workers))
    faster = time.perf_counter() - start < 0.9 * pace * len(tried)
    return left, cost.times(len(left) / len(items)), executor if faster else SERIAL
