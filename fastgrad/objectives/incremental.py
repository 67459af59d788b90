"""The two-layer network as an objective: every perturbed loss from what the perturbation moves.

The work has two stages, since all rows of the network read what is found out about each sample
first, see `Samples`. Threads share both, see `fastgrad.objectives.shared_work`. Any other workers
get blocks of rows, of an `IncrementalNetwork`, for which the first stage is done here: it is sooner
done than sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastgrad._typing import Floats, Integers
from fastgrad.functions import TINY, sigmoid, softmax
from fastgrad.kernels.curves import curves_size, last_rows_kernel, rows_kernel
from fastgrad.kernels.direct import direct_kernel
from fastgrad.kernels.samples import turn
from fastgrad.objectives.base import Cost, PlainArrays
from fastgrad.objectives.network import Inputs, Rows
from fastgrad.series import SCORE, SIGMOID, curves_are_exact

ENOUGH = 4096
"""Entries that tell where the others are."""

PACE, LAST_PACE = 0.27e-9, 0.35e-9
"""Seconds in which a kernel reads one curve at one input, in the first and in the last layer."""


class Samples:
    """The forward pass and the curves of each sample, which all rows of the network share.

    Parameters
    ----------
    layers : (W1, b1, W2, b2)
        The network, float64 and contiguous.
    inputs, t, h
        As for `fastgrad.objectives.network.FullNetwork`; with a step of 0 there are no curves.

    Attributes
    ----------
    width, size : int
        How many numbers a sample's row has, see `fastgrad.kernels.samples`, and all rows.
    label : int
        Where in a row the probability of the label stands.
    seconds, reading_seconds : float
        About what it costs to find all rows, and to read the gradient from the curves.
    exact : (bool, bool)
        Whether the curves of each layer are, to rounding.
    reach : ndarray
        The largest shift of a pre-activation and of a score, 0 where the curves are not exact.
    """

    def __init__(self, layers: list[Floats], inputs: Inputs, t: Integers, h: float) -> None:
        self.layers, self.inputs, self.t, self.h = layers, inputs, t, h
        W2 = layers[2]
        H, C = W2.shape
        self.rows = Rows(inputs.features, H, C)
        # Rows start on cache lines: the kernels load 32 bytes at a time.
        self.label = curves_size(H) + 2 * C + H + 1
        self.width = -(-(self.label + 1) // 8) * 8
        self.size = len(t) * self.width
        self.V = np.empty((C, H))
        spread = turn(W2, self.V)
        # Where the truncation of the curves is not proven to be below rounding, the reach is 0.
        self.exact = (
            curves_are_exact(h, inputs.largest, spread, SIGMOID),
            curves_are_exact(h, 1.0, 1.0 if C > 1 else 0.0, SCORE),
        )
        self.reach = np.array([h * inputs.largest * self.exact[0], h * self.exact[1]])
        # Multiplications that are not by zero, in the first and in the last layer.
        first, last = H * len(inputs.entries[2]), (H + 1) * C * len(t)
        self.seconds = 0.15e-9 * first + 2.5e-9 * last
        self.reading_seconds = PACE * first + LAST_PACE * last


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
        return LAST_PACE * len(self.state) * self.classes * (self.units + 1)

    def weights(self) -> Floats:
        return np.full(self.units + 1, LAST_PACE * len(self.state) * self.classes)


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
        What the calls of `SharedWork.state_calls` wrote.
    """

    def __init__(self, samples: Samples, state: Floats) -> None:
        self.rows = samples.rows
        self.items, self.size, self.span = self.rows.items, self.rows.size, self.rows.span
        self._inputs = samples.inputs
        self._state = state = state.reshape(-1, samples.width)
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

    @property
    def seconds(self) -> float:
        """About what all rows cost."""
        return sum(layer.cost() for layer in self._layers)

    def cost(self) -> Cost:
        """Return about what all rows cost; each block reads the whole state."""
        return Cost(self.seconds, self.seconds, 1e-10 * self._state.nbytes)

    def partials(self, block: range, out: Floats) -> None:
        """Write the block's partial derivatives."""
        for layer, rows, where in self.rows.split(block):
            self._layers[layer].partials(rows, out[where].reshape(len(rows), -1))
