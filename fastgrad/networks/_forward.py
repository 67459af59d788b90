"""A forward pass that is kept, and what moves in it when single pre-activations move."""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.networks._kernels import (
    activate_kernel,
    multiply_kernel,
    relu_moves_kernel,
    rises_kernel,
    smooth_moves_kernel,
    softmax_kernel,
)

GAINS = {"relu": 0.0, "sigmoid": 1.0, "tanh": 2.0}
"""The activations of hidden layers, see `fastgrad.networks._kernels`."""

WIDEST, DENSEST = 128, 0.3
"""Up to so many units, and such a share of inputs that are not 0, the plain loop over the inputs
beats BLAS: twice for digits and 50 units."""


def pays_to_skip(W: Floats, x: Array) -> bool:
    """Tell whether products of `x` with the first layer's weights are to leave out its zeros."""
    some = x[:25]
    few = W.shape[1] <= WIDEST and np.count_nonzero(some) <= DENSEST * some.size
    return bool(few and not np.isnan(W.min()))  # 0 * NaN is NaN.


class ForwardPass:
    """The samples of a block, on their way through a dense network.

    Parameters
    ----------
    layers : list of (W, b)
        float64, W (inputs, units).
    activation : {"relu", "sigmoid", "tanh"}
        Of all layers but the last, whose scores go through softmax and cross entropy.
    x : ndarray, shape (N, D)
    t : ndarray of int64, shape (N,)
        Class numbers.
    skips_zeros : bool, default False
        Whether products with `x` leave out its zeros, see `pays_to_skip`.

    Attributes
    ----------
    z, a : list of ndarray
        Inputs and pre-activations of each layer.
    s, slope : list of ndarray
        Of each hidden layer, ``sigmoid(gain * a)`` and its derivative; `a` itself for ReLU.
    p, r : ndarray, shape (N, C), (N,)
        Probabilities, and of the labels' ``p / (p + 1e-7)``.
    """

    def __init__(
        self,
        layers: list[tuple[Floats, Floats]],
        activation: str,
        x: Array,
        t: Integers,
        skips_zeros: bool = False,
    ) -> None:
        self.layers, self.gain, self.t = layers, GAINS[activation], t
        self.z, self.a = [np.ascontiguousarray(x, float)], []
        self.s: list[Floats] = []
        self.slope: list[Floats] = []
        self.skips_zeros = skips_zeros
        for k, (W, b) in enumerate(layers):
            if k == 0 and self.skips_zeros:
                a = np.empty((len(x), len(b)))
                multiply_kernel(self.z[0], W, b, a)
            else:
                a = self.z[k] @ W + b
            self.a.append(a)
            if k < len(layers) - 1:
                self._activate(a)
        self.p, self.r, self._derivative = np.empty_like(a), np.empty(len(a)), np.empty_like(a)
        softmax_kernel(a, t, self.p, self.r, self._derivative)

    def _activate(self, a: Floats) -> None:
        s, slope, z = a, a, np.maximum(a, 0)
        if self.gain:
            s, slope = np.empty_like(a), np.empty_like(a)
            activate_kernel(self.gain, a, s, slope, z)
        self.s.append(s)
        self.slope.append(slope)
        self.z.append(z)

    def derivatives(self) -> list[Floats]:
        """Return the derivatives of each sample's loss by the pre-activations of each layer."""
        d = self._derivative
        found = [d]
        for k in range(len(self.layers) - 1, 0, -1):
            slope = self.gain**2 * self.slope[k - 1] if self.gain else self.a[k - 1] > 0
            d = (d @ self.layers[k][0].T) * slope
            found.insert(0, d)
        return found

    def outputs_moved(self, k: int, samples: Integers, moves: Floats) -> Floats:
        """Return how outputs of hidden layer `k` move with its pre-activations, in place.

        Each row of `moves` (rows, units) is of the sample whose number stands in `samples`.
        """
        if self.gain:
            layer = self.a[k], self.s[k], self.slope[k]
            smooth_moves_kernel(self.gain, *layer, samples, moves)
        else:
            relu_moves_kernel(self.a[k], samples, moves)
        return moves

    def unit_moved(self, k: int, samples: Integers, units: Integers, d: Floats) -> Floats:
        """Return how the outputs of single units of layer `k` move with their pre-activations."""
        rows, moves = np.arange(len(d)), d[:, np.newaxis].copy()
        a = self.a[k][samples, units][:, np.newaxis]
        if self.gain:
            s, slope = (of[k][samples, units][:, np.newaxis] for of in (self.s, self.slope))
            smooth_moves_kernel(self.gain, a, s, slope, rows, moves)
        else:
            relu_moves_kernel(a, rows, moves)
        return moves

    def rises(self, k: int, samples: Integers, moves: Floats) -> Floats:
        """Return by how much losses rise when the pre-activations of layer `k` move by `moves`."""
        for layer in range(k, len(self.layers) - 1):
            moves = self.outputs_moved(layer, samples, moves) @ self.layers[layer + 1][0]
        out = np.empty(len(samples))
        rises_kernel(self.a[-1], self.p, self.r, self.t, samples, moves, out)
        return out

    def unit_rises(self, k: int, samples: Integers, units: Integers, d: Floats) -> Floats:
        """Return by how much losses rise when pre-activations of single units move by `d`."""
        if k == len(self.layers) - 1:
            moves = np.zeros((len(d), self.a[k].shape[1]))
            moves[np.arange(len(d)), units] = d
            return self.rises(k, samples, moves)
        W = self.layers[k + 1][0]
        return self.rises(k + 1, samples, self.unit_moved(k, samples, units, d) * W[units])
