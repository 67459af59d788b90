"""The book's networks of any depth, written plainly from its formulas, and the book's loop.

Nothing here comes from fastgrad. `dtype=np.longdouble` makes it an oracle whose own rounding is a
thousand times smaller than float64's.
"""

import numpy as np

ACTIVATIONS = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
}


def mean_loss(scores, t):
    y = np.exp(scores - scores.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return -np.sum(np.log(y[np.arange(len(t)), t] + scores.dtype.type(1e-7))) / len(t)


def dense_loss(params, x, t, activation="sigmoid", decay=0, first=1):
    z, last = x.astype(params["b1"].dtype), len(params) // 2
    with np.errstate(over="ignore"):
        for k in range(first, last + 1):
            a = z @ params[f"W{k}"] + params[f"b{k}"]
            z = ACTIVATIONS[activation](a)
    squares = sum(np.sum(params[f"W{k}"] ** 2) for k in range(first, last + 1)) if decay else 0
    return mean_loss(a, t) + squares * decay / 2


def conv_loss(params, x, t, pad=0, stride=1):
    W, b = params["W1"], params["b1"]
    x = np.pad(x.astype(W.dtype), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    rows, columns = ((n - W.shape[2]) // stride + 1 for n in x.shape[2:])
    a = np.empty((len(x), len(b), rows, columns), W.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = stride * i, stride * j
            seen = x[:, np.newaxis, :, top : top + W.shape[2], left : left + W.shape[3]]
            a[:, :, i, j] = (seen * W).sum(axis=(2, 3, 4)) + b
    z = np.maximum(a, 0)[:, :, : rows // 2 * 2, : columns // 2 * 2]
    z = np.maximum(
        np.maximum(z[:, :, ::2, ::2], z[:, :, 1::2, ::2]),
        np.maximum(z[:, :, ::2, 1::2], z[:, :, 1::2, 1::2]),
    )
    return dense_loss(params, z.reshape(len(x), -1), t, "relu", first=2)


def central_difference(loss, params, *given, h, dtype=np.longdouble, **options):
    """Move each parameter of a copy by +h and -h; return the quotients, array by array."""
    params, h = {name: array.astype(dtype) for name, array in params.items()}, dtype(h)
    grads = {}
    for name, array in params.items():
        grads[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            saved = array[index]
            array[index] = saved + h
            above = loss(params, *given, **options)
            array[index] = saved - h
            below = loss(params, *given, **options)
            array[index] = saved
            grads[name][index] = (above - below) / (2 * h)
    return grads


def largest_difference(first, second):
    """Return the largest absolute difference between two dicts of arrays; NaN counts."""
    assert first.keys() == second.keys()
    assert all(first[name].shape == second[name].shape for name in first)
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def same_bits(first, second):
    return first.keys() == second.keys() and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )
