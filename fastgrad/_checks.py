"""Checks of single arguments: a message names the argument, what came and what is allowed."""

from __future__ import annotations

import math
import reprlib
import sys
from numbers import Real
from typing import Any

import numpy as np


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number from {least}, got {reprlib.repr(value)}")
    return int(value)


def counts(**values: Any) -> list[int]:
    """Return whole numbers from 1."""
    return [count(name, value) for name, value in values.items()]


def each(name: str, values: Any) -> dict[str, Any]:
    """Return the items of a list of numbers by how the caller would write them."""
    try:
        return {f"{name}[{k}]": value for k, value in enumerate(values)}
    except TypeError:
        raise TypeError(f"{name} must be a list of numbers, got {reprlib.repr(values)}") from None


def positive(name: str, value: Any, *, zero: bool = False) -> float:
    """Return a finite number above 0, or from 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    found = float(value) if number and abs(value) <= sys.float_info.max else math.nan
    if found > 0 or (zero and found == 0):
        return found
    words = f"{name} must be a finite number {'from' if zero else 'above'} 0"
    raise (ValueError if number else TypeError)(f"{words}, got {reprlib.repr(value)}")


def check_kind(name: str, value: Any, kind: Any, advice: str, *, needed: bool = False) -> None:
    """Refuse an argument of another class, and None where it is `needed`."""
    if not isinstance(value, kind) and (needed or value is not None):
        wanted = kind.__name__ if needed else f"{kind.__name__} or None"
        raise TypeError(f"{name} must be a {wanted}, got {reprlib.repr(value)}: pass {advice}")


def check_flags(**flags: Any) -> None:
    """Refuse what is neither True nor False, though Python takes it for one of them."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {reprlib.repr(value)}")


def generator(rng: Any) -> Any:
    """Return what draws random numbers: NumPy's global generator without `rng`."""
    check_kind("rng", rng, np.random.Generator, "numpy.random.default_rng(seed)")
    return rng or np.random
