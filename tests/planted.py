"""Faults planted into right gradients, drawn at random, and what the report may call them."""

import book_nets
import numpy as np

# Where an array has three entries, to swap the outer ones is to reverse it.
KINDS = {
    "sign": {"wrong sign"},
    "whole factor": {"constant factor"},
    "factor": {"constant factor"},
    "transposed": {"transposed"},
    "swapped": {"swapped entries", "reversed entries"},
    "shifted": {"shifted entries"},
    "reversed": {"reversed entries"},
    "slice": {"one slice"},
    "entry": {"single entry"},
    "times x": {"missing term"},
    "addend": {"missing term"},
    "zero": {"zero gradient"},
    "not finite": {"not finite"},
}


def case(seed):
    """Return f, x, its gradient with a fault of a part in 1e3 or more, and what and where it is.

    None where the fault changes nothing, as in an array of zeros.
    """
    rng = np.random.default_rng(seed)
    p, f, gradient = _base(rng)
    right, fault = gradient(p), list(KINDS)[seed % len(KINDS)]
    flat = fault not in ("transposed", "slice")
    names = [name for name, array in right.items() if flat or array.ndim == 2]
    name = names[rng.integers(len(names))]
    with np.errstate(invalid="ignore"):
        broken = _plant(rng, fault, right[name], p[name])
        changed = np.abs(broken - right[name]) > 9.9e-4 * np.abs(right[name])
    if np.isfinite(broken).all() and np.count_nonzero(changed) < 1 + (fault == "slice"):
        return None
    return f, p, {**right, name: broken}, name, fault


def _base(rng):
    x, t = rng.uniform(0, 1, (6, 9)), rng.integers(0, 4, 6)
    kind = rng.integers(4)
    if kind == 0:
        return book_nets.two_layer(rng, x, t, hidden=5, classes=4, std=0.5)
    if kind == 1:
        decay = 0.1 * rng.integers(2)
        return book_nets.multi_layer(rng, x, t, hidden=(6, 5), classes=4, decay=decay)
    if kind == 2:
        A = rng.standard_normal((4, 6))
        p = {"W": rng.standard_normal((4, 6)), "b": rng.standard_normal(5)}

        def f(p):
            return np.sum(A * np.sin(p["W"])) + np.sum(np.exp(p["b"])) * np.tanh(p["W"]).mean()

        def gradient(p):
            W = A * np.cos(p["W"]) + np.exp(p["b"]).sum() * (1 - np.tanh(p["W"]) ** 2) / 24
            return {"W": W, "b": np.exp(p["b"]) * np.tanh(p["W"]).mean()}

        return p, f, gradient
    A, B = rng.standard_normal((7, 5)), rng.standard_normal((7, 3))
    p = {"W": rng.standard_normal((5, 3)), "c": rng.standard_normal(3)}

    def rest(p):
        return A @ p["W"] + p["c"] - B

    return (
        p,
        lambda p: np.sum(rest(p) ** 2),
        lambda p: {"W": 2 * A.T @ rest(p), "c": 2 * rest(p).sum(axis=0)},
    )


def _plant(rng, fault, right, x):
    g, axis, sign = right.copy(), rng.integers(right.ndim), rng.choice([-1, 1])
    share, one, two = 10 ** rng.uniform(-3, -1), *rng.choice(right.size, 2, replace=False)
    if fault == "slice":
        g[rng.integers(len(g))] *= 1 + 10 * sign * share
    elif fault == "entry":
        g.flat[one] *= 1 + 10 * sign * share
    elif fault == "swapped":
        g.flat[[one, two]] = g.flat[[two, one]]
    elif fault == "not finite":
        g.flat[one] = rng.choice([np.nan, np.inf])
    return {
        "sign": lambda: -g,
        "whole factor": lambda: g * float(rng.integers(2, 9)) ** sign,
        "factor": lambda: g * (1 + sign * share),
        "transposed": lambda: g.T.reshape(g.shape).copy(),
        "shifted": lambda: np.roll(g, sign, axis),
        "reversed": lambda: np.flip(g, axis),
        "times x": lambda: g - 10 * share * np.abs(g).max() * x,
        "addend": lambda: g - 10 * share * np.abs(g).max(),
        "zero": lambda: np.zeros_like(g),
    }.get(fault, lambda: g)()
