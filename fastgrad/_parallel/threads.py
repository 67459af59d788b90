"""Run calls on threads of this process, for compiled code and NumPy, which release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fastgrad._parallel import payload, pools, team

Block = TypeVar("Block")
Result = TypeVar("Result")


def count(workers: int | None) -> int:
    """Return the number of threads that a caller asks for; see `team.choose`.

    Examples
    --------
    >>> count(None), count(3)
    (1, 3)
    """
    return team.choose(workers, None).workers


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

    After an error the blocks that wait are cancelled. Calls within calls are made in turn.

    Examples
    --------
    >>> run(lambda block: sum(block), [range(3), range(3, 5)], 2)
    [3, 7]
    """
    blocks = list(blocks)
    workers = min(workers, len(blocks))
    if workers < 2 or payload.working():
        return [call(block) for block in blocks]
    executor = pools.open_pool("threads", workers, "threads").executor
    return list(executor.map(partial(payload.call, "", call), blocks))
