"""The likeliest class by float32, where that is sure to be float64's.

A product of n terms in float32 errs by at most g(n) ``|x|.T @ |W|``, g(n) = n u / (1 - n u) and
u = 2^-24, also where x and W were rounded to float32 first, which counts as four terms (N. Higham,
*Accuracy and Stability of Numerical Algorithms*, section 3.1). Over all units of a layer that is at
most ``g ||x|| ||W||`` in Euclid's norm, and what its inputs err by grows by at most ``||W||`` times
the activation's slope. So a layer makes of an error e at most

    slope (e ||W|| + g(D + 4) (||z|| ||W|| + ||b||)) + 4 u sqrt(units),

the last term for the activation's own rounding. Two scores further apart than twice the last
layer's e are in the right order. Another hundredth covers what the estimate itself rounds, and
1e-12 that softmax in float64 may make one of two closer scores.
"""

from __future__ import annotations

import numpy as np

from fastgrad._typing import Array
from fastgrad.networks._dense import ACTIVATIONS, Layers

U = 2.0**-24
WIDEST = 2**16
"""Inputs of a layer beyond which the estimate itself would round too much."""


def likeliest(layers: Layers, activation: str, x: Array) -> tuple[Array, Array]:
    """Return the likeliest class of each sample (N, D), and where it is sure to be so."""
    z, error = x.astype(np.float32, copy=False), np.zeros(len(x), np.float32)
    for k, (W, b) in enumerate(layers):
        size, g = np.linalg.norm(W), (len(W) + 4) * U / (1 - (len(W) + 4) * U)
        length = np.sqrt(np.einsum("ni,ni->n", z, z))
        error = error * size + g * (length * size + np.linalg.norm(b)) + 1e-30
        z = z @ W.astype(np.float32) + b.astype(np.float32)
        if k < len(layers) - 1:
            z = ACTIVATIONS[activation].function(z)
            error = ACTIVATIONS[activation].steepest * error + 4 * U * np.sqrt(len(b))
    scores, every = np.ascontiguousarray(z.T), np.arange(len(z))
    found = scores.argmax(axis=0)
    highest = scores[found, every]
    scores[found, every] = -np.inf
    sure = highest - scores.max(axis=0) > 2.02 * error + 1e-12
    return found, sure & (max(len(W) for W, _ in layers) <= WIDEST)
