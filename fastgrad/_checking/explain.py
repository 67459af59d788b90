"""Why a gradient is wrong: a mistake is named only if undoing it makes the entries agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastgrad._checking.judge import KINKS, THIN, Side
from fastgrad._checking.report import digits
from fastgrad._typing import Array, Floats

FEW, MOST, LEFT = 3, 100, 0.05
"""So many wrong entries are named one by one; so many may have changed places, as of more some fit
by chance; and so much of the differences may be left when a mistake is undone."""

Finding = tuple[str, str]
"""A fault: its kind, and a sentence about it."""


class Case(NamedTuple):
    """One array that failed, all of its shape: both gradients, what rounding makes of 0, x."""

    gradient: Floats
    numerical: Floats
    rounding: Floats
    wrong: Array
    x: Floats
    rtol: float

    def undone(self, gradient: Floats, *, rest: float = THIN) -> bool:
        """Tell whether the gradient is right with a mistake undone.

        Every entry has to agree, but for `rest` of the largest, as entries may cancel; and next to
        nothing may be left of the differences.
        """
        size = np.maximum(np.abs(gradient), np.abs(self.numerical))
        after = np.abs(gradient - self.numerical)
        before = np.abs(self.gradient - self.numerical)[self.wrong]
        allowed = self.rounding + 2 * self.rtol * size + rest * size.max()
        left = float(np.linalg.norm(after[self.wrong])) <= LEFT * float(np.linalg.norm(before))
        return left and bool((after <= allowed).all())


def explain(side: Side) -> Finding:
    """Say what is behind the differences of one array."""
    problem = side.problem
    if side.wrong.any():
        return _unfit(side) or _mistake(side)
    if side.thin:
        hint = "A constant in f that the gradient leaves out would do so, as 1e-7 in log(p + 1e-7)"
        return "small differences", f"spread in proportion, {_small(side)}. {hint}"
    if side.steps:
        return _step(side)
    hidden, largest = (float(part.max(initial=0.0)) for part in (side.rounding, side.size))
    if problem.rtol is None and problem.atol is None and 0 < largest <= hidden:
        text = f"no entry is above {hidden:.1e}, which the rounding of f(x) = "
        text += f"{problem.value:.3g} makes of 0: the check sees nothing here"
        return "below rounding", text
    return "", ""


def _unfit(side: Side) -> Finding | None:
    """Say it where f, not the gradient, keeps the check from telling."""
    if side.problem.atol is not None or not np.isfinite(side.gradient).all():
        return None
    if side.problem.random:
        low, high = side.problem.random
        text = f"f is random: at the same x it returned {low:.9g} and {high:.9g}"
        return "random", f"{text}. Fix the seed within f, or switch dropout off"
    if side.kinks and set(side.kinks) == set(side.worst[:KINKS].tolist()):
        i, (below, above) = next(iter(side.kinks.items()))
        text = f"f has a kink at x: along {side.place(i)} its slope is {below:.6g} below "
        text += f"and {above:.6g} above, and the gradient says {side.gradient[i]:.6g}"
        return "kink", f"{text}. No derivative exists there; check it at another x"
    return None


def _step(side: Side) -> Finding:
    """Say by what the numerical gradient was off, where that alone made the difference."""
    gaps = np.abs(side.gradient - side.numerical)
    i = max(side.steps, key=lambda i: float(gaps[i]))
    found, h = side.steps[i], side.h[i]
    after = abs(side.gradient[i] - found.value)
    text = f"the difference is {gaps[i]:.1e} with h = {h:.2g} and {after:.1e} with h = "
    text += f"{h * found.step:.2g}"
    if found.step > 1 or after > gaps[i] / 2:
        return "rounding noise", f"{text}: noise of {side.sigma:.1e} in f hides the rest"
    return "truncation", f"{text}: h is too large for f, the gradient is right"


def _small(side: Side) -> str:
    stay = " and stay with smaller steps" if side.steps else ""
    agreed = digits(side.gradient, side.limit)
    return f"the differences are small beside the gradient{stay}; {agreed:.1f} digits agree"


def _mistake(side: Side) -> Finding:
    """Return the first mistake, from the simplest, that explains the array."""
    numerical, wrong, kinks = side.limit.copy(), side.wrong.copy(), list(side.kinks)
    numerical[kinks], wrong[kinks] = side.gradient[kinks], False
    leaf = side.problem.parameters.leaves[side.leaf]
    flat = side.gradient, numerical, side.rounding, wrong
    shaped: list[Any] = [part.reshape(leaf.shape) for part in flat]
    unfit = np.argwhere(~np.isfinite(shaped[0]))
    if len(unfit):
        return "not finite", f"the gradient is not finite, first at {_index(unfit[0])}"
    if not side.gradient.any():
        return "zero gradient", "the gradient is 0 everywhere: was it computed, and added up?"
    case = Case._make([*shaped, leaf.astype(float), side.default])
    for mistake in (_factor, _order, _missing_term, _part):
        finding = mistake(case)
        if finding is not None:
            others = f"; {len(kinks)} others lie at kinks of f" if kinks else ""
            return finding[0], finding[1] + others
    agreed = digits(side.gradient, numerical)
    if agreed > 2:
        return "small differences", _small(side)
    return "wrong derivative", f"no simple mistake explains it; {agreed:.1f} digits agree"


def _factor(case: Case) -> Finding | None:
    """Fit one factor to all entries; of one entry, only a whole number is one."""
    g, n = case.gradient, case.numerical
    telling = np.abs(n) > 10 * case.rounding
    if not telling.any():
        return None
    unit = n / np.abs(n).max()  # Squares would overflow.
    factor = float(np.vdot(unit, g / np.abs(n).max()) / np.vdot(unit, unit))
    rest = 1e-4 + 4 * float((case.rounding[telling] / np.abs(n[telling])).min())
    if not 1e-300 < abs(factor) < 1e300 or rest > 0.1:
        return None
    text = "the gradient is the right one times "
    for large, over in ((factor, ""), (1 / factor, "1/")):
        whole = round(large)
        near = whole not in (0, 1) and abs(large - whole) <= rest * abs(whole) < 0.2
        if near and case.undone(g * whole if over else g / whole):
            if whole == -1:
                return "wrong sign", f"{text}-1"
            words = f"{'-' if whole < 0 else ''}{over}{abs(whole)}"
            return "constant factor", f"{text}{words}: a forgotten mean or sum, as over the batch?"
    if (case.wrong & telling).sum() < 2 or not case.undone(g / factor):
        return None
    return "constant factor", f"{text}{factor:.6g}"


def _order(case: Case) -> Finding | None:
    """Put the entries back in other orders."""
    for kind, text, moved in _orders(case.gradient):
        if case.undone(moved):
            return kind, text
    places = np.argwhere(case.wrong)
    if not 2 <= len(places) <= MOST:
        return None
    back, order = case.gradient.copy(), np.argsort(np.argsort(case.numerical[case.wrong]))
    back[case.wrong] = np.sort(case.gradient[case.wrong])[order]
    if not case.undone(back, rest=0.0):
        return None
    if len(places) == 2:
        first, second = map(_index, places)
        return "swapped entries", f"the entries {first} and {second} have changed places"
    return "permuted entries", f"{len(places)} of the right entries stand in the wrong places"


def _orders(given: Floats) -> Iterator[tuple[str, str, Floats]]:
    """Yield kinds of disorder, and the gradient with each undone."""
    if given.ndim > 1:
        yield "transposed", "the gradient is transposed", given.reshape(given.shape[::-1]).T
        yield "transposed", "the gradient is transposed in memory", given.T.reshape(given.shape)
    for axis, length in enumerate(given.shape):
        yield "reversed entries", f"axis {axis} is reversed", np.flip(given, axis)
        for shift in (1, -1) if length > 2 else ():
            text = f"the entries are shifted by {shift:+d} along axis {axis}"
            yield "shifted entries", text, np.roll(given, -shift, axis)


def _missing_term(case: Case) -> Finding | None:
    """Look for a term that is a multiple of x, or of 1."""
    missing = case.numerical - case.gradient
    penalty = "{:.6g} * x is missing, as of a penalty on the size of x"
    constant = np.ones_like(missing), "{:.6g} is missing in every entry"
    for term, words in ((case.x, penalty), constant):
        if missing.size < 3 or not term.any():
            continue
        factor = float(np.vdot(term, missing) / np.vdot(term, term))
        telling = np.abs(factor * term) > 2 * case.rounding
        if telling.sum() >= 3 and case.undone(case.gradient + factor * term):
            return "missing term", "a term " + words.format(factor)
    return None


def _part(case: Case) -> Finding | None:
    """Say it where only a few entries are wrong, or one row or column."""
    places, shape = np.argwhere(case.wrong), case.wrong.shape
    few = len(places) <= FEW and 2 * len(places) <= case.wrong.size
    for axis, length in enumerate(shape):
        first = int(places[0, axis])
        within = len(places) > 1 and 1 < length < case.wrong.size
        if not within or (places[:, axis] != first).any():
            continue
        if not few or len(places) == case.wrong.size // length:
            where = ", ".join(str(first) if k == axis else ":" for k in range(len(shape)))
            return "one slice", f"only entries in [{where}] are wrong"
    if not few:
        return None
    text = f"only {', '.join(map(_index, places))} of {case.wrong.size} entries are wrong"
    return "single entry" if len(places) == 1 else "few entries", text


def _index(place: Array) -> str:
    return f"[{', '.join(map(str, place.tolist()))}]"
