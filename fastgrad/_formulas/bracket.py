"""A step small enough to be trusted, and a step large enough to be precise."""

from __future__ import annotations

import math
from collections.abc import Generator

from fastgrad._formulas.line import Line
from fastgrad._formulas.look import RATIO, Look, Looks, divisor, same_line, see

FIRST = math.sqrt(0.22)
"""The first large step, a share of abs(x): no round number, as values of f may be."""

NEAR = 0.35
"""Share by which the slope may change within the large step: a table takes that away."""

GOOD = 24.0
"""Rounding of a difference, in units of that of f, beyond which a larger step is tried."""

TRIES = 16
"""Pairs of steps at most."""


class Bracket:
    """Looks at f with two steps that are far apart, until both show the same slope.

    Where both disagree, f changes within the large one, which must be smaller; where rounding
    drowns what the large one shows, both grow. Large steps alone may span whole periods of f.
    `noise` of f is what is more than rounding, `kink` by how much its slope jumps at x.
    """

    def __init__(self, line: Line, side: int) -> None:
        self.line, self.side = line, side
        self.noise = self.kink = 0.0
        self._gap: float = FIRST / line.eps ** (1 / 3)
        self._most = 0.9 * line.room(side)
        self._doubted, self._slope = False, math.nan
        self._before: Look | None = None
        self._steps(min(FIRST * line.scale, self._most))

    def _steps(self, h: float) -> None:
        """Take a large step, and the small one that belongs to it."""
        self.h, self._w = h, max(h / self._gap, self.line.least)
        self.small: Look | None = None
        self.large: Look | None = None

    def see(self, *steps: float) -> Looks:
        """Evaluate f with each step."""
        return see(self.line, self.side, self.noise, *steps)

    def find(self) -> Generator[list[float], list[float], tuple[Look, Look] | None]:
        """Return a small and a large look that agree, if there are."""
        for _ in range(TRIES):
            known = (self.small, self._w), (self.large, self.h)
            missing = [h for look, h in known if look is None]
            looks = iter((yield from self.see(*missing)) if missing else [])
            self.small = small = self.small or next(looks)
            self.large = large = self.large or next(looks)
            if small is None:
                if self._w <= self.line.least:
                    return None
                self._most = self._w / 2
                self._steps(self._w / 4)
            elif large is None:
                self.shrink(math.sqrt(self._w) * math.sqrt(self.h))
            elif not (small.reach or self.noise) and self._too_large(small, large):
                yield from self._flat(small, large)
            elif not self._doubted and (small.rough or self._strange(small, large)):
                yield from self._doubt(small, large)
            elif self._too_large(small, large):
                # Where f follows a parabola, the mismatch falls with the square of the step. And f
                # must not move as far as it did.
                self._before = large
                h = large.h * math.sqrt(0.7 * NEAR / self._mismatch(small, large) * large.size)
                self.shrink(min(h, large.reach / abs(small.slope)) if small.slope else h)
            elif not self._grow(small, large):
                return small, large
        return (small, large) if small and large else None

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

    def _mismatch(self, small: Look, large: Look) -> float:
        """Return how far both disagree about the slope, beyond rounding."""
        return abs(small.slope - large.slope) - 4 * (small.rounding + large.rounding)

    def _too_large(self, small: Look, large: Look) -> bool:
        """Tell whether f changes within the large step."""
        changes = self._mismatch(small, large) > NEAR * large.size
        return changes and self.h > 2 * self.line.least and not self._follows(small, large)

    def _follows(self, small: Look, large: Look) -> bool:
        """Tell whether the slope follows a power of the step, as that of a cube does at 0."""
        if self._before is None or self.side:
            return False
        ratio, change = (self._before.h / large.h) ** 2, large.slope - small.slope
        before = self._before.slope - small.slope
        changes = ratio * change, ratio * ratio * change
        return any(abs(before - change) < 0.1 * abs(change) for change in changes)

    def _strange(self, small: Look, large: Look) -> bool:
        """Tell whether all large steps so far show one slope, and the small one another."""
        if not self._too_large(small, large):
            return False
        before, self._slope = self._slope, large.slope
        return abs(large.slope - before) <= 0.2 * abs(before)

    def _grow(self, small: Look, large: Look) -> bool:
        """Take a larger step where rounding drowns what the large one shows."""
        h, usual = large.h, FIRST * max(1.0, self.line.scale)
        growth, change = self._wanted(large), self._mismatch(small, large)
        if (self.noise or growth >= self._gap) and h >= 0.9 * usual:
            return False
        if change > 0:
            growth = min(growth, math.sqrt(0.3 * NEAR * large.size / change))
        if growth < 4 or 4 * h > self._most:
            return False
        if growth > math.sqrt(self._gap):
            self.small, self._w = large, h
        if change <= 0 and h < usual and not (self.noise or (large.reach and growth * h > usual)):
            growth = usual / h
        self.h, self.large = min(growth * h, self._most), None
        self._doubted = True
        return True

    def _wanted(self, large: Look) -> float:
        """Return by how much the large step should grow; the gap between both where all is lost."""
        if self.noise and large.size:
            return min(self._gap, GOOD * large.rounding / large.size)
        good = GOOD * self.line.eps * large.size
        return min(self._gap, large.rounding / good) if good else self._gap

    def _doubt(self, small: Look, large: Look) -> Generator[list[float], list[float], None]:
        """Find out by smaller steps why the small one shows no line, or not that of others.

        Noise stays there, and so does the jump of the slope at a kink; a line and an extremum are
        the same; or f changes much less there: it is smooth, but within steps that are smaller.
        """
        self._doubted = True
        lower, least = small.h / 32, self.line.least
        if lower < least:
            return
        (look,) = yield from see(self.line, self.side, 0.0, lower)
        if look is None or same_line(look, small):
            return
        if abs(look.bend - small.bend) <= 0.5 * abs(small.bend) + 4 * look.blur:
            return
        lows = [look]
        if look.reach:
            bottom = max(8 * least, self.line.grid * self.line.scale)
            middle = math.sqrt(lower) * math.sqrt(bottom)
            more = yield from see(self.line, self.side, 0.0, middle, bottom)
            lows += [low for low in more if low]
        same = [low.rough and abs(low.jump - small.jump) <= 0.1 * small.jump for low in lows]
        reach = max(small.reach, look.reach)
        for low, kink in zip(lows, same, strict=True):
            same_reach = reach / 32 <= low.reach <= 32 * reach  # as that of noise
            if low.reach and not (kink or same_reach):
                self.h, self.large = math.sqrt(low.h) * math.sqrt(small.h), None
                self._most, self._w, self.small = small.h, low.h, low
                return
        flat = [low for low in lows if not low.reach]
        if flat and (same[0] or not look.reach):
            yield from self._flat(flat[0], large)
        elif same[0]:
            self.kink = small.jump
        else:
            if 8 * divisor(small, look, large) > small.reach:  # stairs
                self.kink = large.size
            for one in (small, look):
                off = max(one.jump, abs(one.slope - large.slope))
                self.noise = max(self.noise, off * one.h)
            self.small = self.large = None

    def _flat(self, flat: Look, large: Look) -> Generator[list[float], list[float], None]:
        """Find out whether f is rounded to few digits, or flat up to a kink."""
        (other,) = yield from self.see(RATIO * large.h)
        looks = [look for look in (other, large) if look]
        unit = divisor(*looks)
        if unit or flat.h < 1e-6 * abs(self.line.x):  # f may compute in single precision
            self.kink = max(look.size for look in looks)
        if unit and max(look.reach for look in looks) > 1.5 * unit:
            self.noise, self.small, self.large = unit, None, None
        else:
            self._w, self.small = flat.h, flat
            self.shrink(flat.h)
