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
    single: float = _single(value, "iuf", "f must return a real number, got {}")
    return float(single) if isinstance(single, int) else single


def complex_number(value: Any) -> complex:
    """Return the complex number that f returned, also out of an array of one element.

    Examples
    --------
    >>> complex_number(np.array([2.5j]))
    2.5j
    """
    if isinstance(value, complex):
        return value
    single: complex = _single(
        value,
        "c",
        "f must return a complex number where stencil='complex', got {}: it ignores its argument, "
        "or something in it (abs, float, .real, the functions of math, an array of real numbers) "
        "drops the imaginary part; let f compute with its argument, or pass another stencil",
    )
    return single


def _single(value: Any, kinds: str, refusal: str) -> Any:
    """Return the one number, of these kinds of dtype, that a value holds."""
    array = returned(value)
    if array.dtype.kind not in kinds:
        raise TypeError(
            refusal.format(type(value).__name__ if array.dtype.kind == "O" else array.dtype)
        )
    if array.size != 1:
        raise TypeError(
            f"f must return one number, got an array of shape {array.shape}; differentiate its "
            "sum or one element"
        )
    return array.item()


def returned(value: Any) -> Array:
    """Return what f returned as an array; of objects where NumPy makes no other of it."""
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths, say
        return np.array(None)


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
