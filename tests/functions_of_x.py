"""Functions that the tests differentiate. A module, so that some are pickled by their name."""

import numpy as np

W = np.array([1.0, 2.0, 3.0])


def sees_only_the_global(_):
    """A book-style closure over this module's W, which a worker has a copy of its own of."""
    return float(np.sum(W**3))


def never(x):
    raise AssertionError("f was called")


def rosenbrock(x):
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def slow_sum_of_squares(x):
    """Hold the GIL for about a millisecond."""
    total = 0.0
    for _ in range(20):
        total = sum(value * value for value in x.ravel().tolist()[:400])
    return total + float(np.sum(x[..., :1] ** 3))
