"""The derivative by extrapolation, from steps that a small one has confirmed."""

from __future__ import annotations

import math
from collections.abc import Generator

from fastgrad._formulas.bracket import Bracket
from fastgrad._formulas.line import Estimate, Line, Search, counted
from fastgrad._formulas.look import RATIO, Look
from fastgrad._formulas.richardson import Entry, Table
from fastgrad._formulas.witness import NOISE, Verdict, confirm

ROWS = 10
"""Looks in one table at most."""

CONVERGED = 0.4
"""Truncation, in units of rounding, that need not be less."""

TABLES = 6
"""Tables at most: how often the search may start again with smaller steps."""

GOOD = 1e-10
"""Relative error of a two-sided derivative with which one-sided steps are not tried."""

NOTHING = Entry(math.nan, math.inf, math.inf, math.nan)


@counted
def auto(line: Line) -> Search:
    """Return the derivative by extrapolation, two-sided where there is room.

    Some 8 to 14 evaluations: two for a small difference, the others for central differences at
    large steps. Errors are mostly below ``1e-12 abs(f(x)) / L``, where f changes over the length L.

    Parameters
    ----------
    line : Line
        What is known of f.

    References
    ----------
    C. J. F. Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering
    Software 4 (1982), 75-76, for the table. P. E. Gill, W. Murray, M. A. Saunders, M. H. Wright,
    Computing forward-difference intervals for numerical optimization, SIAM Journal on Scientific
    and Statistical Computing 4 (1983), 310-321, for steps that are learnt from f.
    """
    roomy = 1 if line.room(1) >= line.room(-1) else -1
    found = NOTHING
    for side in (0, roomy, -roomy):
        poor = not found.error <= GOOD * abs(found.value)
        cramped = side == roomy and 64 * line.room(0) < line.room(side) and poor
        if line.room(side) >= 64 * line.least and (math.isnan(found.value) or cramped):
            other = yield from _extrapolate(line, side)
            found = min(found, other, key=lambda entry: entry.error)
    return Estimate(found.value, found.error, found.h, 0)


def _extrapolate(line: Line, side: int) -> Generator[list[float], list[float], Entry]:
    """Return the best entry of some tables: until a small difference confirms one."""
    bracket = Bracket(line, side)
    best, worse = NOTHING, 0
    for k in range(TABLES):
        if not (yield from bracket.find()) or bracket.small is None or bracket.large is None:
            break
        found, sure = yield from _table(bracket, bracket.small, bracket.large)
        worse = 0 if found.error < best.error / 2 or math.isnan(best.value) else worse + 1
        best = min(best, found, key=lambda entry: entry.error)
        if sure or worse == 2:
            break
        bracket.shrink(bracket.h / 8 ** (k + 1))
    return best


def _table(bracket: Bracket, small: Look, large: Look) -> Verdict:
    """Return the best entry below the large step, and whether the small one confirms it."""
    table = Table(1 if bracket.side else 2)
    table.add(large.quotients)
    h, changes, entry = large.h, [math.inf], table.best()
    converged = False
    for _ in range(ROWS):
        h *= RATIO**2 if bracket.side else RATIO
        if h < max(4 * small.h, bracket.line.least):
            break
        (look,) = yield from bracket.see(h)
        if look is None:
            return NOTHING, False
        table.add(look.quotients)
        changes.append(table.change())
        found = table.best()
        converged = found.truncation <= CONVERGED * found.rounding
        if converged or changes[-1] <= min(changes):
            entry = found
        if converged or _stuck(changes):
            break
    if not converged:
        entry = entry.spoiled(NOISE * max(changes[1:][-3:], default=large.reach / large.h))
    if small.h >= table.steps[-1]:
        return entry.spoiled(large.reach / large.h), False
    entry, sure = yield from confirm(bracket, small, table, entry, converged)
    return entry.spoiled(bracket.kink), sure


def _stuck(changes: list[float]) -> bool:
    """Tell whether smaller steps bring nothing: noise, or all of them are too large."""
    if len(changes) < 5:
        return False
    slow = changes[-1] > changes[-2] / 2 and changes[-2] > changes[-3] / 2
    return slow or changes[-1] > 4 * min(changes)
