"""The book's backprop for the two-layer network, and what it leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.diagnosis import Finding, Known
from fastgrad.functions import TINY, sigmoid, softmax

Params = dict[str, Array]


def backprop(params: Params, x: Array, t: Integers) -> Gradients:
    """Return the gradient of *Deep Learning from Scratch*, section 5.7.

    Parameters
    ----------
    params : dict of ndarray
        "W1" (D, H), "b1" (H,), "W2" (H, C) and "b2" (C,).
    x : ndarray, shape (N, D)
        The samples.
    t : ndarray of int, shape (N,)
        Their classes.
    """
    z, dy, da, _ = _errors(params, x, t)
    return _products(x, z, dy, da)


def left_out(params: Params, x: Array, t: Integers) -> Known:
    """Return how far `backprop` may be from the derivative of the loss for want of its 1e-7.

    The derivative of ``-log(p + 1e-7)`` is that of ``-log(p)`` times ``p / (p + 1e-7)``: what a
    sample contributes is too large by the share ``e = 1e-7 / (p + 1e-7)`` of it. A parameter's
    bound is the sum of these shares of the absolute contributions, ``|x|.T @ (e |da|)`` for W1.
    """
    z, dy, da, p = _errors(params, x, t)
    share = (TINY / (p + TINY))[:, np.newaxis]
    bound = _products(np.abs(x), z, share * np.abs(dy), share * np.abs(da))
    lowest = int(p.argmin())
    text = f"backprop leaves it out, but the true class of sample {lowest} has p = {p[lowest]:.1e}"
    return Known(bound, Finding("the 1e-7 of the loss", text))


def _errors(params: Params, x: Array, t: Integers) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the hidden units, the errors of both layers, and p of each true class."""
    W2 = params["W2"]
    z = sigmoid(np.dot(x, params["W1"]) + params["b1"])
    dy = softmax(np.dot(z, W2) + params["b2"])
    true: Any = np.arange(len(x)), t
    p = dy[true]
    dy[true] -= 1
    dy /= len(x)
    return z, dy, np.dot(dy, W2.T) * z * (1 - z), p


def _products(x: Array, z: Floats, dy: Floats, da: Floats) -> Gradients:
    """Return the gradients of both layers out of their inputs and errors."""
    return {
        "W1": np.dot(x.T, da),
        "b1": np.sum(da, axis=0),
        "W2": np.dot(z.T, dy),
        "b2": np.sum(dy, axis=0),
    }
