"""Why a gradient is wrong: a mistake is named only if undoing it makes the entries agree."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastgrad._checking.compare import KINKS, LOOKED, SPREAD, THIN, Side
from fastgrad._checking.report import digits
from fastgrad._typing import Array, Floats

FEW, MOST, LEFT = 3, 100, 0.05
"""So many wrong entries are named one by one; so many may have changed places, as of more some fit
by chance; and so much of the differences may be left when a mistake is undone."""

THIN_WORDS = (
    "At least {} digits agree. The differences are small, spread over the whole gradient, and stay "
    "with smaller steps. The gradient may leave out a constant, such as the 1e-7 in log(p + 1e-7)."
)

Finding = tuple[str, str]
"""The kind of a fault, and sentences about it."""


def explain(side: Side, sides: list[Side]) -> Finding:
    """Say what is behind the differences of one array among all."""
    if side.wrong.any() and (finding := _unfit(side) or _mistake(side, sides)):
        return finding
    if side.thin.any():
        return "small differences", THIN_WORDS.format(int(digits(side.gradient, side.limit)))
    return _hidden(side) or _step(side) or ("", "")


def _unfit(side: Side) -> Finding | None:
    """Say it where f, not the gradient, keeps the check from telling."""
    if not math.isfinite(side.problem.value):
        return "not finite", f"f(x) is {side.problem.value}, so it has no derivative."
    if side.random and side.problem.random:
        low, high = side.problem.random
        text = f"f is random: at the same x it returned {low:.9g} and {high:.9g}."
        return "random", f"{text} Fix the seed within f, or switch dropout off."
    if side.kinks and set(side.kinks) == set(side.worst[:KINKS].tolist()):
        i, (below, above) = next(iter(side.kinks.items()))
        text = f"f has a kink or a jump at x. Along {side.place(i)} its slope is {below:.6g} below "
        text += f"and {above:.6g} above, and the gradient says {side.gradient[i]:.6g}."
        return "kink", f"{text} No derivative exists there: take another x."
    return None


def _step(side: Side) -> Finding | None:
    """Say by what the numerical gradient was off, where that alone made a difference."""
    gaps = np.where(side.failed & ~_unseen(side), np.abs(side.gradient - side.numerical), 0.0)
    if not gaps.any():
        return None
    i = int(np.argmax(gaps))
    noisy = gaps[i] <= side.noise[i]
    text = f"With h = {side.h[i]:.2g} the difference at {side.place(i)} is {gaps[i]:.1e}: "
    text += f"f has noise of {side.sigma:.1e}" if noisy else "that step is too large for f"
    after = abs(side.gradient[i] - side.limit[i])
    kind = "rounding noise" if noisy else "truncation"
    return kind, f"{text}. Extrapolated to h = 0 it is {after:.1e}, which passes."


def _unseen(side: Side) -> Array:
    """Return which entries pass though they differ by a tenth: rounding hides them."""
    return ~side.wrong & ~(np.abs(side.gradient - side.limit) <= 0.1 * side.size)


def _hidden(side: Side) -> Finding | None:
    """Say it where rounding hides entries, or f is too steep for any step."""
    problem, unseen = side.problem, np.flatnonzero(_unseen(side))
    if problem.rtol is not None or problem.atol is not None or not len(unseen):
        return None
    rest = f"So {len(unseen)} of {len(side.gradient)} entries could not be checked."
    if (blind := unseen[np.isinf(side.blur[unseen])]).size:
        i = int(blind[0])
        text = f"f is too steep or too rough for differences: along {side.place(i)} no two steps "
        spacing = abs(float(np.spacing(side.along(i).x)))
        text += f"agree, down to the spacing of numbers near x, {spacing:.1e}. "
        return "not resolved", text + rest
    text = f"Rounding of f(x) = {problem.value:.3g} may change the numerical gradient by "
    return "below rounding", f"{text}{side.blur[unseen].max():.1e}. {rest}"


def _mistake(side: Side, sides: list[Side]) -> Finding | None:
    """Return the first mistake, from the simplest, that explains the array."""
    shape = side.problem.parameters.leaves[side.leaf].shape
    unfit = np.argwhere(~np.isfinite(side.gradient.reshape(shape)))
    if len(unfit):
        return "not finite", f"The gradient is not finite, first at {_named(unfit[:1])}."
    if not side.gradient.any():
        return "zero gradient", "The gradient is 0 everywhere. Was it computed, and added up?"
    others = f" {len(side.kinks)} others lie at kinks." if side.kinks else ""
    finding = _exchange(side, sides) or _factor(side) or _order(side, shape) or _missing_term(side)
    if finding := finding or _part(side, shape):
        return finding[0], finding[1] + others
    if not side.wrong.any():  # A closer look has shown that the steps were too large.
        return None
    side.wrong |= side.thin
    agreed = digits(side.gradient, _numerical(side))
    text = f"{agreed:.1f} digits agree. "
    if agreed <= 2:
        return "wrong derivative", f"{text}No simple mistake explains the differences."
    stay = " and stay with smaller steps" if side.looked else ""
    return "small differences", f"{text}The differences are small{stay}."


def _numerical(side: Side) -> Floats:
    """Return the numerical gradient; at kinks of f it is whatever was given."""
    numerical, kinks = side.limit.copy(), list(side.kinks)
    numerical[kinks] = side.gradient[kinks]
    return numerical


def _wrong(side: Side) -> Array:
    """Return which entries are wrong, but for those at kinks."""
    wrong = side.wrong.copy()
    wrong[list(side.kinks)] = False
    return wrong


def _undone(side: Side, gradient: Floats, rest: float = THIN) -> bool:
    """Tell whether the gradient is right with a mistake undone.

    Every entry has to agree, but for `rest` of the largest, as entries may cancel; and next to
    nothing may be left of the differences. Of a few the step may have been too large.
    """

    def off() -> Array:
        size = np.maximum(np.abs(gradient), np.abs(_numerical(side)))
        allowed = side.blur + 2 * side.default * size
        allowed += np.where(side.thin, THIN, rest) * size.max()
        apart: Array = ~(np.abs(gradient - _numerical(side)) <= allowed)
        return apart

    strays = np.setdiff1d(np.flatnonzero(off()), list(side.looked))
    if 0 < len(strays) <= min(LOOKED, len(gradient) // 2) and side.problem.atol is None:
        passed = ~side.wrong
        side.look(strays)
        side.wrong &= ~passed
    wrong, numerical = _wrong(side), _numerical(side)
    before, after = ((g - numerical)[wrong] for g in (side.gradient, gradient))
    return not off().any() and bool(np.linalg.norm(after) <= LEFT * np.linalg.norm(before))


def _fit(target: Floats, base: Floats) -> float:
    """Return the factor of most of the base, by size: a median, which no few entries move."""
    some = base != 0
    ratio, weight = target[some] / base[some], (base[some] / np.abs(base).max()) ** 2
    order = np.argsort(ratio)
    below = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(below, below[-1] / 2)])


def _factor(side: Side) -> Finding | None:
    """Fit one factor to all entries; of one entry, only a whole number is one."""
    g, n = side.gradient, _numerical(side)
    factor = _fit(g, n) if n.any() else 0.0
    if not 1e-300 < abs(factor) < 1e300:
        return None
    unit = np.abs(n) / np.abs(n).max()  # Squares would overflow.
    blur = float(unit @ (side.blur / np.abs(n).max()) / (unit @ unit))
    text = "The gradient is the right one times "
    for large, over in ((factor, ""), (1 / factor, "1/")):
        whole = round(large)
        near = abs(large - whole) <= max(1e-4, blur) * abs(whole) < 0.5
        if near and whole not in (0, 1) and _undone(side, g * whole if over else g / whole):
            side.wrong |= side.thin  # It explains these as well.
            if whole == -1:
                return "wrong sign", f"{text}-1."
            words = f"{'-' if whole < 0 else ''}{over}{abs(whole)}"
            hint = "Look for a factor that only one side has, such as the 1/N of a mean."
            return "constant factor", f"{text}{words}. {hint}"
    telling = np.abs(n) > 10 * side.blur
    if (_wrong(side) & telling).sum() < 2 or not _undone(side, g / factor):
        return None
    side.wrong |= side.thin
    shown = max(4, 3 - math.floor(math.log10(abs(factor - 1) or 1)))
    return "constant factor", f"{text}{factor:.{shown}g}."


def _order(side: Side, shape: tuple[int, ...]) -> Finding | None:
    """Put the entries back in other orders."""
    for kind, text, moved in _orders(side.gradient.reshape(shape)):
        if _undone(side, moved.reshape(-1)):
            return kind, text
    wrong = _wrong(side)
    places = np.argwhere(wrong.reshape(shape))
    if not 2 <= len(places) <= MOST:
        return None
    back, order = side.gradient.copy(), np.argsort(np.argsort(_numerical(side)[wrong]))
    back[wrong] = np.sort(side.gradient[wrong])[order]
    if not _undone(side, back, rest=0.0):
        return None
    if len(places) == 2:
        return "swapped entries", f"{_named(places)} have changed places."
    return "permuted entries", f"{len(places)} of the right entries stand in the wrong places."


def _exchange(side: Side, sides: list[Side]) -> Finding | None:
    """Look for the right entries in another array that is wrong."""
    shapes = [leaf.shape for leaf in side.problem.parameters.leaves]
    for other in sides:
        alike = other is not side and shapes[other.leaf] == shapes[side.leaf]
        if alike and other.wrong.any() and _undone(side, other.gradient):
            name = side.problem.name + side.problem.parameters.names[other.leaf][1:]
            return "exchanged arrays", f"Its right gradient was given for {name}."
    return None


def _orders(given: Floats) -> Iterator[tuple[str, str, Floats]]:
    """Yield kinds of disorder, and the gradient with each undone."""
    if given.ndim > 1:
        yield "transposed", "The gradient is transposed.", given.reshape(given.shape[::-1]).T
        yield "transposed", "The gradient is transposed in memory.", given.T.reshape(given.shape)
    for axis, length in enumerate(given.shape):
        yield "reversed entries", f"Axis {axis} is reversed.", np.flip(given, axis)
        for shift in (1, -1) if length > 2 else ():
            text = f"The entries are shifted by {shift:+d} along axis {axis}."
            yield "shifted entries", text, np.roll(given, -shift, axis)


def _missing_term(side: Side) -> Finding | None:
    """Look for a term that is a multiple of x, or of 1."""
    x = side.problem.parameters.leaves[side.leaf].astype(float).reshape(-1)
    if len(x) < 3 or not (np.abs(side.limit) > side.blur).any():
        return None
    penalty = "* x is missing, such as the gradient of a penalty on the size of x."
    for term, words in ((x, penalty), (np.ones(len(x)), "is missing in every entry.")):
        factor = _fit(_numerical(side) - side.gradient, term) if term.any() else 0.0
        telling = np.abs(factor * term) > 2 * side.blur
        if telling.sum() >= 3 and _undone(side, side.gradient + factor * term):
            side.wrong |= side.thin
            return "missing term", f"A term {factor:.4g} {words}"
    return None


def _part(side: Side, shape: tuple[int, ...]) -> Finding | None:
    """Say it where only a few entries are wrong, or one row or column, and stand out."""
    wrong, unseen = _wrong(side), np.count_nonzero(_unseen(side))
    rest = side.share[side.thin].max(initial=0.0)
    if 2 * unseen > wrong.size or not wrong.any() or side.share[wrong].min() < SPREAD * rest:
        return None
    more = f" Rounding hides {unseen} more." if unseen else ""
    places = np.argwhere(wrong.reshape(shape))
    few = 0 < len(places) <= FEW and 2 * len(places) <= wrong.size
    for axis, length in enumerate(shape):
        if len(places) < 2 or length in (1, wrong.size) or np.ptp(places[:, axis]):
            continue
        if not few or len(places) == wrong.size // length:
            where = ", ".join(str(places[0, axis]) if k == axis else ":" for k in range(len(shape)))
            return "one slice", f"Only entries in [{where}] differ.{more}"
    if not few:
        return None
    one = len(places) == 1
    kind, verb = ("single entry", "differs") if one else ("few entries", "differ")
    return kind, f"Only {_named(places)} {verb}.{more}"


def _named(places: Array) -> str:
    *others, last = (f"[{', '.join(map(str, place))}]" for place in places.tolist())
    return f"{', '.join(others)} and {last}" if others else last
