"""The derivative by extrapolation, from steps that a small one has confirmed."""

from __future__ import annotations

import math
from collections.abc import Generator

from fastgrad._formulas.bracket import Bracket
from fastgrad._formulas.line import Entry, Line, Search
from fastgrad._formulas.look import RATIO, Look, divisor
from fastgrad._formulas.richardson import Table

ROWS = 10
"""Looks in one table at most."""

CONVERGED = 0.4
"""Truncation, in units of rounding, that need not be less."""

TABLES = 6
"""Tables at most: how often the search may start again with smaller steps."""

GOOD = 1e-10
"""Relative error of a two-sided derivative with which one-sided steps are not tried."""

NOISE = 3.0
"""How far a difference may be off, in units of the noise that its neighbours show."""

NOTHING = Entry(math.nan, math.inf, math.inf, math.nan)

Verdict = Generator[list[float], list[float], tuple[Entry, bool]]
"""Returns an entry, and whether that is all that can be had."""


def auto(line: Line) -> Search:
    """Return the derivative by extrapolation, two-sided where there is room.

    The table is that of Ridders, see `numerical_gradient`. Steps that are learnt from f: Gill,
    Murray, Saunders, Wright, SIAM J. Scientific and Statistical Computing 4 (1983), 310-321.
    """
    roomy = 1 if line.room(1) >= line.room(-1) else -1
    found = NOTHING
    for side in (0, roomy, -roomy):
        poor = not found.error <= GOOD * abs(found.value)
        cramped = side == roomy and 64 * line.room(0) < line.room(side) and poor
        if line.roomy(side) and (math.isnan(found.value) or cramped):
            other = yield from _extrapolate(line, side)
            found = min(found, other, key=lambda entry: entry.error)
    return found


def _extrapolate(line: Line, side: int) -> Search:
    """Return the best entry of some tables: until a small difference confirms one."""
    bracket = Bracket(line, side)
    best = NOTHING
    for k in range(TABLES):
        looks = yield from bracket.find()
        if looks is None:
            break
        found, sure = yield from _table(bracket, *looks)
        best = min(best, found, key=lambda entry: entry.error)
        if sure:
            break
        bracket.shrink(bracket.h / 8 ** (k + 1))
    return best


def _table(bracket: Bracket, small: Look, large: Look) -> Verdict:
    """Return the best entry below the large step, and whether the small one confirms it."""
    table, h = Table(1 if bracket.side else 2), large.h
    for quotient in large.quotients:
        table.add(*quotient)
    entry, changes, converged, last = table.best(), [math.inf], False, large
    for _ in range(ROWS):
        h *= RATIO**2 if bracket.side else RATIO
        if h < max(4 * small.h, bracket.line.least):
            break
        (look,) = yield from bracket.see(h)
        if look is None:
            return NOTHING, False
        last = look
        for quotient in look.quotients:
            table.add(*quotient)
        changes.append(table.change())
        found = table.best()
        enough = len(changes) > 3 or not bracket.noise  # with noise, few rows agree by chance
        converged = enough and found.truncation <= CONVERGED * found.rounding
        if converged or changes[-1] <= min(changes):
            entry = found
        if converged or _stuck(changes):
            break
    if not converged:
        entry = entry.spoiled(NOISE * max(changes[1:][-3:], default=large.size))
    if small.h >= table.steps[-1]:
        return entry.spoiled(large.size), False
    table.add(*small.quotients[-1])
    entry, sure = yield from _confirm(bracket, small, last, table, entry, converged)
    return entry.spoiled(bracket.kink), sure


def _stuck(changes: list[float]) -> bool:
    """Tell whether smaller steps bring nothing: noise, or all of them are too large."""
    if len(changes) < 5:
        return False
    slow = changes[-1] > changes[-2] / 2 and changes[-2] > changes[-3] / 2
    return slow or changes[-1] > 4 * min(changes)


def _confirm(
    bracket: Bracket, small: Look, last: Look, table: Table, entry: Entry, converged: bool
) -> Verdict:
    """Compare an entry with the table that a small step has been added to.

    Where both disagree, f is noisy, or has waves shorter than the steps of the table: noise puts a
    step that is a hundred times smaller off a hundred times as far.
    """
    rounding = table.roundings[-1]
    apart = abs(entry.value - table.values[-1][-1])
    if last.reach and not small.reach:
        return entry.spoiled(apart), divisor(last) > 0
    if apart <= 3 * (entry.error + rounding):
        return entry, converged or entry.error <= 3 * rounding
    (look,) = yield from bracket.see(max(small.h / 100, bracket.line.least))
    if look is None:
        return entry.spoiled(apart), False
    if abs(small.bend) > 4 * abs(last.bend) and look.jump <= 2 * small.jump:
        apart = max(apart, small.jump)  # that of noise would be less than that of look
    off = max(abs(look.slope - entry.value), look.jump)
    unit = 0.0 if look.reach else divisor(small, last)
    if off < 10 * apart and not unit:
        return entry.spoiled(max(apart, off)), False
    if 8 * unit > small.reach:  # f is rounded to few digits
        entry = entry.spoiled(off)
    return entry.spoiled(NOISE * max(apart * small.h, off * look.h) / entry.h), True
