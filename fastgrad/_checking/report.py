"""The report of a gradient check: what agrees, what does not, where, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastgrad._typing import Array, Floats

HEADINGS = (
    "array", "shape", "mean |diff|", "max |diff|", "at", "max relative", "at",
    "digits", "rtol", "atol", "",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ArrayCheck:
    """What the check found out about one array.

    Attributes
    ----------
    name : str
        How the caller would write the array, ``x['W1']``.
    gradient, numerical : ndarray of float
        What is compared, in the shape of the array.
    mean_absolute, largest_absolute, largest_relative : float
        Of the differences; relative to the larger of the two entries, where that is above `atol`.
    where_absolute, where_relative : str
        Where the largest are, ``x['W1'][3, 2]``.
    digits, cosine : float
        To how many decimal digits the arrays agree, as vectors, and the cosine of their angle.
    rtol, atol : float
        The largest that were used for an entry.
    wrong : ndarray of bool
        Which entries differ by more than passes; see `fastgrad.check_gradient`.
    kind, diagnosis : str
        The fault, in two words and in a sentence, or why differences are right; or empty.
    """

    name: str
    gradient: Floats
    numerical: Floats
    mean_absolute: float
    largest_absolute: float
    where_absolute: str
    largest_relative: float
    where_relative: str
    digits: float
    cosine: float
    rtol: float
    atol: float
    wrong: Array
    kind: str
    diagnosis: str

    @property
    def failing(self) -> int:
        """How many entries are wrong."""
        return int(np.count_nonzero(self.wrong))

    @property
    def passed(self) -> bool:
        """Whether the gradient of this array is right."""
        return not self.failing

    def __repr__(self) -> str:
        return str(CheckReport({self.name: self}, ""))

    def _row(self) -> tuple[str, ...]:
        return (
            self.name, str(self.gradient.shape), f"{self.mean_absolute:.2e}",
            f"{self.largest_absolute:.2e}", self.where_absolute.removeprefix(self.name),
            f"{self.largest_relative:.2e}", self.where_relative.removeprefix(self.name),
            "all" if self.digits == math.inf else f"{self.digits:.1f}",
            f"{self.rtol:.1e}", f"{self.atol:.1e}", "pass" if self.passed else "FAIL",
        )  # fmt: skip

    @property
    def verdict(self) -> str:
        """Whether it passed, or how much of it is wrong, and why, in a few words."""
        differ = "differs" if self.failing == 1 else "differ"
        counts = f"{self.failing} of {self.gradient.size} entries {differ}"
        return ", ".join(filter(None, ["passed" if self.passed else counts, self.kind]))


@dataclass(frozen=True, repr=False)
class CheckReport:
    """What `fastgrad.check_gradient` found. It prints as a table.

    Attributes
    ----------
    arrays : dict of ArrayCheck
        By the name of the array, ``x['W1']``, in the order of x.
    title : str
        What was compared.
    """

    arrays: dict[str, ArrayCheck]
    title: str

    @property
    def passed(self) -> bool:
        """Whether the gradient is right in every entry of every array."""
        return all(array.passed for array in self.arrays.values())

    @property
    def diagnosis(self) -> str:
        """What was found, a line for arrays of which the same is to be told; "" for none."""
        told: dict[str, list[str]] = {}
        for array in self.arrays.values():
            if array.kind:
                told.setdefault(f"{array.verdict}. {array.diagnosis}", []).append(array.name)
        return "\n".join(f"{', '.join(names)}: {text}" for text, names in told.items())

    def __str__(self) -> str:
        rows = [HEADINGS, *(array._row() for array in self.arrays.values())]
        columns = []
        for k, column in enumerate(zip(*rows, strict=True)):
            width, left = max(map(len, column)), k in (0, 1, 4, 6, 10)  # names, not numbers
            columns.append([c.ljust(width) if left else c.rjust(width) for c in column])
        table = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
        heading = f"{self.title}: {'passed' if self.passed else 'FAILED'}".lstrip(": ")
        return "\n".join([heading, *table, *filter(None, [self.diagnosis])])

    __repr__ = __str__


def array_check(name: str, parts: list[Array], rtol: float, finding: tuple[str, str]) -> ArrayCheck:
    """Return the figures; `parts` are both gradients, what is wrong, absolute tolerances."""
    gradient, numerical, wrong, atol = parts
    difference = np.abs(gradient - numerical)
    size = np.maximum(np.abs(gradient), np.abs(numerical))
    relative = np.divide(difference, size, out=np.zeros(size.shape), where=size > atol)
    lengths, cosine = (_length(gradient), _length(numerical)), math.nan
    if min(lengths) > 0 and max(lengths) < math.inf:
        cosine = float(np.clip(np.vdot(gradient / lengths[0], numerical / lengths[1]), -1, 1))
    return ArrayCheck(
        name, gradient, numerical, float(difference.mean()) if difference.size else 0.0,
        *_largest(name, difference), *_largest(name, relative), digits(gradient, numerical),
        cosine, rtol, float(atol.max(initial=0)), wrong, *finding,
    )  # fmt: skip


def _largest(name: str, values: Floats) -> tuple[float, str]:
    """Return the largest value, and where it is; NaN before all others."""
    if not values.size:
        return 0.0, ""
    place = np.unravel_index(int(np.argmax(values)), values.shape)
    index = ", ".join(map(str, place))
    return float(values[place]), f"{name}[{index}]" if index else name


def digits(gradient: Floats, numerical: Floats) -> float:
    """Return to how many decimal digits two arrays agree, measured by their lengths.

    >>> digits(np.array([3.0, 4.0]), np.array([3.0, 4.005])).__round__(3)
    3.0
    """
    apart = _length(gradient - numerical)
    if not apart > 0:
        return math.nan if math.isnan(apart) else math.inf
    return max(0.0, -math.log10(apart / max(_length(gradient), _length(numerical))))


def _length(array: Floats) -> float:
    """Return the Euclidean length; squares that would overflow are scaled first."""
    scale = float(np.abs(array).max(initial=0))
    return scale * float(np.linalg.norm(array / scale)) if 0 < scale < math.inf else scale
