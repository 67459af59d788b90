"""Cut a range of work items into contiguous blocks."""

from __future__ import annotations


def partition(items: int, blocks: int) -> list[range]:
    """Return at most `blocks` contiguous, non-empty ranges that cover ``range(items)``.

    Their lengths differ by one at most.

    Examples
    --------
    >>> partition(7, 3)
    [range(0, 2), range(2, 4), range(4, 7)]
    >>> partition(2, 8)
    [range(0, 1), range(1, 2)]
    """
    blocks = min(items, blocks)
    return [range(k * items // blocks, (k + 1) * items // blocks) for k in range(blocks)]
