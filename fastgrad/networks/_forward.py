"""A forward pass that is kept, and what moves in it when single pre-activations move."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.functions import TINY, softmax
from fastgrad.networks._dense import ACTIVATIONS, Layers
from fastgrad.networks._kernels import LARGE, smooth_moves_kernel


class ForwardPass:
    """The samples of a block, on their way through a dense network.

    A bias is the weight of an input of 1, the last of a layer.

    Attributes
    ----------
    layers, z, a : list of ndarray
        Weights (inputs + 1, units), inputs (N, inputs + 1) and pre-activations (N, units).
    s, slope : list of ndarray
        Of each hidden layer, ``sigmoid(gain * a)`` and its derivative; `a` itself for ReLU.
    p, r : ndarray, shape (N, C), (N,)
        Probabilities, and of the labels' ``p / (p + 1e-7)``.
    """

    def __init__(self, layers: Layers, activation: str, x: Array, t: Integers) -> None:
        self.layers = [np.vstack([W, b], dtype=float) for W, b in layers]
        self.gain, self.t = ACTIVATIONS[activation].gain, t
        self.z: list[Floats] = []
        self.a: list[Floats] = []
        self.s: list[Floats] = []
        self.slope: list[Floats] = []
        for W in self.layers:
            self.z.append(np.ones((len(x), len(W))))
            self.z[-1][:, :-1] = x
            self.a.append(self.z[-1] @ W)
            if len(self.a) < len(layers):
                s, slope, x = activate(self.gain, self.a[-1])
                self.s.append(s)
                self.slope.append(slope)
        self.p = softmax(self.a[-1])
        p_t = self.p[np.arange(len(t)), t]
        self.r = p_t / (p_t + TINY)

    def derivatives(self) -> list[Floats]:
        """Return the derivatives of each sample's loss by the pre-activations of each layer."""
        d = self.p.copy()
        d[np.arange(len(d)), self.t] -= 1
        d *= self.r[:, np.newaxis]
        found = [d]
        for k in range(len(self.layers) - 1, 0, -1):
            slope = self.gain**2 * self.slope[k - 1] if self.gain else self.a[k - 1] > 0
            d = (d @ self.layers[k][:-1].T) * slope
            found.insert(0, d)
        return found

    def rises(self, k: int, n: int | slice, moves: Floats) -> Floats:
        """Return by how much losses rise when the pre-activations of layer `k` move by `moves`.

        Each row of `moves` (rows, units) is for sample n, or for one each of the samples n.
        """
        for layer in range(k, len(self.layers) - 1):
            moves = self._outputs_moved(layer, n, moves) @ self.layers[layer + 1][:-1]
        label = np.arange(len(moves)), np.broadcast_to(self.t[n], len(moves))
        relative = moves - moves[label][:, np.newaxis]
        T = (self.p[n] * np.expm1(relative)).sum(axis=1)  # By it the softmax's mass grows.
        rises: Floats = -np.log1p(-self.r[n] * T / (1 + T))
        large = (np.abs(relative) > LARGE).any(axis=1)
        if large.any():  # The mass may overflow, while the softmax itself does not.
            before = np.broadcast_to(self.p[n], moves.shape)[label]
            after = softmax(self.a[-1][n] + moves)[label]
            rises[large] = np.log((before + TINY) / (after + TINY))[large]
        return rises

    def unit_rises(self, k: int, n: int, units: Array, d: Floats) -> Floats:
        """Return by how much its loss rises when a pre-activation of sample n moves by d.

        One unit of layer `k` after the other, `units` and `d` (rows,).
        """
        if k == len(self.layers) - 1:
            moves = np.zeros((len(d), self.a[k].shape[1]))
            moves[np.arange(len(d)), units] = d
            return self.rises(k, n, moves)
        moved = self._outputs_moved(k, (n, units), np.array([d]))
        return self.rises(k + 1, n, moved.T * self.layers[k + 1][units])

    def _outputs_moved(self, k: int, where: Any, moves: Floats) -> Floats:
        """Return how outputs move with pre-activations; `moves` (rows, units) may be reused."""
        a = self.a[k][where]
        if self.gain:
            smooth_moves_kernel(self.gain, a, self.s[k][where], self.slope[k][where], moves)
        else:
            moves = np.where(a > 0, np.maximum(moves, -a), np.maximum(a + moves, 0))
        return moves


def activate(gain: float, a: Floats) -> tuple[Floats, Floats, Floats]:
    """Return ``sigmoid(gain * a)`` and its derivative, `a` itself for ReLU, and the output."""
    if not gain:
        return a, a, np.maximum(a, 0)
    small = np.exp(-np.abs(gain * a))
    large = 1 / (1 + small)
    s = np.where(a >= 0, large, small * large)
    return s, small * large * large, gain * s - (gain - 1)  # Right where s rounds to 1.
