"""What is wrong with a gradient: the mistakes that turn a right array into this one, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats

FEW = 3
"""So many wrong entries, out of at least twice as many, are named one by one."""


class Finding(NamedTuple):
    """A fault: its kind, and a sentence about it."""

    kind: str
    text: str


class Known(NamedTuple):
    """A difference that is known to be there: a bound for each entry, in the structure of x."""

    bound: Any
    finding: Finding


class Case(NamedTuple):
    """One array that failed: gradient, numerical gradient, x, and what may differ; same shapes."""

    gradient: Floats
    numerical: Floats
    x: Floats
    allowed: Floats

    @property
    def wrong(self) -> Array:
        """Tell which entries differ by more than is allowed."""
        wrong: Array = ~(np.abs(self.gradient - self.numerical) <= self.allowed)
        return wrong

    def explained_by(self, numerical: Floats, scale: float = 1.0) -> bool:
        """Tell whether the gradient is `numerical` changed by a mistake.

        `scale` is what the mistake multiplies the errors of the numerical gradient by.
        """
        allowed = max(1.0, abs(scale)) * self.allowed
        return bool((np.abs(self.gradient - numerical) <= allowed).all())


def diagnose(case: Case) -> Finding:
    """Return the first mistake, from the simplest, that explains the array.

    Examples
    --------
    >>> right = np.array([1.0, 2.0, 4.0])
    >>> diagnose(Case(-right, right, np.zeros(3), np.full(3, 1e-9)))
    Finding(kind='wrong sign', text='the gradient is the right one times -1')
    """
    for mistake in MISTAKES if case.wrong.any() else ():
        finding = mistake(case)
        if finding is not None:
            return finding
    return Finding(
        "wrong derivative",
        "no simple mistake explains it, nor does a finer step",
    )


def _not_finite(case: Case) -> Finding | None:
    finite = np.isfinite(case.gradient)
    if finite.all():
        return None
    where = _index(np.argwhere(~finite)[0])
    return Finding("not finite", f"the gradient is not finite, first at {where}")


def _zero(case: Case) -> Finding | None:
    if case.gradient.any():
        return None
    return Finding("zero gradient", "the gradient is 0 everywhere: it was never computed or added")


def _factor(case: Case) -> Finding | None:
    """Fit one factor to all entries; an array of one entry would always have one."""
    n = case.numerical
    telling = np.abs(n) > 2 * case.allowed
    factor = float(np.vdot(n, case.gradient) / np.vdot(n, n)) if telling.any() else 0.0
    if factor == 0 or not case.explained_by(factor * n, factor):
        return None
    rest = 4 * np.abs(case.allowed[telling] / n[telling]).min()
    if abs(factor + 1) <= rest:
        return Finding("wrong sign", "the gradient is the right one times -1")
    whole = _whole(factor, float(rest))
    # Entries that are wrong for that factor alone; one would not tell it from a fault of its own.
    if (np.abs((factor - 1) * n) > 2 * case.allowed).sum() < 2 and not whole:
        return None
    words = f"the gradient is the right one times {whole or f'{factor:.6g}'}"
    if whole:
        words += ": a forgotten mean or sum, as over the batch"
    return Finding("constant factor", words)


def _whole(factor: float, error: float) -> str:
    """Return the factor as a whole number or one over it, if it is that."""
    sign = "-" if factor < 0 else ""
    for large, words in ((abs(factor), "{}"), (1 / abs(factor), "1/{}")):
        count = round(large)
        if count >= 2 and abs(large - count) <= error * count < 0.2:
            return sign + words.format(count)
    return ""


def _order(case: Case) -> Finding | None:
    """Look for the right entries in the wrong places."""
    given, right = np.sort(case.gradient, axis=None), np.sort(case.numerical, axis=None)
    # An entry out of its place brings along what it may differ by: the largest is allowed.
    if case.gradient.size < 2 or not (np.abs(given - right) <= case.allowed.max()).all():
        return None
    for kind, text, moved in _orders(case.numerical):
        if (np.abs(case.gradient - moved) <= case.allowed.max()).all():
            return Finding(kind, text)
    places = np.argwhere(case.wrong)
    if len(places) == 2:
        first, second = map(_index, places)
        return Finding("swapped entries", f"the entries {first} and {second} have changed places")
    return Finding(
        "permuted entries", f"{len(places)} of the right entries stand in the wrong places"
    )


def _orders(right: Floats) -> Iterator[tuple[str, str, Floats]]:
    if right.ndim > 1:
        backwards = right.shape[::-1]
        yield "transposed", "the gradient is transposed", right.T.reshape(right.shape)
        yield (
            "transposed",
            "the gradient is transposed: its memory was read in the wrong order",
            right.reshape(backwards).T,
        )
    for axis, length in enumerate(right.shape):
        yield "reversed entries", f"axis {axis} is reversed", np.flip(right, axis)
        for shift in dict.fromkeys((1, -1)):
            if length > 2:
                yield (
                    "shifted entries",
                    f"the entries are shifted by {shift:+d} along axis {axis}",
                    np.roll(right, shift, axis),
                )


def _missing_term(case: Case) -> Finding | None:
    """Look for a term that is a multiple of x, or of 1."""
    missing = case.numerical - case.gradient
    terms = (
        (case.x, "{:.6g} * x is missing, as of a penalty on the size of x"),
        (np.ones_like(missing), "{:.6g} is missing in every entry"),
    )
    for term, words in terms:
        if missing.size < 3 or not term.any():
            continue
        factor = float(np.vdot(term, missing) / np.vdot(term, term))
        telling = np.abs(factor * term) > 2 * case.allowed
        if telling.sum() >= 3 and case.explained_by(case.numerical - factor * term):
            return Finding("missing term", "a term " + words.format(factor))
    return None


def _part(case: Case) -> Finding | None:
    """Say it where only a few entries are wrong, or one row or column."""
    places = np.argwhere(case.wrong)
    if len(places) <= FEW and 2 * len(places) <= case.wrong.size:
        kind = "single entry" if len(places) == 1 else "few entries"
        names = chain(map(_index, places))
        return Finding(kind, f"only {', '.join(names)} of {case.wrong.size} entries differ")
    for axis, length in enumerate(case.wrong.shape):
        first = places[0, axis]
        if case.wrong.ndim > 1 and length > 1 and (places[:, axis] == first).all():
            where = _index([":"] * axis + [first] + [":"] * (case.wrong.ndim - axis - 1))
            return Finding("one slice", f"only entries in {where} differ")
    return None


def _index(place: object) -> str:
    return f"[{', '.join(map(str, np.asarray(place).tolist()))}]"


MISTAKES: tuple[Callable[[Case], Finding | None], ...] = (
    _not_finite,
    _zero,
    _factor,
    _order,
    _missing_term,
    _part,
)
