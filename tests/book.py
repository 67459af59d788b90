"""The program that fastgrad makes fast, written plainly from the formulas of the book.

Nothing here comes from fastgrad. `dtype=np.longdouble` makes it an oracle whose own rounding is a
thousand times smaller than float64's.
"""

import numpy as np


def loss(params, x, t):
    """Mean cross entropy with the book's 1e-7, in the precision of the parameters."""
    W1, b1, W2, b2 = (params[name] for name in ("W1", "b1", "W2", "b2"))
    with np.errstate(over="ignore"):
        z = 1 / (1 + np.exp(-(x.astype(W1.dtype) @ W1 + b1)))
    a = z @ W2 + b2
    y = np.exp(a - a.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return -np.sum(np.log(y[np.arange(len(t)), t] + W1.dtype.type(1e-7))) / len(t)


def central_difference(params, x, t, h, dtype=np.float64):
    """Move each parameter of a copy by +h and -h; return the quotients, array by array."""
    params = {name: array.astype(dtype) for name, array in params.items()}
    h = dtype(h)
    grads = {}
    for name, array in params.items():
        grads[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            saved = array[index]
            array[index] = saved + h
            above = loss(params, x, t)
            array[index] = saved - h
            below = loss(params, x, t)
            array[index] = saved
            grads[name][index] = (above - below) / (2 * h)
    return grads


def train(x_train, t_train, *, hidden, classes, batch, iterations, learning_rate):
    """Return the losses of the loop, drawn from NumPy's global generator as the book draws."""
    params = {"W1": 0.01 * np.random.randn(x_train.shape[1], hidden), "b1": np.zeros(hidden)}
    params["W2"] = 0.01 * np.random.randn(hidden, classes)
    params["b2"] = np.zeros(classes)
    losses = []
    for _ in range(iterations):
        mask = np.random.choice(len(x_train), batch)
        grads = central_difference(params, x_train[mask], t_train[mask], 1e-4)
        for name in params:
            params[name] -= learning_rate * grads[name]
        losses.append(loss(params, x_train[mask], t_train[mask]))
    return losses
