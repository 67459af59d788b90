"""The error of central differences against the step h: the V between truncation and rounding.

The truth is the derivative of the loss with the book's 1e-7, by backprop in extended precision.
"""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot

from benchmarks.pictures import BLUE, ORANGE
from fastgrad import TwoLayerNet, load_mnist, reference
from fastgrad.plotting import mark_step

ROW = 400
"""The row of W1 that is looked at, with all of b1, W2 and b2: the nditer loop is slow."""

COUNT = 50 + 50 + 500 + 10

STEPS = 10.0 ** np.arange(-10, 0.1, 0.5)


def derivative(params, x, t):
    """Return the exact gradient of the loss, the 1e-7 kept, in longdouble."""
    W1, b1, W2, b2 = (params[name].astype(np.longdouble) for name in ("W1", "b1", "W2", "b2"))
    x = x.astype(np.longdouble)
    z = 1 / (1 + np.exp(-(x @ W1 + b1)))
    a = z @ W2 + b2
    p = np.exp(a - a.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    true = np.take_along_axis(p, t[:, np.newaxis], axis=1)
    da = (p - np.eye(p.shape[1])[t]) * true / (true + np.longdouble("1e-7")) / len(x)
    dz = da @ W2.T * z * (1 - z)
    return {"W1": x.T @ dz, "b1": dz.sum(axis=0), "W2": z.T @ da, "b2": da.sum(axis=0)}


def observed(grads):
    """Return what is looked at of a gradient, as one vector."""
    return np.concatenate([grads["W1"][ROW], grads["b1"], grads["W2"].ravel(), grads["b2"]])


def naive(net, x, t, h):
    """Return what is looked at by the nditer loop."""
    parts = {**net.params, "W1": net.params["W1"][ROW : ROW + 1]}
    grads = {
        name: reference.numerical_gradient(lambda _: net.loss(x, t), array, h=h)
        for name, array in parts.items()
    }
    return np.concatenate([grads[name].ravel() for name in ("W1", "b1", "W2", "b2")])


def errors():
    """Return the largest errors (steps, methods) of the nditer loop and of ours."""
    (x, t), _ = load_mnist()
    net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(0))
    for start in range(0, 3000, 100):  # a little trained: at the start many values are alike
        for name, grad in net.gradient(x[start : start + 100], t[start : start + 100]).items():
            net.params[name] -= grad
    x, t = x[:100], t[:100]
    truth = observed(derivative(net.params, x, t))
    pairs = [(naive(net, x, t, h), observed(net.numerical_gradient(x, t, h=h))) for h in STEPS]
    return np.array([[np.abs(grad - truth).max() for grad in pair] for pair in pairs], float)


def figure():
    """Measure and draw."""
    loop, ours = errors().T
    picture, ax = pyplot.subplots(figsize=(7.5, 4.6), layout="constrained")
    ax.loglog(STEPS, loop, "o--", color=ORANGE, label="nditer loop")
    ax.loglog(STEPS, ours, "s-", color=BLUE, label="incremental")
    mark_step(ax, 1e-4, "the book's h")
    ax.set(xlabel="step h", ylabel=f"largest error of {COUNT} partial derivatives")
    ax.set_title("Central differences against the exact derivative, 784-50-10, float64")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    return picture
