"""Whether a small difference agrees with what larger steps say, or disagrees as noise does."""

from __future__ import annotations

from collections.abc import Generator

from fastgrad._formulas.bracket import Bracket
from fastgrad._formulas.look import Look
from fastgrad._formulas.richardson import Entry, Table

NOISE = 3.0
"""How far a difference may be off, in units of the noise that its neighbours show."""

Verdict = Generator[list[float], list[float], tuple[Entry, bool]]
"""Returns the entry with the error that is known now, and whether that is all that can be had."""


def confirm(bracket: Bracket, small: Look, table: Table, entry: Entry, converged: bool) -> Verdict:
    """Compare an entry with the table that a small step has been added to.

    Where both disagree, f is noisy, or has waves shorter than the steps of the table. A step that
    is a hundred times smaller tells: noise puts it off a hundred times as far.
    """
    value, rounding = table.with_row(small.quotients[-1])
    apart = abs(entry.value - value)
    if apart <= 3 * (entry.error + rounding):
        return entry, converged or entry.error <= 3 * rounding
    (look,) = yield from bracket.see(max(small.h / 100, bracket.line.least))
    if look is None or not small.reach:
        return entry.spoiled(apart), False
    off = max(abs(look.slope - entry.value), abs(look.bend) * look.h)
    if look.reach and off < 10 * apart:  # without reach, f is rounded to few digits
        return entry.spoiled(apart), False
    return entry.spoiled(NOISE * max(apart * small.h, off * look.h) / entry.h), True
