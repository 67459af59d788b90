"""The Objective protocol: all that the engine knows of what it differentiates."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fastgrad._typing import Array, Floats


class Cost(NamedTuple):
    """What work costs on one worker: seconds on the clock, and seconds of all cores.

    `block` is what every block costs beside its items, seconds.
    """

    wall: float
    cpu: float
    block: float = 0.0

    def times(self, factor: float) -> Cost:
        """Return what `factor` times the work costs; nothing costs nothing."""
        if not factor:
            return Cost(0.0, 0.0, self.block)
        return Cost(self.wall * factor, self.cpu * factor, self.block)


class OneEach:
    """What objectives share whose work items are all alike and have one derivative each."""

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand."""
        return slice(block.start, block.stop)

    def weights(self) -> Floats | None:
        """Return None: all items are alike."""
        return None


class PlainArrays:
    """What objectives share that only read plain arrays."""

    shareable = True
    dtype = np.dtype(float)

    def prepare(self) -> bool:
        """Nothing to prepare: plain arrays can be copied."""
        return True

    def verify(self) -> None:
        """Nothing to verify: a copy of plain arrays is as good as the original."""


class Objective(Protocol):
    """Something with parameters whose partial derivatives can be taken block by block.

    A block is a ``range`` of work items. An item is the smallest piece that is handed to a worker:
    one coordinate of a function, one row of a network layer.
    """

    @property
    def items(self) -> int:
        """Number of work items."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    @property
    def shareable(self) -> bool:
        """Whether blocks can run side by side on this object, in threads.

        Where it is False, every worker gets a copy of its own, and the copy is verified.
        """

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand in the flat gradient."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the gradient."""

    def cost(self) -> Cost | None:
        """Return about what all items cost; None where only doing some of them can tell."""

    def weights(self) -> Floats | None:
        """Return what each item costs in proportion to the others; None where all are alike."""

    def prepare(self) -> bool:
        """Get ready to be copied, and tell whether that is possible."""

    def verify(self) -> None:
        """Raise if this object is a copy that does not work, of one that was prepared."""

    def partials(self, block: range, out: Array) -> None:
        """Write the block's partial derivatives to `out`, a vector as long as the block's span."""
