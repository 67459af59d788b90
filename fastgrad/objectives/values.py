"""What a function returned, checked; and what went wrong where, said."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fastgrad._typing import Array

REAL, COMPLEX = "iuf", "c"
"""Kinds of dtype."""


def number(value: Any) -> float:
    """Return the number that f returned, also out of an array of one element.

    Examples
    --------
    >>> number(np.array([2.5]))
    2.5
    """
    if isinstance(value, float):
        return value
    real: float = single(value, REAL)
    return real


def single(value: Any, kinds: str) -> Any:
    """Return the one number of these kinds that f returned.

    Examples
    --------
    >>> single(np.array([2.5j]), COMPLEX)
    2.5j
    """
    array = numbers(value, kinds, "a {} number")
    if array.size != 1:
        raise TypeError(
            f"f must return one number, got an array of shape {array.shape}; differentiate its "
            "sum or one element"
        )
    one = array.item()
    return float(one) if isinstance(one, int) else one


def numbers(value: Any, kinds: str = REAL, wanted: str = "an array of {} numbers") -> Array:
    """Return the array of these kinds that f returned."""
    array = returned(value)
    if array.dtype.kind in kinds:
        return array
    got = type(value).__name__ if array.dtype.kind == "O" else array.dtype
    if kinds == REAL:
        raise TypeError(f"f must return {wanted.format('real')}, got {got}")
    raise TypeError(
        f"f must return {wanted.format('complex')} where stencil='complex', got {got}: it ignores "
        "its argument, or something in it (abs, float, .real, the functions of math, an array of "
        "real numbers) drops the imaginary part; let f compute with its argument, or pass another "
        "stencil"
    )


def returned(value: Any) -> Array:
    """Return what f returned as an array; of objects where NumPy makes no other of it."""
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths, say
        return np.array(None)


def all_finite(values: Any) -> bool:
    """Tell whether every number is finite, three times sooner than ``.all()`` does for a few.

    Examples
    --------
    >>> all_finite(1.0), all_finite(np.array([1.0, np.inf]))
    (True, False)
    """
    return 0 not in np.isfinite(values).tobytes()


def not_finite(value: complex, where: str, f: str = "f") -> FloatingPointError:
    """Return the error for a value that is not finite."""
    return FloatingPointError(
        f"{f} is {value} at {where}; choose another h, set bounds, or pass nonfinite='keep'"
    )


def explain(error: Exception, where: str) -> None:
    """Say in the error where f raised it: in a note, or before Python 3.11 as its cause."""
    text = f"f was evaluated at {where}"
    if sys.version_info >= (3, 11):
        error.add_note(text)
    elif error.__cause__ is None:
        error.__cause__ = RuntimeError(text)
