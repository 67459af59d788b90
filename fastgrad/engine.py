"""From parameters to their gradient: cut into blocks, run them, put the pieces in place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from tqdm import tqdm

from fastgrad._typing import Array
from fastgrad.executors import BLOCKS_PER_WORKER, SERIAL, Executor
from fastgrad.objectives.base import Cost, Objective
from fastgrad.partition import partition

BLOCK_SECONDS = 0.1
"""Longer blocks are cut: the bar moves, and an interrupt leaves little behind."""

MOST_BLOCKS = 10_000

TRIAL_SECONDS = 0.02
"""Time, for each worker, after which threads have shown whether they help."""


def differentiate(
    objective: Objective, executor: Executor, *, progress: bool = False
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
    if executor.workers == 1 and not progress:
        objective.partials(range(objective.items), gradient)
        return gradient, executor
    cost = objective.cost()
    if not executor.pays(cost):
        executor = SERIAL
    with tqdm(total=objective.size, unit="parameter", disable=not progress) as bar:
        run = partial(_run, objective, gradient, bar)
        items = range(objective.items)
        if executor.cold:
            items = _until_started(run, executor, items, cost)
        if executor.in_threads and not objective.shareable:
            items, executor = _try_threads(run, executor, items, cost)
        fewest = 1 if executor is SERIAL else executor.workers * BLOCKS_PER_WORKER
        blocks = max(fewest, min(int(cost.wall / BLOCK_SECONDS), MOST_BLOCKS))
        run(executor, partition(items, blocks))
    return gradient, executor


def _run(
    objective: Objective, gradient: Array, bar: tqdm, executor: Executor, blocks: list[range]
) -> None:
    for block in executor.run(objective, blocks, gradient):
        span = objective.span(block)
        bar.update(span.stop - span.start)


def _until_started(
    run: Callable[[Executor, list[range]], None], executor: Executor, items: range, cost: Cost
) -> range:
    """Work here while the processes start; return the items that are left for them."""
    starting = executor.start()
    for block in partition(items, math.ceil(cost.wall / BLOCK_SECONDS)):
        if not starting.is_alive():
            return range(block.start, items.stop)
        run(SERIAL, [block])
    return items[:0]


def _try_threads(
    run: Callable[[Executor, list[range]], None], executor: Executor, items: range, cost: Cost
) -> tuple[range, Executor]:
    """Run a few items in threads; return the rest, and how to go on.

    Threads do not help where f holds the GIL, which nothing but a trial tells.
    """
    pace = cost.wall / len(items)
    tried = items[: executor.workers * max(1, int(TRIAL_SECONDS / pace))]
    start = time.perf_counter()
    run(executor, partition(tried, executor.workers))
    faster = time.perf_counter() - start < 0.9 * pace * len(tried)
    return items[len(tried) :], executor if faster else SERIAL
