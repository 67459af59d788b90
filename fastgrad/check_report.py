"""The report of a gradient check: what agrees, what does not, where, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgrad._typing import Array, Floats

HEADINGS = (
    "array", "shape", "mean |diff|", "max |diff|", "at",
    "max relative", "at", "cosine", "rtol", "atol", "",
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
    mean_absolute : float
        Mean of the absolute differences, the figure of *Deep Learning from Scratch*, section 5.7.
    largest_absolute, largest_relative : float
        The largest difference, absolute, and relative to the larger of the two entries. Entries
        below `atol`, of which rounding leaves no digits, have no relative difference.
    where_absolute, where_relative : str
        Where those are, ``x['W1'][3, 2]``.
    cosine : float
        Cosine of the angle between both, NaN where one of them is 0.
    rtol, atol : float
        The largest that were used for an entry.
    wrong : ndarray of bool
        Which entries differ by more than ``atol + rtol * max(|gradient|, |numerical|)``, and are
        not right all the same; see `fastgrad.check_gradient`.
    kind, diagnosis : str
        The fault, in two words and in a sentence. Where the array passed they are empty, or tell
        why differences beyond the tolerance are right.
    """

    name: str
    gradient: Floats
    numerical: Floats
    mean_absolute: float
    largest_absolute: float
    where_absolute: str
    largest_relative: float
    where_relative: str
    cosine: float
    rtol: float
    atol: float
    wrong: Array
    kind: str = ""
    diagnosis: str = ""

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
            self.name,
            str(self.gradient.shape),
            f"{self.mean_absolute:.2e}",
            f"{self.largest_absolute:.2e}",
            self.where_absolute.removeprefix(self.name),
            f"{self.largest_relative:.2e}",
            self.where_relative.removeprefix(self.name),
            f"{self.cosine:.9f}",
            f"{self.rtol:.1e}",
            f"{self.atol:.1e}",
            "pass" if self.passed else "FAIL",
        )

    @property
    def verdict(self) -> str:
        """Whether it passed, or how much of it is wrong, and why, in a few words."""
        counts = f"{self.failing} of {self.gradient.size} entries differ"
        return ", ".join(filter(None, ["passed" if self.passed else counts, self.kind]))

    def _words(self) -> str:
        return f"{self.name}: {self.verdict}: {self.diagnosis}"


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
        """Whether all arrays passed."""
        return all(array.passed for array in self.arrays.values())

    @property
    def diagnosis(self) -> str:
        """The faults in words, a line an array, and what they have in common."""
        lines = [array._words() for array in self.arrays.values() if array.kind]
        failed = [array for array in self.arrays.values() if not array.passed]
        if len(failed) == 1 and len(self.arrays) > 1:
            lines.append(f"only {failed[0].name} fails, what it shares with the others is right")
        return "\n".join(lines)

    def __str__(self) -> str:
        rows = [HEADINGS, *(array._row() for array in self.arrays.values())]
        # Names stand at the left, numbers at the right.
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = {0, 1, 4, 6, 10}
        table = [
            "  ".join(
                cell.ljust(width) if k in left else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        heading = f"{self.title}: {'passed' if self.passed else 'FAILED'}".lstrip(": ")
        return "\n".join([heading, *table, *filter(None, [self.diagnosis])])

    __repr__ = __str__


def figures(gradient: Floats, numerical: Floats, atol: Floats) -> dict[str, Any]:
    """Return the figures of two arrays of one shape; `where` as flat indices.

    Examples
    --------
    >>> found = figures(np.array([1.0, 2.0]), np.array([1.0, 2.5]), np.zeros(2))
    >>> found["mean_absolute"], found["where_absolute"], found["largest_relative"]
    (0.25, 1, 0.2)
    """
    if not gradient.size:
        return {
            "mean_absolute": 0.0, "largest_absolute": 0.0, "where_absolute": None,
            "largest_relative": 0.0, "where_relative": None, "cosine": np.nan,
        }  # fmt: skip
    difference = np.abs(gradient - numerical).reshape(-1)
    size = np.maximum(np.abs(gradient), np.abs(numerical)).reshape(-1)
    counts = size > atol.reshape(-1)
    relative = np.divide(difference, size, out=np.zeros(len(size)), where=counts)
    absolute_at, relative_at = _largest(difference), _largest(relative)
    return {
        "mean_absolute": float(difference.mean()),
        "largest_absolute": float(difference[absolute_at]),
        "where_absolute": absolute_at,
        "largest_relative": float(relative[relative_at]),
        "where_relative": relative_at,
        "cosine": _cosine(gradient, numerical),
    }


def _largest(values: Array) -> int:
    """Return where the largest value stands, NaN before all others."""
    return int(np.argmax(values))


def _cosine(first: Floats, second: Floats) -> float:
    """Return the cosine between two arrays, each scaled first: their squares may overflow."""
    scales = [float(np.abs(array).max()) for array in (first, second)]
    if not all(0 < scale < np.inf for scale in scales):
        return float("nan")
    first, second = first / scales[0], second / scales[1]
    cosine = np.vdot(first, second) / np.sqrt(np.vdot(first, first) * np.vdot(second, second))
    return float(np.clip(cosine, -1, 1))
