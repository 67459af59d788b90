"""What a function returned, checked; and what went wrong where, said."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fastgrad._typing import Array


def number(value: Any) -> float:
    """Return the number that f returned, also out of an array of one element.

    Examples
    --------
    >>> number(np.array([2.5]))
    2.5
    """
    if isinstance(value, float):
        return value
    array = returned(value)
    if array.dtype.kind not in "iuf":
        got = type(value).__name__ if array.dtype.kind == "O" else array.dtype
        raise TypeError(f"f must return a real number, got {got}")
    if array.size != 1:
        raise TypeError(
            f"f must return one number, got an array of shape {array.shape}; differentiate its "
            "sum or one element"
        )
    single: float = array.item()
    return float(single) if array.dtype.kind != "f" else single


def returned(value: Any) -> Array:
    """Return what f returned as an array; of objects where NumPy makes no other of it."""
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths, say
        return np.array(None)


def not_finite(value: float, where: str) -> FloatingPointError:
    """Return the error for a value that is not finite."""
    return FloatingPointError(
        f"f is {value} at {where}; choose another h, set bounds, or pass nonfinite='keep'"
    )


def explain(error: Exception, where: str) -> None:
    """Say in the error where f raised it: in a note, or before Python 3.11 as its cause."""
    text = f"f was evaluated at {where}"
    if sys.version_info >= (3, 11):
        error.add_note(text)
    elif error.__cause__ is None:
        error.__cause__ = RuntimeError(text)
