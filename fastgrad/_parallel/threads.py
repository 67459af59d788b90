"""Run calls on threads of this process, for compiled code and NumPy, which release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fastgrad._parallel import payload, pools, team

Block = TypeVar("Block")
Result = TypeVar("Result")


def count(workers: int | None) -> int:
    """Return the number of threads that a caller asks for; see `team.choose`."""
    return team.choose(workers, None).workers


def partition(items: range, blocks: int) -> list[range]:
    """Return at most `blocks` contiguous, non-empty ranges that cover `items`.

    Their lengths differ by one at most.
    """
    blocks = min(len(items), blocks)
    return [items[k * len(items) // blocks : (k + 1) * len(items) // blocks] for k in range(blocks)]


def run(call: Callable[[Block], Result], blocks: Iterable[Block], workers: int) -> list[Result]:
    """Return ``[call(block) for block in blocks]``, computed on that many threads.

    After an error the blocks that wait are cancelled. Calls within calls are made in turn.
    """
    blocks = list(blocks)
    workers = min(workers, len(blocks))
    if workers < 2 or payload.working():
        return [call(block) for block in blocks]
    executor = pools.open_pool("threads", workers, "threads").executor
    return list(executor.map(partial(payload.call, "", call), blocks))
