"""A step small enough to be trusted, and a step large enough to be precise."""

from __future__ import annotations

import math
from collections.abc import Generator

from fastgrad._formulas.doubt import doubt
from fastgrad._formulas.line import Line
from fastgrad._formulas.look import Look, Looks, mismatch, see, shorter

FIRST = 0.47
"""The first large step, a share of abs(x)."""

NEAR = 0.35
"""Share by which the slope may change within the large step: a table takes that away."""

GOOD = 24.0
"""Rounding of a difference, in units of that of f, beyond which a larger step is tried."""

FAR = 1e6
"""Times the first step: beyond, no larger one is tried."""

TRIES = 16
"""Pairs of steps at most."""


class Bracket:
    """Looks at f with two steps that are far apart, until both show the same slope.

    The small step is a witness. Where both disagree, f changes within the large one, which must be
    smaller; where rounding drowns what the large one shows, both grow. Large steps alone prove
    nothing: they may span whole periods of f. Nor does abs(x), which gives the first steps only.

    Attributes
    ----------
    small, large : Look or None
        What the two steps show.
    noise, kink : float
        Of f, what is more than rounding; by how much its slope jumps at x.
    """

    def __init__(self, line: Line, side: int) -> None:
        self.line, self.side = line, side
        self.noise = self.kink = 0.0
        self.small: Look | None = None
        self.large: Look | None = None
        self._gap: float = FIRST / line.eps ** (1 / 3)
        self._most = 0.9 * line.room(side)
        self._doubted, self._slope = False, math.nan
        self._steps(min(FIRST * line.scale, self._most))

    def see(self, *steps: float) -> Looks:
        """Evaluate f with each step."""
        return see(self.line, self.side, self.noise, *steps)

    def find(self) -> Generator[list[float], list[float], bool]:
        """Set both looks; tell whether they agree."""
        for _ in range(TRIES):
            yield from self._look()
            small, large = self.small, self.large
            if small is None:
                if self._w <= self.line.least:
                    return False
                self._most = self._w / 2
                self._steps(self._w / 4)
            elif large is None:
                self.shrink(math.sqrt(self._w) * math.sqrt(self.h))
            elif not self._doubted and (small.rough or self._strange(small, large)):
                yield from self._doubt(small, large)
            elif self._too_large(small, large):
                self.shrink(shorter(small, large, 0.7 * NEAR / self._mismatch(small, large)))
            elif not self._grow(small, large):
                return True
        return False

    def _steps(self, h: float) -> None:
        """Take a large step, and the small one that belongs to it."""
        self.h, self._w = h, max(h / self._gap, self.line.least)
        self.small = self.large = None

    def _look(self) -> Generator[list[float], list[float], None]:
        """Evaluate what is not known yet."""
        if self.small is None and self.large is None:
            self.small, self.large = yield from self.see(self._w, self.h)
        elif self.small is None:
            (self.small,) = yield from self.see(self._w)
        elif self.large is None:
            (self.large,) = yield from self.see(self.h)

    def shrink(self, h: float) -> None:
        """Take a smaller large step, and a smaller small one where both come close."""
        least = self.line.least
        self._most = self.h / 2
        if min(h, self._most) >= 16 * self._w or self._w <= least:
            self.h, self.large = max(min(h, self._most), self._w), None
        else:
            self.h, self.large, self._most = self._w, self.small, self._w
            self._w, self.small = max(self._w / self._gap, least), None
            self._doubted = False

    def _too_large(self, small: Look, large: Look) -> bool:
        """Tell whether f changes within the large step."""
        if self.h <= 2 * self.line.least:
            return False
        return self._mismatch(small, large) > NEAR * large.reach / large.h

    def _strange(self, small: Look, large: Look) -> bool:
        """Tell whether all large steps so far show one slope, and the small one another."""
        if not self._too_large(small, large):
            return False
        before, self._slope = self._slope, large.slope
        return abs(large.slope - before) <= 0.1 * abs(before)

    def _mismatch(self, small: Look, large: Look) -> float:
        """Return how far both disagree about the slope, beyond rounding."""
        return mismatch(small, large, bent=small.rough and not self.kink and not self.noise)

    def _grow(self, small: Look, large: Look) -> bool:
        """Take a larger step where rounding drowns what the large one shows."""
        h, size = large.h, large.reach / large.h
        usual = FIRST * max(1.0, self.line.scale)
        growth = self._wanted(large)
        if h > FAR * usual or (growth >= self._gap and h >= 0.9 * usual):
            return False
        change = self._mismatch(small, large)
        if change > 0:
            growth = min(growth, math.sqrt(0.3 * NEAR * size / change))
        if growth < 4 or 4 * h > self._most:
            return False
        if growth > math.sqrt(self._gap):
            self.small, self._w = large, h
        if change <= 0 and growth * h < usual and not self.noise:
            growth = usual / h
        self.h, self.large = min(growth * h, self._most), None
        self._doubted = True
        return True

    def _wanted(self, large: Look) -> float:
        """Return by how much the large step should grow; the gap between both where all is lost."""
        size = large.reach / large.h
        if self.noise and size:
            return min(self._gap, GOOD * large.rounding / size)
        good = GOOD * self.line.eps * size
        lost = not good or size < 8 * large.rounding
        return self._gap if lost else min(self._gap, large.rounding / good)

    def _doubt(self, small: Look, large: Look) -> Generator[list[float], list[float], None]:
        """Find out why the small step shows no line, or not that of others."""
        self._doubted = True
        reason, lower = yield from doubt(self.line, self.side, small)
        if reason == "nearer":
            self._most = self._w
            self.h, self.large = math.sqrt(lower.h) * math.sqrt(self._w), None
            self._w, self.small = lower.h, lower
        elif reason == "kink":
            self.kink = abs(small.bend) * small.h
        elif reason == "noise":
            for look in (small, lower):
                off = max(abs(look.bend) * look.h, abs(look.slope - large.slope))
                self.noise = max(self.noise, off * look.h)
            if large.reach:  # so large a small step that it says something again
                wide = 100 * self.noise * large.h / large.reach
                self._w = min(max(wide, self._w), self.h / 8)
            self.small = self.large = None
