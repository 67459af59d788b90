"""Slow functions, and a log of their evaluations that all processes share.

A module, so that workers can import the functions that are pickled by their name.
"""

import os
import time

import numpy as np

import fastgrad

W = np.arange(1.0, 9.0)


def slow(function, seconds=0.02, log=None):
    """Return `function`, slowed down; each evaluation that ends adds a line to the log."""

    def f(x, *args):
        time.sleep(seconds)
        value = function(x, *args)
        if log is not None:
            note(log, os.getpid())
        return value

    return f


def note(log, word):
    """Add a line to a file, whole, in whichever process this is."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{word}\n".encode())
    finally:
        os.close(file)


def lines(log):
    return log.read_text().split() if log.exists() else []


def slow_sum_of_the_global(_):
    """Read this module's W, of which a worker has a copy of its own."""
    time.sleep(0.05)
    return float(np.sum(W**3))


def remembered(x, log, broken):
    """Note the point once its value is known, and fail at some while the file `broken` exists."""
    time.sleep(0.02)
    if os.path.exists(broken) and x[5] != 6:
        raise LookupError("the machine went down")
    note(log, x.tobytes().hex())
    return float(np.sum(x**3))


def start_processes():
    """Make a call so long that it pays to start the worker processes, which then stay."""
    f = slow(lambda x: float(x.sum()), 0.25)
    fastgrad.numerical_gradient(f, np.ones(8), workers=2, backend="processes")
