"""Dense layers in NumPy, as in the book: scores, and backprop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.functions import sigmoid, softmax

Layers = list[tuple[Array, Array]]
"""The weights (inputs, units) and biases (units,) of each layer."""


class Activation(NamedTuple):
    """What a hidden layer's units make of their pre-activations."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]  # By the function's value.
    steepest: float
    gain: float  # See `fastgrad.networks._kernels`.


ACTIVATIONS = {
    "sigmoid": Activation(sigmoid, lambda z: z * (1 - z), 0.25, 1.0),
    "relu": Activation(lambda a: np.maximum(a, 0), lambda z: z > 0, 1.0, 0.0),
    "tanh": Activation(np.tanh, lambda z: 1 - z * z, 1.0, 2.0),
}


def inputs_and_scores(layers: Layers, activation: str, x: Array) -> tuple[list[Array], Floats]:
    """Return the inputs of each layer, and the scores of the last."""
    z = [x]
    for W, b in layers[:-1]:
        z.append(ACTIVATIONS[activation].function(np.dot(z[-1], W) + b))
    W, b = layers[-1]
    return z, np.dot(z[-1], W) + b


def backprop(
    layers: Layers, activation: str, x: Array, t: Integers
) -> tuple[list[tuple[Floats, Floats]], Floats]:
    """Return the gradient of the mean loss by each layer's W and b, and by the scores of layer 0.

    Like the book's, it leaves out the 1e-7 of the loss.
    """
    z, scores = inputs_and_scores(layers, activation, x)
    d = softmax(scores)
    d[np.arange(len(t)), t] -= 1
    d /= len(t)
    found = []
    for k in range(len(layers) - 1, -1, -1):
        found.append((np.dot(z[k].T, d), d.sum(axis=0)))
        if k:
            d = np.dot(d, layers[k][0].T) * ACTIVATIONS[activation].derivative(z[k])
    return found[::-1], d
