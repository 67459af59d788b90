"""The two-layer network as an objective: the whole forward pass for every perturbed parameter.

The network is two layers ``A = [W; b]``; its gradient is that of the two layers one after the
other, one work item a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastgrad._scratch import Memory
from fastgrad._typing import Array, Floats, Integers
from fastgrad.kernels.forward import full_kernel
from fastgrad.kernels.nonzero import TOGETHER
from fastgrad.kernels.sparse import compress_kernel
from fastgrad.objectives.base import Cost, PlainArrays
from fastgrad.stencils import CENTRAL


class Rows:
    """The rows of the two layers, one after the other: (D+1, H), then (H+1, C).

    Attributes
    ----------
    items, size : int
        Number of rows, and of parameters.
    """

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        self.inputs, self.hidden, self.classes = inputs, hidden, classes
        self.items = inputs + 1 + hidden + 1
        self._border = (inputs + 1) * hidden
        self.size = self._border + (hidden + 1) * classes

    def _offset(self, row: int) -> int:
        first = min(row, self.inputs + 1)
        return first * self.hidden + (row - first) * self.classes

    def widths(self) -> Integers:
        """Return how many parameters each row has."""
        return np.repeat([self.hidden, self.classes], [self.inputs + 1, self.hidden + 1])

    def span(self, block: range) -> slice:
        """Return where the rows of `block` stand in the flat gradient."""
        return slice(self._offset(block.start), self._offset(block.stop))

    def split(self, block: range) -> Iterator[tuple[int, range, slice]]:
        """Yield (layer, rows within the layer, where they stand in the block's output)."""
        border = self.inputs + 1
        start = self._offset(block.start)
        for layer, low, high in ((0, 0, border), (1, border, self.items)):
            rows = range(max(block.start, low), min(block.stop, high))
            if len(rows):
                span = self.span(rows)
                where = slice(span.start - start, span.stop - start)
                yield layer, range(rows.start - low, rows.stop - low), where

    def layers(self, gradient: Floats) -> tuple[Floats, Floats]:
        """Return views of the flat gradient, one of each layer."""
        first = gradient[: self._border].reshape(self.inputs + 1, self.hidden)
        return first, gradient[self._border :].reshape(self.hidden + 1, self.classes)

    def unpack(self, gradient: Floats) -> dict[str, Floats]:
        """Return the same under the names of the book's parameters."""
        first, second = self.layers(gradient)
        return {"W1": first[:-1], "b1": first[-1], "W2": second[:-1], "b2": second[-1]}


class Inputs(NamedTuple):
    """A batch without its zeros, a 1 for the biases at the end of each sample.

    Attributes
    ----------
    entries : (starts, columns, values)
        Where each sample starts; and of the entries which are not zero, see
        `fastgrad.kernels.sparse.compress_kernel`, the columns and the values.
    features : int
        Number of inputs, that of the biases left out.
    largest : float
        ``max |x|``, or 1 where that is larger; NaN or infinite if a value is.
    """

    entries: tuple[Integers, Integers, Floats]
    features: int
    largest: float

    def part(self, samples: range) -> tuple[Integers, Integers, Floats]:
        """Return the entries of some samples."""
        starts, columns, values = self.entries
        return starts[samples.start : samples.stop + 1], columns, values

    def dense(self) -> Floats:
        """Return the inputs with their zeros and ones, (N, D+1)."""
        starts, columns, values = self.entries
        X = np.zeros((len(starts) - 1, self.features + 1))
        X[np.repeat(np.arange(len(X)), np.diff(starts)), columns] = values
        return X


def compress(x: Array, memory: Memory) -> Inputs:
    """Return the batch `x` (N, D), of any real dtype and layout, without its zeros.

    The entries stand in `memory` until the next batch does.
    """
    samples, features = x.shape
    if x.dtype.char in "eg" or not x.dtype.isnative:
        x = x.astype(float)  # numba has no such numbers
    room = samples * (features + 1) + TOGETHER
    columns, values = memory.vector("columns", room, np.int64), memory.vector("values", room)
    # Read-only and writable arrays are two types to numba, and so are the layouts.
    x = x if x.flags.carray else np.require(x, requirements=("C", "W"))
    starts = np.empty(samples + 1, np.int64)
    largest = compress_kernel(x, starts, columns, values)
    return Inputs((starts, columns[: starts[-1]], values[: starts[-1]]), features, largest)


def check_moves(h: float, *parameters: Floats) -> None:
    """Raise if one of the parameters does not move by the step."""
    for numbers in parameters:
        # Their largest size without a copy, unlike ``abs(numbers)``. NaN is both of its ends.
        largest = max(numbers.item(numbers.argmax()), -numbers.item(numbers.argmin()))
        if largest + h == largest:
            raise ValueError(
                f"h={h!r} is lost beside a parameter of size {largest:.3g}; the book uses 1e-4"
            )


class FullNetwork(PlainArrays):
    """A whole forward pass and loss for each perturbed parameter.

    Parameters
    ----------
    A1, A2 : ndarray of float64, shape (D+1, H) and (H+1, C)
        The layers ``[W; b]``.
    inputs : Inputs
        The batch, N samples of D features.
    t : ndarray of int64, shape (N,)
        Class numbers.
    h : float
        Step.
    """

    def __init__(self, A1: Floats, A2: Floats, inputs: Inputs, t: Integers, h: float) -> None:
        self.rows = Rows(A1.shape[0] - 1, A1.shape[1], A2.shape[1])
        self.items, self.size, self.span = self.rows.items, self.rows.size, self.rows.span
        self._A1, self._A2, self._t, self._h = A1, A2, t, h
        self._inputs = inputs.entries

    def cost(self) -> Cost:
        """Return an estimate: 0.2 ns for each multiplication of the two losses, zeros left out."""
        nonzero = len(self._inputs[2])
        seconds = 0.4e-9 * self.size * (nonzero * self._A1.shape[1] + len(self._t) * self._A2.size)
        return Cost(seconds, seconds)

    def weights(self) -> Floats:
        """Return the number of parameters in each row, each of which takes two losses."""
        return self.rows.widths().astype(float)

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's partial derivatives, from private copies of the parameters."""
        full_kernel(
            self._A1.copy(),
            self._A2.copy(),
            *self._inputs,
            self._t,
            self._h,
            np.array(CENTRAL.offsets),
            np.array(CENTRAL.weights),
            block.start,
            block.stop,
            out,
        )
