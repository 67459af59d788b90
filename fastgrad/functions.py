"""The functions of the book's chapters 3 and 4, on NumPy arrays.

The names and the contract are those of *Deep Learning from Scratch* (K. Saito, O'Reilly Japan,
2016), chapters 3 and 4: a batch has one sample a row, and labels are one-hot or class numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastgrad._arrays import as_numbers
from fastgrad._typing import Array, Integers

TINY = 1e-7
"""What the book adds to a probability before its logarithm."""


def sigmoid(x: ArrayLike) -> Array:
    """Return ``1 / (1 + exp(-x))``, element by element.

    For an array of any shape. No overflow for any finite `x`.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    # Far below zero exp(-x) is inf, and 1 / inf is the right answer: no reason to warn.
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-np.asarray(x))))


def softmax(x: ArrayLike) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over the last axis: probabilities, which sum to 1.

    `x` are scores of C classes, shape (C,) for one sample or (N, C) for N.

    Examples
    --------
    >>> softmax([[0.0, 0.0], [1000.0, 0.0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    x = np.asarray(x)
    # Moving all scores of a row by the same amount changes nothing, and keeps exp from overflowing.
    raised = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return np.asarray(raised / np.sum(raised, axis=-1, keepdims=True))


def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float:
    """Return the mean of ``-log(y[n, t[n]] + 1e-7)`` over the batch; about 16.1 at most.

    `y` are probabilities of C classes, as `softmax` returns them, shape (C,) or (N, C). `t` are
    labels, one-hot or class numbers; `class_numbers` raises where they do not fit.

    Examples
    --------
    >>> y = np.array([[0.1, 0.9], [0.8, 0.2]])
    >>> float(round(cross_entropy_error(y, [1, 0]), 6))
    0.164252
    >>> cross_entropy_error(y, [[0, 1], [1, 0]]) == cross_entropy_error(y, [1, 0])
    True
    """
    y = np.atleast_2d(np.asarray(y))
    return mean_log_loss(y, class_numbers(t, *y.shape))


def mean_log_loss(y: Array, t: Integers) -> float:
    """`cross_entropy_error` for labels that `class_numbers` has already checked."""
    return float(-np.sum(np.log(y[np.arange(len(t)), t] + TINY)) / len(t))


def class_numbers(t: ArrayLike, samples: int, classes: int) -> Integers:
    """Check labels and return them as class numbers, int64 from 0 to ``classes - 1``.

    Parameters
    ----------
    t : array_like
        One-hot labels, shape ``(samples, classes)``, or class numbers, shape ``(samples,)``.
        For one sample also ``(classes,)`` and a single number.
    samples, classes : int
        What the labels have to fit.

    Raises
    ------
    TypeError, ValueError
        If there are no samples, if the shape does not fit, a class number is no integer or out of
        range, or a row is not one-hot.

    Examples
    --------
    >>> class_numbers([[0, 0, 1], [1, 0, 0]], 2, 3)
    array([2, 0])
    """
    t = t if isinstance(t, np.ndarray) else as_numbers(t, "t")
    if samples == 0:
        raise ValueError("x must hold at least one sample, got an empty batch")
    if samples == 1 and (t.ndim == 0 or (t.ndim == 1 and t.size == classes > 1)):
        t = t[np.newaxis]
    if t.shape == (samples, classes):
        return _from_one_hot(t)
    if t.shape == (samples,):
        return _checked_numbers(t, classes)
    hint = "; pass t.ravel()" if t.size == samples else ""
    raise ValueError(
        f"t must hold class numbers of shape ({samples},) or one-hot labels of shape "
        f"({samples}, {classes}), got shape {t.shape}{hint}"
    )


def _from_one_hot(t: Array) -> Integers:
    marked = t == 1
    wrong = (marked.sum(axis=1) != 1) | (np.count_nonzero(t, axis=1) != 1)
    if wrong.any():
        row = np.argmax(wrong)
        raise ValueError(
            f"t must be one-hot, a single 1 among zeros in each row, got {t[row].tolist()} "
            f"in row {row}; for class numbers pass a vector"
        )
    return np.asarray(np.argmax(marked, axis=1), np.int64)


def _checked_numbers(t: Array, classes: int) -> Integers:
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"t must hold integer class numbers, got dtype {t.dtype}; pass t.astype(int) if they "
            "are whole"
        )
    outside = (t < 0) | (t >= classes)
    if outside.any():
        wrong = int(np.argmax(outside))
        raise ValueError(
            f"t must hold class numbers from 0 to {classes - 1}, got {t[wrong]} for sample {wrong}"
        )
    return np.asarray(t, np.int64)
