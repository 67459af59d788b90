"""One array of a gradient, judged: which entries are wrong, and what is behind the differences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.agreement import Tolerance, precision
from fastgrad.diagnosis import Case, Finding, diagnose
from fastgrad.limit import Limit, Look, limit
from fastgrad.probes import FINER, Evidence, Line, examine, kink
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

WORST = 3
"""Entries of a failing array that are looked at closely."""

FEW = 16
"""Entries that are looked at one by one: to have more of them, the whole gradient is taken."""

RIGHT = Finding("truncation", "the difference vanishes with h, the gradient is right")


@dataclass(frozen=True, eq=False)
class Problem:
    """What all arrays share. `numerical` returns the numerical gradient with another step."""

    f: Callable[[Any], Any]
    parameters: Parameters
    numerical: Callable[[Any], Any]
    steps: Steps
    value: float
    automatic: bool

    def gradient(self, h: Any) -> list[Floats]:
        """Return the numerical gradient, an array for each of x, flat."""
        arrays = self.parameters.matching(self.numerical(h), "f")
        return [array.astype(float).reshape(-1) for array in arrays]

    @functools.cached_property
    def halved(self) -> Callable[[int], list[Floats]] | None:
        """The gradient with ``h / 2**k``, a function of k; None unless all share step and formula.

        Near bounds the formula depends on the step, and differences by two formulas have no limit
        in common that two steps would tell.
        """
        step = self.steps.used(self.parameters)
        if not isinstance(step, float) or self.steps.bounds is not None:
            return None
        return functools.cache(lambda k: self.gradient(step / 2**k))

    def line(self, leaf: int, i: int) -> Line:
        """Return f along one coordinate."""
        return Line(self.f, self.parameters, leaf, i, self.steps.bounds)


class Pair(NamedTuple):
    """One array of both gradients, flat, with step and formula of each entry, and what may differ.

    `which` is the formula's place in ``steps.formulas``.
    """

    leaf: int
    gradient: Floats
    numerical: Floats
    h: Floats
    which: Integers
    tolerance: Tolerance
    allowed: Floats
    eps: float
    known: Floats

    def beyond(self) -> Integers:
        """Return the entries that differ by more than is allowed, the worst first."""
        excess = np.abs(self.gradient - self.numerical) - self.allowed
        excess = np.where(np.isnan(excess), np.inf, excess)
        return np.argsort(-excess, kind="stable")[: np.count_nonzero(excess > 0)]

    def with_limits(self, wrong: Integers, found: Limit) -> Pair:
        """Return the same with limits of differences where entries are wrong."""
        numerical, allowed = self.numerical.copy(), self.allowed.copy()
        numerical[wrong] = found.value
        allowed[wrong] += found.change
        return self._replace(numerical=numerical, allowed=allowed)


def judge(problem: Problem, pair: Pair) -> tuple[Integers, Finding]:
    """Return the entries that are wrong, and what is behind the differences."""
    wrong = pair.beyond()
    if not len(wrong):
        return wrong, _hidden(problem, pair)
    if not np.isfinite(pair.gradient).all():
        return wrong, diagnose(_case(problem, pair, wrong))
    worst = wrong[0]
    sigma = problem.line(pair.leaf, worst).noise(pair.h[worst])
    # What a few values show may be less than the grid that they lie on, uniform: its 0.29.
    sigma = max(sigma, 0.29 * precision() * abs(problem.value))
    doubted, evidence = wrong, _examine(problem, pair, wrong, sigma)
    # The one that differs least is the likeliest to differ by truncation alone.
    changes = [*(item.change for item in evidence), _change(problem, pair, wrong[-1])]
    some = np.append(wrong[:WORST], wrong[-1])
    seen = pair.allowed[some] + (1 + FINER) * _look(problem, pair, some, sigma).reach
    if not (any(item.settled for item in evidence) or (changes > seen).any()):
        # Mistakes are looked for beyond what truncation does to the numerical gradient.
        compared = pair._replace(allowed=pair.allowed + 2 * max(changes))
    else:
        # It may be off by more than is allowed: its limit counts from here on.
        found = _limits(problem, pair, wrong, sigma)
        compared = pair.with_limits(wrong, found)
        if problem.automatic:
            wrong = wrong[_disagree(problem, pair, wrong, sigma, found)]
            if not len(wrong):
                return wrong, next((Finding(*e[:2]) for e in evidence if e.kind), RIGHT)
            evidence = _examine(problem, pair, wrong, sigma)
    if all(item.kind for item in evidence):
        return wrong, Finding(evidence[0].kind, evidence[0].text)
    return wrong, diagnose(_case(problem, compared, doubted))


def _hidden(problem: Problem, pair: Pair) -> Finding:
    """Say it where the gradient is too small beside f(x) for the check to see anything."""
    size = np.maximum(np.abs(pair.gradient), np.abs(pair.numerical))
    if not (problem.automatic and size.any() and (size <= pair.tolerance.atol).all()):
        return Finding("", "")
    return Finding(
        "below rounding",
        f"no entry is above {pair.tolerance.atol.max():.1e}, which the rounding of f(x) = "
        f"{problem.value:.3g} makes of 0: the check sees nothing here",
    )


def _examine(problem: Problem, pair: Pair, wrong: Integers, sigma: float) -> list[Evidence]:
    return [
        examine(problem.line(pair.leaf, i), _look(problem, pair, i, sigma))
        for i in wrong[:WORST].tolist()
    ]


def _change(problem: Problem, pair: Pair, i: int) -> float:
    """Return by how much the difference of an entry changes with a finer step."""
    formula = problem.steps.formulas[pair.which[i]]
    fine = problem.line(pair.leaf, i).derivative(pair.h[i] / FINER, formula)
    return float(abs(pair.numerical[i] - fine))


def _limits(
    problem: Problem,
    pair: Pair,
    wrong: Integers,
    sigma: float,
) -> Limit:
    """Return the limits of the differences of some entries, whatever their formulas."""
    found = Limit(np.empty(len(wrong)), np.empty(len(wrong)), np.zeros(len(wrong), np.int64))
    halved = problem.halved if len(wrong) > FEW else None
    for formula in np.unique(pair.which[wrong]):
        mine = pair.which[wrong] == formula
        indices = wrong[mine]
        look = _look(problem, pair, indices, sigma)

        def differences(k: int, look: Look = look, indices: Integers = indices) -> Floats:
            if halved is not None:
                return halved(k)[pair.leaf][indices]
            lines = [problem.line(pair.leaf, i) for i in indices.tolist()]
            steps = (look.h / 2**k).tolist()
            pairs = zip(lines, steps, strict=True)
            return np.array([line.derivative(h, look.stencil) for line, h in pairs])

        for all_of, part in zip(found, limit(look, differences), strict=True):
            all_of[mine] = part
    return found


def _disagree(problem: Problem, pair: Pair, wrong: Integers, sigma: float, found: Limit) -> Array:
    """Tell which entries do not agree with the limit, or only with differences beside a kink.

    Smaller steps no longer reach a kink that is near x. It is looked for in the worst entries.
    """
    disagree: Array = found.halvings == 0
    for k in np.flatnonzero(found.halvings > 1)[:FEW]:
        line, look = problem.line(pair.leaf, wrong[k]), _look(problem, pair, wrong[k], sigma)
        disagree[k] = kink(line, look) is not None
    return disagree


def _look(problem: Problem, pair: Pair, i: Any, sigma: float) -> Look:
    """Return what is known of an entry, or of several."""
    both = (pair.gradient, pair.numerical)
    x = problem.parameters.leaves[pair.leaf]
    return Look(
        gradient=pair.gradient[i],
        numerical=pair.numerical[i],
        h=pair.h[i],
        stencil=problem.steps.formulas[np.ravel(pair.which[i])[0]],
        sigma=sigma,
        allowed=pair.allowed[i],
        size=max(float(np.abs(array).max()) for array in both),
        eps=pair.eps,
        value=problem.value,
        span=float(np.abs(x).max()) or 1.0,
    )


def _case(problem: Problem, pair: Pair, doubted: Integers) -> Case:
    """Return the case for a diagnosis, in which entries in no doubt stand for themselves."""
    leaf = problem.parameters.leaves[pair.leaf]
    numerical = pair.gradient.copy()
    numerical[doubted] = pair.numerical[doubted]
    arrays = (pair.gradient, numerical, leaf.astype(float), pair.allowed)
    return Case(*(array.reshape(leaf.shape) for array in arrays))
