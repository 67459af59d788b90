"""Cut a range of work items into contiguous blocks."""

from __future__ import annotations


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
    return [items[k * len(items) // blocks : (k + 1) * len(items) // blocks] for k in range(blocks)]
