"""Run calls on threads of this process, for compiled code and NumPy, which release the GIL."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from fastgrad._parallel.team import choose

Block = TypeVar("Block")
Result = TypeVar("Result")


class _Here(threading.local):
    working = False


_here = _Here()
_pools: dict[int, ThreadPoolExecutor] = {}  # By their number of threads, kept between calls.

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # A forked child has none of the threads.


def count(workers: int | None) -> int:
    """Return the number of threads that a caller asks for; see `fastgrad._parallel.team.choose`.

    Examples
    --------
    >>> count(None), count(3)
    (1, 3)
    """
    return choose(workers, None).workers


def partition(items: range, blocks: int) -> list[range]:
    """Return at most `blocks` contiguous, non-empty ranges that cover `items`.

    Their lengths differ by one at most.

    Examples
    --------
    >>> partition(range(7), 3)
    [range(0, 2), range(2, 4), range(4, 7)]
    >>> partition(range(3, 5), 8)
    [range(3, 4), range(4, 5)]
    """
    blocks = min(len(items), blocks)
    if blocks == 1:
        return [items]
    return [items[k * len(items) // blocks : (k + 1) * len(items) // blocks] for k in range(blocks)]


def run(call: Callable[[Block], Result], blocks: Iterable[Block], workers: int) -> list[Result]:
    """Return ``[call(block) for block in blocks]``, computed on that many threads.

    The caller's thread is one of them. After an error no further block is begun, and `run` raises
    it when the blocks that were begun are done. Calls within calls are made one after the other.

    Examples
    --------
    >>> run(lambda block: sum(block), [range(3), range(3, 5)], 2)
    [3, 7]
    """
    blocks = list(blocks)
    helpers = min(workers, len(blocks)) - 1
    if helpers < 1 or _here.working:
        return [call(block) for block in blocks]
    results: dict[int, Result] = {}
    left = deque(enumerate(blocks))

    def work() -> None:
        _here.working = True
        try:
            while (item := _next(left)) is not None:
                results[item[0]] = call(item[1])
        finally:
            left.clear()
            _here.working = False

    if helpers not in _pools:
        _pools[helpers] = ThreadPoolExecutor(helpers)
    futures = [_pools[helpers].submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        wait(futures)
    for future in futures:
        future.result()
    return [results[k] for k in range(len(blocks))]


def _next(items: deque[Block]) -> Block | None:
    """Return the first of the items that are left."""
    try:
        return items.popleft()
    except IndexError:
        return None
