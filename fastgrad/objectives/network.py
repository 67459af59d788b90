"""The two-layer network as an objective: its rows perturbed by compiled kernels.

`FullNetwork` runs the whole forward pass for every perturbed parameter. `IncrementalNetwork`
evaluates the same perturbed losses from what the perturbation moves. Both see the network as two
layers ``A = [W; b]``, one work item a row, and their gradient as the two layers one after the
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.functions import TINY, sigmoid, softmax
from fastgrad.kernels.curves import curves_kernel, moments_kernel, rows_kernel
from fastgrad.kernels.direct import direct_kernel
from fastgrad.kernels.forward import compress_kernel, full_kernel
from fastgrad.objectives.base import Cost
from fastgrad.series import SCORE, SIGMOID, curves_are_exact
from fastgrad.stencils import CENTRAL


@dataclass(frozen=True)
class Rows:
    """The rows of the two layers, one after the other: (D+1, H), then (H+1, C)."""

    inputs: int
    hidden: int
    classes: int

    @property
    def items(self) -> int:
        """Number of rows."""
        return self.inputs + 1 + self.hidden + 1

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self._offset(self.items)

    def _offset(self, row: int) -> int:
        first = min(row, self.inputs + 1)
        return first * self.hidden + (row - first) * self.classes

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

    def unpack(self, gradient: Floats) -> dict[str, Floats]:
        """Return views of the flat gradient under the names of the book's parameters."""
        border = self._offset(self.inputs + 1)
        first = gradient[:border].reshape(self.inputs + 1, self.hidden)
        second = gradient[border:].reshape(self.hidden + 1, self.classes)
        return {"W1": first[:-1], "b1": first[-1], "W2": second[:-1], "b2": second[-1]}


def with_ones(x: Array) -> Floats:
    """Return `x` (N, D) as float64 with a last column of ones, the input of the biases."""
    X = np.empty((x.shape[0], x.shape[1] + 1))
    X[:, :-1] = x
    X[:, -1] = 1.0
    return X


def _rows_of(A1: Floats, A2: Floats) -> Rows:
    return Rows(A1.shape[0] - 1, A1.shape[1], A2.shape[1])


class _Network:
    """What both objectives share: they only read plain arrays."""

    shareable = True
    dtype = np.dtype(float)

    def verify(self) -> None:
        """Nothing to verify: a copy of plain arrays is as good as the original."""


class FullNetwork(_Network):
    """A whole forward pass and loss for each perturbed parameter.

    Parameters
    ----------
    A1, A2 : ndarray of float64, shape (D+1, H) and (H+1, C)
        The layers ``[W; b]``.
    x : ndarray, shape (N, D)
        The batch.
    t : ndarray of int64, shape (N,)
        Class numbers.
    h : float
        Step.
    """

    def __init__(self, A1: Floats, A2: Floats, x: Array, t: Integers, h: float) -> None:
        self.rows = _rows_of(A1, A2)
        self.items, self.size, self.span = self.rows.items, self.rows.size, self.rows.span
        self._A1, self._A2, self._t, self._h = A1, A2, t, h
        self._inputs = compress_kernel(with_ones(x))

    def cost(self) -> Cost:
        """Return an estimate: 0.2 ns for each multiplication of the two losses, zeros left out."""
        nonzero = len(self._inputs[2])
        seconds = 0.4e-9 * self.size * (nonzero * self._A1.shape[1] + len(self._t) * self._A2.size)
        return Cost(seconds, seconds)

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


@dataclass(frozen=True)
class _Curves:
    """A layer whose perturbed losses are read from one curve for each sample and unit."""

    X: Floats
    largest: float
    curves: Floats

    def partials(self, rows: range, out: Floats) -> None:
        rows_kernel(self.X, self.largest, self.curves, rows.start, rows.stop, out)

    def seconds(self) -> float:
        return float(0.4e-9 * np.count_nonzero(self.X) * self.curves.shape[2])


@dataclass(frozen=True)
class _Direct:
    """A layer whose perturbed losses are each evaluated through libm."""

    X: Floats
    h: float
    sigmoidal: bool
    units: tuple[Floats, Floats, Floats]
    V: Floats
    output: tuple[Floats, Floats, Integers, Floats]

    def partials(self, rows: range, out: Floats) -> None:
        layer = (self.X, self.h, self.sigmoidal, *self.units, self.V, *self.output)
        direct_kernel(*layer, rows.start, rows.stop, out)

    def seconds(self) -> float:
        return float(20e-9 * np.count_nonzero(self.X) * self.V.size)


class IncrementalNetwork(_Network):
    """Every perturbed loss from what the perturbation moves; see the kernels for the formulas.

    The forward pass runs once, here; the parameters are not kept and never perturbed. Takes the
    parameters of `FullNetwork`. ``largest`` is ``max |x|``.
    """

    def __init__(
        self, A1: Floats, A2: Floats, x: Array, t: Integers, h: float, largest: float
    ) -> None:
        self.rows = _rows_of(A1, A2)
        self.items, self.size, self.span = self.rows.items, self.rows.size, self.rows.span
        X = with_ones(x)
        a = X @ A1
        Z = with_ones(sigmoid(a))
        scores = Z @ A2
        p = softmax(scores)
        r = p[np.arange(len(t)), t]
        r = r / (r + TINY)
        output = (scores, p, t, r)
        # exp(-|a|) keeps the slope z (1 - z) accurate where z rounds to 1.
        small = np.exp(-np.abs(a))
        slope = small / (1 + small) ** 2
        V = np.ascontiguousarray(A2[:-1].T)
        self._layers = (
            _layer(X, max(largest, 1.0), h, SIGMOID, (a, Z[:, :-1].copy(), slope), V, output),
            _layer(Z, 1.0, h, SCORE, (scores, p, p), np.eye(len(V)), output),
        )

    def cost(self) -> Cost:
        """Return an estimate from the multiplications that are not by zero."""
        seconds = sum(layer.seconds() for layer in self._layers)
        return Cost(seconds, seconds)

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's partial derivatives."""
        for layer, rows, where in self.rows.split(block):
            self._layers[layer].partials(rows, out[where].reshape(len(rows), -1))


def _layer(
    X: Floats,
    largest: float,
    h: float,
    gain: float,
    units: tuple[Floats, Floats, Floats],
    V: Floats,
    output: tuple[Floats, Floats, Integers, Floats],
) -> _Curves | _Direct:
    """Choose the fast path where its truncation is proven to be below rounding."""
    sigmoidal = gain == SIGMOID
    spread = float(np.max(V.max(axis=0) - V.min(axis=0)))
    if not curves_are_exact(h, largest, spread, gain):
        return _Direct(X, h, sigmoidal, units, V, output)
    _, p, t, r = output
    moments = np.empty((4, len(X), V.shape[1]))
    moments_kernel(p, t, V, moments)
    curves = np.empty((2, len(X), V.shape[1]))
    curves_kernel(sigmoidal, units[1], units[2], r, moments, h * largest, curves)
    return _Curves(X, largest, curves)
