"""Reads what a function returned, and names the point where something went wrong."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

import numpy as np

from fastgrad._arrays import beyond_int64
from fastgrad._formulas.points import Points
from fastgrad._structures import Parameters
from fastgrad._typing import Array

REAL, COMPLEX = "iuf", "c"
"""Kinds of dtype."""


class Reader:
    """Turns what f returns into a number, or into a flat array of always the same shape.

    `kinds` are the kinds of dtype that f may return, `REAL` or `COMPLEX`; `shape` is that of what f
    returns, None until the first value has been read.
    """

    def __init__(self, *, numbers: bool, kinds: str = REAL) -> None:
        self.numbers, self.kinds = numbers, kinds
        self.shape: tuple[int, ...] | None = () if numbers else None
        self._plain = numbers and kinds == REAL

    def read(self, returned: Any) -> Any:
        """Return f's value: a number, or a flat copy of an array."""
        if self._plain and isinstance(returned, float):
            return returned
        if self.numbers:
            return single(returned, self.kinds)
        array = numbers(returned, self.kinds)
        self.settle(array.shape)
        # A copy: f may return the same memory every time.
        return array.astype(np.result_type(array.dtype, float)).reshape(-1)

    def settle(self, shape: tuple[int, ...]) -> None:
        """Note the shape of what f returns, and hold f to it."""
        if self.shape is None:
            self.shape = shape
        elif shape != self.shape:
            raise TypeError(
                f"f must return arrays of one shape: it was {self.shape} before, and now {shape}"
            )

    def stack(self, values: list[Any]) -> Array:
        """Return values as one array, a row each; None stands for a value that is missing."""
        if self.numbers:
            return np.array([math.nan if value is None else value for value in values])
        width = math.prod(self.shape or ())
        missing = np.full(width, math.nan)
        rows = [missing if value is None else value for value in values]
        return np.array(rows).reshape(len(values), width)


def number(value: Any) -> float:
    """Return the number that f returned, also out of an array of one element."""
    return value if isinstance(value, float) else float(single(value, REAL))


def single(value: Any, kinds: str) -> Any:
    """Return the one number of these kinds that f returned.

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
    array = as_array(value)
    if array.dtype.kind in kinds:
        return array
    got = type(value).__name__ if array.dtype.kind == "O" else array.dtype
    if kinds == REAL:
        hint = "; let f return float(...) of it" if hasattr(value, "__float__") else ""
        raise TypeError(f"f must return {wanted.format('real')}, got {got}{hint}")
    raise TypeError(
        f"f must return {wanted.format('complex')} where stencil='complex', got {got}: it ignores "
        "its argument, or something in it (abs, float, .real, the functions of math, an array of "
        "real numbers) drops the imaginary part; let f compute with its argument, or pass another "
        "stencil"
    )


def as_array(value: Any) -> Array:
    """Return what f returned as an array; of objects where NumPy makes no other of it."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            "f must return plain numbers, got a masked array; return its .filled(np.nan), or what "
            "is not masked, .compressed()"
        )
    try:
        array = np.asarray(value)
        return array.astype(float) if beyond_int64(array) else array
    except (ValueError, OverflowError):  # lists of different lengths, say
        return np.array(None)


def precision(value: Any) -> float:
    """Return the relative precision of what f returned; 0 where that is whole numbers."""
    if type(value) is float:
        return sys.float_info.epsilon
    dtype = as_array(value).dtype  # also of arrays of other packages
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0


def place(parameters: Parameters, points: Points) -> str:
    """Return words for where one point lies, ``x[3] = 2.0 + 0.0001``, or the first and the last."""
    if points.count > 1:
        ends = (_place(parameters, points.only(k)) for k in (0, points.count - 1))
        return f"{points.count} points, from {' to '.join(ends)}"
    return _place(parameters, points)


def _place(parameters: Parameters, point: Points) -> str:
    words = []
    for i, value in zip(point.index[:2].tolist(), point.value[:2], strict=True):
        ((leaf, (k, *_), _),) = parameters.split(range(i, i + 1))
        original = parameters.leaves[leaf].flat[k].item()
        words.append(f"{parameters.name(i)} = {_moved(original, value.item())}")
    others = len(point.index) - 1
    if others > 1:
        return f"{words[0]}, moved together with {others} others"
    return " and ".join(words) or "x"


def _moved(original: float, value: Any) -> str:
    if isinstance(value, complex):
        return f"{original!r} + {value.imag:.3g}j"
    return f"{original!r} {'+' if value > original else '-'} {abs(value - original):.3g}"


def output_name(shape: tuple[int, ...] | None, output: int) -> str:
    """Return how the caller would write one of f's outputs."""
    where = ", ".join(str(k) for k in np.unravel_index(output, shape)) if shape else ""
    return f"f[{where}]" if where else "f"


def not_finite(value: complex, where: str, f: str = "f") -> FloatingPointError:
    """Return the error for a value that is not finite."""
    return FloatingPointError(
        f"{f} is {value} at {where}; choose another h, set bounds, or pass nonfinite='keep'"
    )


def explain(error: BaseException, where: str) -> None:
    """Say in the error where f raised it: in a note, and before Python 3.11 as its last cause."""
    text = f"f was evaluated at {where}"
    with contextlib.suppress(AttributeError):  # An error may be a frozen dataclass.
        if sys.version_info >= (3, 11):
            error.add_note(text)
            return
        error.__notes__ = [*getattr(error, "__notes__", []), text]
        while error.__cause__ is not None:
            error = error.__cause__
        error.__cause__ = RuntimeError(text)
