"""The Objective protocol: all that the engine knows of what it differentiates."""

from __future__ import annotations

from typing import Protocol

from fastgrad._typing import Floats


class Objective(Protocol):
    """Something with parameters whose partial derivatives can be taken block by block.

    A block is a ``range`` of work items. An item is the smallest piece that is handed to a worker:
    one coordinate of a function, one row of a network layer. An objective can be pickled, and its
    blocks can run at the same time in several threads or processes: `partials` perturbs nothing
    that another block sees.
    """

    @property
    def items(self) -> int:
        """Number of work items."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    def span(self, block: range) -> slice:
        """Return where the block's partial derivatives stand in the flat gradient."""

    def seconds(self) -> float:
        """Return about how long one core needs for all items."""

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's partial derivatives to `out`, a vector as long as the block's span."""
