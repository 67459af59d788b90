"""The two-layer network as an objective: every perturbed loss from what the perturbation moves.

The work has two stages, since all rows of the network read what `Samples` finds out about each
sample; `IncrementalNetwork` is the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._scratch import scratch
from fastgrad._typing import Floats, Integers
from fastgrad.functions import TINY, sigmoid, softmax
from fastgrad.kernels.curves import curves_size, last_rows_kernel, rows_kernel
from fastgrad.kernels.direct import direct_kernel
from fastgrad.kernels.panels import WIDTH
from fastgrad.kernels.samples import first_layer_kernel, samples_kernel
from fastgrad.objectives.base import Cost, PlainArrays
from fastgrad.objectives.network import Inputs, Rows, check_moves
from fastgrad.series import SCORE, SIGMOID, curves_are_exact

TOGETHER = 256
"""Samples that pass one panel of the first layer after the other."""

ENOUGH = 4096
"""Entries that tell where the others are."""

PACE = 0.27e-9
"""Seconds in which a kernel reads one curve at one input."""


class Samples(PlainArrays):
    """The forward pass and the curves of each sample: one work item a sample.

    Not parameters but rows of `fastgrad.kernels.samples` fill the "gradient": what all rows of the
    network share is cut into blocks and spread as they are.

    Parameters
    ----------
    layers : (W1, b1, W2, b2)
        The network, float64 and contiguous.
    inputs, t, h
        As for `fastgrad.objectives.network.FullNetwork`.

    Raises
    ------
    ValueError
        Where the first sample is worked on, if a parameter in W1 does not move by the step.
    """

    def __init__(self, layers: list[Floats], inputs: Inputs, t: Integers, h: float) -> None:
        self.layers, self.inputs, self.t, self.h = layers, inputs, t, h
        W2 = layers[2]
        H, C = W2.shape
        self.rows = Rows(inputs.features, H, C)
        self.items = len(t)
        # Rows start on cache lines: the kernels load 32 bytes at a time.
        self.width = -(-(curves_size(H) + 2 * C + H + 1) // 8) * 8
        self.size = self.items * self.width
        self.V = V = np.ascontiguousarray(W2.T)
        spread = float(np.max(V.max(axis=0) - V.min(axis=0)))
        # Where the truncation of the curves is not proven to be below rounding, the reach is 0.
        self.exact = (
            curves_are_exact(h, inputs.largest, spread, SIGMOID),
            curves_are_exact(h, 1.0, 1.0 if C > 1 else 0.0, SCORE),
        )
        self.reach = np.array([h * inputs.largest * self.exact[0], h * self.exact[1]])

    def span(self, block: range) -> slice:
        """Return where the rows of `block` stand in the flat state."""
        return slice(block.start * self.width, block.stop * self.width)

    def cost(self) -> Cost:
        """Return an estimate from the multiplications that are not by zero."""
        seconds = self._seconds(len(self.inputs.entries[2]), self.items)
        return Cost(seconds, seconds, 1.2e-9 * self.layers[0].size)

    def weights(self) -> Floats:
        """Return about what each sample costs, and with the first one the look at W1."""
        weights: Floats = self._seconds(np.diff(self.inputs.entries[0]), 1)
        weights[0] += 0.5e-9 * self.layers[0].size
        return weights

    def _seconds(self, entries: Any, samples: int) -> Any:
        """Return about what so many samples cost that have so many entries."""
        H, C = self.rows.hidden, self.rows.classes
        return 0.15e-9 * H * entries + 2.5e-9 * (H + 1) * C * samples

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's rows."""
        W1, b1, W2, b2 = self.layers
        if block.start == 0:
            check_moves(self.h, W1)  # beside the other blocks
        state = out.reshape(-1, self.width)
        room = -(-len(b1) // WIDTH) * WIDTH
        for start in range(block.start, block.stop, TOGETHER):
            stop = min(start + TOGETHER, block.stop)
            a = scratch("pre-activations", (stop - start) * room).reshape(-1, room)
            first_layer_kernel(*self.inputs.entries, W1, b1, start, stop, a)
            rows = state[start - block.start : stop - block.start]
            samples_kernel(a, W2, b2, self.V, self.t[start:stop], self.reach, rows)


@dataclass(frozen=True)
class _HiddenCurves:
    """The first layer, its perturbed losses read from one curve for each sample and unit."""

    inputs: Inputs
    state: Floats
    units: int

    def partials(self, rows: range, out: Floats) -> None:
        batch = (*self.inputs.entries, self.inputs.largest, self.state)
        rows_kernel(*batch, rows.start, rows.stop, out)

    def cost(self) -> float:
        return PACE * self.units * len(self.inputs.entries[1])

    def weights(self) -> Floats:
        columns = self.inputs.entries[1]
        every = -(-len(columns) // ENOUGH)
        entries = np.bincount(columns[::every], minlength=self.inputs.features + 1)
        weights: Floats = PACE * self.units * every * entries.astype(float)
        return weights


@dataclass(frozen=True)
class _ScoreCurves:
    """The last layer, read from one curve for each sample and class."""

    state: Floats
    units: int
    classes: int

    def partials(self, rows: range, out: Floats) -> None:
        last_rows_kernel(self.units, self.state, rows.start, rows.stop, out)

    def cost(self) -> float:
        return PACE * len(self.state) * self.classes * (self.units + 1)

    def weights(self) -> Floats:
        return np.full(self.units + 1, PACE * len(self.state) * self.classes)


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

    def cost(self) -> float:
        return float(self.weights().sum())

    def weights(self) -> Floats:
        entries: Floats = np.count_nonzero(self.X, axis=0).astype(float)
        return 20e-9 * self.V.size * entries


def _direct(samples: Samples) -> tuple[_Direct, _Direct]:
    """Return both layers for the kernel of large steps; beside it the forward pass is free."""
    t, h = samples.t, samples.h
    X = samples.inputs.dense()
    W1, b1, W2, b2 = samples.layers
    a = X @ np.vstack([W1, b1])
    Z = np.ones((len(t), a.shape[1] + 1))
    Z[:, :-1] = sigmoid(a)
    scores = Z @ np.vstack([W2, b2])
    p = softmax(scores)
    r = p[np.arange(len(t)), t]
    output = (scores, p, t, r / (r + TINY))
    # exp(-|a|) keeps the slope z (1 - z) accurate where z rounds to 1.
    small = np.exp(-np.abs(a))
    units = (a, Z[:, :-1].copy(), small / (1 + small) ** 2)
    return (
        _Direct(X, h, True, units, samples.V, output),
        _Direct(Z, h, False, (scores, p, p), np.eye(scores.shape[1]), output),
    )


class IncrementalNetwork(PlainArrays):
    """Every perturbed loss from what the perturbation moves; see the kernels for the formulas.

    The parameters are not kept and never perturbed.

    Parameters
    ----------
    samples : Samples
        What is perturbed, and the step.
    state : ndarray of float64
        What `samples` wrote.
    """

    def __init__(self, samples: Samples, state: Floats) -> None:
        self.rows = samples.rows
        self.items, self.size, self.span = self.rows.items, self.rows.size, self.rows.span
        self._bytes = state.nbytes
        state = state.reshape(samples.items, samples.width)
        H, C = self.rows.hidden, self.rows.classes
        self._layers: list[_HiddenCurves | _ScoreCurves | _Direct] = [
            _HiddenCurves(samples.inputs, state, H),
            _ScoreCurves(state, H, C),
        ]
        if not all(samples.exact):
            direct = _direct(samples)
            for k in (0, 1):
                if not samples.exact[k]:
                    self._layers[k] = direct[k]

    def weights(self) -> Floats:
        """Return about what each row costs, from the multiplications that are not by zero."""
        return np.concatenate([layer.weights() for layer in self._layers])

    def cost(self) -> Cost:
        """Return about what all rows cost; each block reads the whole state."""
        seconds = sum(layer.cost() for layer in self._layers)
        return Cost(seconds, seconds, 1e-10 * self._bytes)

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's partial derivatives."""
        for layer, rows, where in self.rows.split(block):
            self._layers[layer].partials(rows, out[where].reshape(len(rows), -1))
