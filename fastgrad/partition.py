"""Cut a range of work items into contiguous blocks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from fastgrad._typing import Floats

PIECE_SECONDS = 0.2

Part = tuple[int, range, slice]
"""Which array, flat indices within it, and where they stand in a block."""


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


def taper(items: range, workers: int, least: int, most: int) -> list[range]:
    """Return contiguous blocks in rounds, so that all workers finish together.

    In each round all workers get an equal share of half of what is left, and in the last one of
    all of it: factoring (S. F. Hummel, E. Schonberg, L. E. Flynn, Communications of the ACM 35/8
    (1992), 90-101). Shares are not below `least`, as far as items go, and not above `most`.

    Examples
    --------
    >>> [len(block) for block in taper(range(100), 2, 5, 20)]
    [20, 20, 15, 15, 7, 7, 8, 8]
    """
    blocks = []
    while (share := min(len(items) // (2 * workers), most)) >= least:
        blocks += partition(items[: share * workers], workers)
        items = items[share * workers :]
    rounds = -(-len(items) // (workers * most))
    return blocks + partition(items, min(workers * rounds, max(1, len(items) // least)))


def balance(blocks: list[range], weights: Floats) -> list[range]:
    """Move the borders of blocks, so that they share the weight as they shared the items.

    Parameters
    ----------
    blocks : list of range
        Contiguous, not empty.
    weights : ndarray
        One for each item of the blocks, not negative, with a sum above 0.

    Examples
    --------
    >>> balance([range(0, 2), range(2, 4)], np.array([1.0, 1.0, 2.0, 4.0]))
    [range(0, 3), range(3, 4)]
    """
    first, last = blocks[0].start, blocks[-1].stop
    done = weights.cumsum()
    wanted = [(block.stop - first) / (last - first) * done[-1] for block in blocks[:-1]]
    borders = [first, *(first + done.searchsorted(wanted, side="right")).tolist(), last]
    return [range(*ends) for ends in itertools.pairwise(borders) if ends[0] < ends[1]]


def cut(parts: list[Part], length: int, most: int) -> Iterator[Part]:
    """Yield the parts in pieces.

    The first has at most `length` indices. The length then follows the time that the caller takes
    for a piece, about `PIECE_SECONDS`: what goes wrong is told soon, an interrupt is heard, and the
    overhead of a piece is shared by up to `most` indices.
    """
    for leaf, indices, where in parts:
        first = where.start
        while len(indices) > (now := min(length, most)):
            piece, indices = indices[:now], indices[now:]
            start = time.perf_counter()
            yield leaf, piece, slice(first, first + len(piece))
            seconds = time.perf_counter() - start
            first += now
            length = max(1, int(now * PIECE_SECONDS / max(seconds, 1e-9)))
        yield leaf, indices, slice(first, where.stop)
