"""Functions and their gradients from calculus, drawn at random: all of them right."""

import numpy as np


def _quadratic(rng, n):
    A = rng.standard_normal((n, n))
    return lambda x: x @ A @ x, lambda x: (A + A.T) @ x


def _waves(rng, n):
    k = rng.uniform(0.1, 30, n)
    return lambda x: np.sum(np.sin(k * x)), lambda x: k * np.cos(k * x)


def _fast_waves(rng, n):
    k = rng.uniform(300, 1000, n)
    return lambda x: np.sum(np.sin(k * x)), lambda x: k * np.cos(k * x)


def _exponentials(rng, n):
    a = rng.uniform(-3, 3, n)
    return lambda x: np.exp(a @ x / n), lambda x: a / n * np.exp(a @ x / n)


def _cubes(rng, n):
    return lambda x: np.mean(x**3), lambda x: 3 * x**2 / n


def _log_sum_exp(rng, n):
    def gradient(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    return lambda x: x.max() + np.log(np.sum(np.exp(x - x.max()))), gradient


def _tanh_unit(rng, n):
    w = rng.standard_normal(n)
    return (
        lambda x: np.tanh(w @ x) ** 2,
        lambda x: 2 * np.tanh(w @ x) * (1 - np.tanh(w @ x) ** 2) * w,
    )


def _rosenbrock(rng, n):
    def f(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def gradient(x):
        g = np.zeros_like(x)
        bend = x[1:] - x[:-1] ** 2
        g[:-1] = -400 * x[:-1] * bend - 2 * (1 - x[:-1])
        g[1:] += 200 * bend
        return g

    return f, gradient


def least_squares_at_its_minimum(rng, n):
    """Return squares multiplied out, so that terms cancel, with the minimum where x happens to be.

    The value and the gradient are 0, the terms are not.
    """
    A = rng.standard_normal((n + 3, n))
    M = A.T @ A
    here = []

    def f(x):
        here.append(x.copy()) if not here else None
        b = M @ here[0]
        return x @ M @ x - 2 * (b @ x) + here[0] @ b

    def gradient(x):
        here.append(x.copy()) if not here else None
        return 2 * (M @ x) - 2 * (M @ here[0])

    return f, gradient


def _large_constant(rng, n):
    return lambda x: 1e6 + np.sum(np.cos(x)), lambda x: -np.sin(x)


def _steep(rng, n):
    return lambda x: np.sum(np.exp(3 * x)), lambda x: 3 * np.exp(3 * x)


def _fourth_powers(rng, n):
    return lambda x: 100 * np.sum(x**4), lambda x: 400 * x**3


FAMILIES = [
    _quadratic,
    _waves,
    _fast_waves,
    _exponentials,
    _cubes,
    _log_sum_exp,
    _tanh_unit,
    _rosenbrock,
    least_squares_at_its_minimum,
    _large_constant,
    _steep,
    _fourth_powers,
]


def right(seed):
    """Return a random function, where, its gradient, and a step that suits its scale.

    f is stretched by 1e-8 to 1e8, and so is x in float64, with h. A third is in float32.
    """
    rng = np.random.default_rng(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    n = int(rng.integers(2, 9))
    f, g = family(rng, n)
    tall = 10.0 ** rng.integers(-8, 9)
    if rng.random() < 1 / 3 and family is not _fast_waves:
        tall = np.float32(10.0 ** rng.integers(-3, 4))
        x = rng.standard_normal(n).astype(np.float32)
        return lambda x: tall * f(x), x, lambda x: (tall * g(x)).astype(np.float32), None
    wide = 10.0 ** rng.integers(-8, 9) if rng.random() < 0.5 else 1.0
    x = wide * rng.standard_normal(n)
    x[rng.random(n) < 0.1] = 0.0
    h = None if wide == 1 else 1e-4 * wide
    return lambda x: tall * f(x / wide), x, lambda x: tall / wide * g(x / wide), h
