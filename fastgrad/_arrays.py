"""Makes arrays of what the caller gave, or says what is wrong with it."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastgrad._labels import is_labelled
from fastgrad._typing import Array


def as_numbers(x: Any, name: str) -> Array:
    """Return a new array of `x`; what no array can be made of is refused under that name."""
    try:
        array = np.array(x)
        return array.astype(float) if beyond_int64(array) else array
    except (TypeError, ValueError, OverflowError) as error:
        ragged = "inhomogeneous" in str(error)
        reason = "its rows differ in length" if ragged else error
        raise ValueError(
            f"{name} must be an array of numbers, got {reprlib.repr(x)}: {reason}"
        ) from error


def shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array, by name."""
    return {name: np.shape(array) for name, array in arrays.items()}


def beyond_int64(array: Array) -> bool:
    """Tell whether NumPy has made objects of numbers since whole ones among them are so large."""
    if array.dtype.kind != "O":
        return False
    return bool(array.size) and all(isinstance(item, int | float) for item in array.flat)


def check_real(array: Array, name: str) -> None:
    """Refuse an array of anything but real numbers."""
    if array.dtype.kind not in "iuf":
        got = f"dtype {array.dtype}" if array.ndim else reprlib.repr(array.item())
        raise TypeError(f"{name} must hold real numbers, got {got}")


def real_array(x: Any, name: str) -> Array:
    """Return `x` as an array: the caller's own where it is one."""
    shared = isinstance(x, np.ndarray) or is_labelled(x)
    array = np.asanyarray(x) if shared else as_numbers(x, name)
    kind = array.dtype.kind
    if isinstance(array, np.ma.MaskedArray | np.matrix):
        plain = f"{name}.filled(value)" if hasattr(array, "filled") else f"np.asarray({name})"
        raise TypeError(f"{name} must be a plain array, got {type(array).__name__}; pass {plain}")
    if kind == "c":
        raise TypeError(
            f"{name} must be real, got {array.dtype}; differentiate by the real and the imaginary "
            "part, passed as two arrays"
        )
    if kind in "iub" or isinstance(x, numbers.Integral):
        got = array.dtype if kind in "iub" else type(x).__name__
        raise TypeError(
            f"{name} must be floating point, got {got}: a step would be lost; pass "
            f"{_advice(x, name)}"
        )
    if kind != "f":
        got = f"dtype {array.dtype}" if shared else reprlib.repr(x)
        raise TypeError(f"{name} must hold real numbers, got {got}; pass {_advice(x, name)}")
    return array


def _advice(x: Any, name: str) -> str:
    """Return what to pass instead of an `x` that holds no floating point numbers."""
    if hasattr(x, "toarray"):
        return f"{name}.toarray()"
    if getattr(x, "dtype", None) == np.dtype(object):  # Of None astype makes NaN, or an error.
        return "an array of floats, without None"
    if hasattr(x, "astype"):
        return f"{name}.astype(float)"
    if hasattr(x, "__float__"):
        return f"float({name})"
    if isinstance(x, list | tuple):
        return f"np.array({name}, float)"
    if hasattr(x, "__iter__") and not isinstance(x, str | bytes):
        return f"np.array(list({name}), float)"
    return "a float or an array of floats"
