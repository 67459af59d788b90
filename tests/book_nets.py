"""The book's networks of chapters 4 to 7 in plain NumPy: parameters, loss and backprop.

The loss is the mean of ``-log(p + 1e-7)``; backprop leaves the 1e-7 out, as the book's does. Each
function below returns ``(params, loss, gradient)``, the last two functions of the parameters.
"""

import itertools

import numpy as np


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(y, t):
    return -np.mean(np.log(y[np.arange(len(t)), t] + 1e-7))


def error(y, t):
    """Return the derivative of the loss by the scores, without the 1e-7."""
    d = y.copy()
    d[np.arange(len(t)), t] -= 1
    return d / len(t)


def two_layer(rng, x, t, hidden=8, classes=10, std=0.01):
    """Return chapter 4's network: sigmoid, then softmax."""
    params = {
        "W1": std * rng.standard_normal((x.shape[1], hidden)),
        "b1": np.zeros(hidden),
        "W2": std * rng.standard_normal((hidden, classes)),
        "b2": np.zeros(classes),
    }

    def forward(p):
        z = 1 / (1 + np.exp(-(x @ p["W1"] + p["b1"])))
        return z, softmax(z @ p["W2"] + p["b2"])

    def gradient(p):
        z, y = forward(p)
        dy = error(y, t)
        da = dy @ p["W2"].T * z * (1 - z)
        return {"W1": x.T @ da, "b1": da.sum(0), "W2": z.T @ dy, "b2": dy.sum(0)}

    return params, lambda p: cross_entropy(forward(p)[1], t), gradient


def multi_layer(rng, x, t, hidden=(10, 10), classes=10, batch_norm=False, decay=0.0):
    """Return chapter 6's network: affine layers and ReLU, batch normalization, weight decay."""
    sizes, params = [x.shape[1], *hidden, classes], {}
    last = len(sizes) - 1
    for k, (before, after) in enumerate(itertools.pairwise(sizes), 1):
        params[f"W{k}"] = np.sqrt(2 / before) * rng.standard_normal((before, after))
        params[f"b{k}"] = np.zeros(after)
        if batch_norm and k < last:
            params[f"gamma{k}"], params[f"beta{k}"] = np.ones(after), np.zeros(after)

    def forward(p):
        z, kept = x, []
        for k in range(1, last):
            a = z @ p[f"W{k}"] + p[f"b{k}"]
            std = normal = None
            if batch_norm:
                centred = a - a.mean(0)
                std = np.sqrt(np.mean(centred**2, axis=0) + 1e-6)
                normal = centred / std
                a = p[f"gamma{k}"] * normal + p[f"beta{k}"]
            kept.append((z, a, std, normal))
            z = np.maximum(a, 0)
        return z, kept, softmax(z @ p[f"W{last}"] + p[f"b{last}"])

    def loss(p):
        penalty = sum(np.sum(p[f"W{k}"] ** 2) for k in range(1, last + 1))
        return cross_entropy(forward(p)[2], t) + 0.5 * decay * penalty

    def gradient(p):
        z, kept, y = forward(p)
        d = error(y, t)
        g = {f"W{last}": z.T @ d, f"b{last}": d.sum(0)}
        d = d @ p[f"W{last}"].T
        for k in range(last - 1, 0, -1):
            z, a, std, normal = kept[k - 1]
            d = d * (a > 0)
            if batch_norm:
                g[f"gamma{k}"], g[f"beta{k}"] = (normal * d).sum(0), d.sum(0)
                d = p[f"gamma{k}"] * d
                d = (d - d.mean(0) - normal * (d * normal).mean(0)) / std
            g[f"W{k}"], g[f"b{k}"] = z.T @ d, d.sum(0)
            d = d @ p[f"W{k}"].T
        for k in range(1, last + 1):
            g[f"W{k}"] = g[f"W{k}"] + decay * p[f"W{k}"]
        return g

    return params, loss, gradient


def windows(x, size):
    """Return all windows of that size, shape (N, rows, columns, channels * size * size)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return view.transpose(0, 2, 3, 1, 4, 5).reshape(*view.shape[:1], *view.shape[2:4], -1)


def convolutional(rng, x, t, filters=4, size=3, hidden=8, classes=10, std=0.01):
    """Return chapter 7's network: convolution, ReLU, 2 x 2 max pooling, affine, ReLU, affine."""
    samples, channels = x.shape[:2]
    side = (x.shape[2] - size + 1) // 2
    params = {
        "W1": std * rng.standard_normal((filters, channels, size, size)),
        "b1": np.zeros(filters),
        "W2": std * rng.standard_normal((filters * side**2, hidden)),
        "b2": np.zeros(hidden),
        "W3": std * rng.standard_normal((hidden, classes)),
        "b3": np.zeros(classes),
    }
    columns = windows(x, size)

    def forward(p):
        a = columns @ p["W1"].reshape(filters, -1).T + p["b1"]
        blocks = np.maximum(a, 0)[:, : 2 * side, : 2 * side].reshape(samples, side, 2, side, 2, -1)
        blocks = blocks.transpose(0, 5, 1, 3, 2, 4).reshape(samples, filters, side, side, 4)
        flat = blocks.max(axis=4).reshape(samples, -1)
        scores = flat @ p["W2"] + p["b2"]
        z = np.maximum(scores, 0)
        return a, blocks, flat, scores, z, softmax(z @ p["W3"] + p["b3"])

    def gradient(p):
        a, blocks, flat, scores, z, y = forward(p)
        d = error(y, t)
        g = {"W3": z.T @ d, "b3": d.sum(0)}
        d = d @ p["W3"].T * (scores > 0)
        g |= {"W2": flat.T @ d, "b2": d.sum(0)}
        d = (d @ p["W2"].T).reshape(samples, filters, side, side)
        back = np.zeros(blocks.shape)
        np.put_along_axis(back, blocks.argmax(4)[..., None], d[..., None], 4)
        da = np.zeros(a.shape)
        back = back.reshape(samples, filters, side, side, 2, 2).transpose(0, 2, 4, 3, 5, 1)
        da[:, : 2 * side, : 2 * side] = back.reshape(samples, 2 * side, 2 * side, filters)
        da *= a > 0
        weights = np.tensordot(columns, da, ((0, 1, 2), (0, 1, 2))).T
        return g | {"W1": weights.reshape(p["W1"].shape), "b1": da.sum((0, 1, 2))}

    return params, lambda p: cross_entropy(forward(p)[5], t), gradient
