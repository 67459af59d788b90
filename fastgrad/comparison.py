"""A gradient beside the numerical one: array by array, compared, explained, put in a report."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad._typing import Array, Floats, Integers
from fastgrad.agreement import Tolerance, precision, tolerance
from fastgrad.check_report import ArrayCheck, CheckReport, figures
from fastgrad.diagnosis import Case, Finding, Known, diagnose
from fastgrad.objectives.values import not_finite, number
from fastgrad.probes import Evidence, Line, Look, examine, settled
from fastgrad.stencils import Stencil
from fastgrad.structures import Parameters

WORST = 3
"""Entries of a failing array that are looked at closely."""


KNOWN_SHARE = 1e-2
"""How much of the largest entry of an array may differ because it is known to."""


class Problem(NamedTuple):
    """What all arrays share. `numerical` returns the numerical gradient with another step."""

    f: Callable[[Any], Any]
    parameters: Parameters
    numerical: Callable[[float], Any]
    stencil: Stencil
    step: Any
    value: float
    automatic: bool

    def halved(self) -> list[Floats]:
        """Return the numerical gradient with half the step, which is one for all coordinates."""
        return _flat(self.parameters, self.numerical(self.step / 2), "f")


class Pair(NamedTuple):
    """One array of both gradients, flat, and what may differ."""

    leaf: int
    gradient: Floats
    numerical: Floats
    h: Floats
    tolerance: Tolerance
    allowed: Floats
    eps: float
    known: Floats

    def beyond(self) -> Integers:
        """Return the entries that differ by more than is allowed, the worst first."""
        excess = np.abs(self.gradient - self.numerical) - self.allowed
        excess = np.where(np.isnan(excess), np.inf, excess)
        return np.argsort(-excess, kind="stable")[: np.count_nonzero(excess > 0)]


def check_tolerances(rtol: object, atol: object) -> None:
    """Refuse what is not a tolerance."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"{name} must be a number or None, got {value!r}")
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number from 0, got {value!r}")


def compare(
    f: Callable[[Any], Any],
    parameters: Parameters,
    given: list[Array],
    numerical: Callable[[Any], Any],
    *,
    h: Any,
    step: Any,
    stencil: Stencil,
    rtol: float | None,
    atol: float | None,
    title: str,
    name: str = "x",
    known: Known | None = None,
) -> CheckReport:
    """Return the report on the arrays `given`.

    Parameters
    ----------
    f : callable
        Of x.
    parameters : Parameters
        x.
    given : list of ndarray
        The gradient to check, an array for each of x.
    numerical : callable
        Takes a step, returns the numerical gradient in the structure of x.
    h : float or None
        What `numerical` is called with first.
    step : float or structure
        The steps that it then takes.
    stencil : Stencil
        Its formula.
    rtol, atol : float or None
        None is what `fastgrad.agreement` derives.
    title : str
        Of the report.
    name : str
        How the caller writes x.
    known : Known, optional
        What differs for a reason; up to a hundredth of the largest entry of the array it is
        allowed for.
    """
    value = number(f(parameters.x))
    if not math.isfinite(value):
        raise not_finite(value, "x")
    automatic = rtol is None and atol is None
    problem = Problem(f, parameters, numerical, stencil, step, value, automatic)
    found = _flat(parameters, numerical(h), "f")
    steps = parameters.spread(step, "h")
    bounds = parameters.spread(0.0 if known is None else known.bound, "bound")
    halved = functools.cache(problem.halved)
    arrays = {}
    for k, leaf in enumerate(parameters.leaves):
        eps = precision(*parameters.leaves, given[k])
        limits = tolerance(stencil, steps[k], leaf.reshape(-1), value, eps, rtol, atol)
        gradient = given[k].astype(float).reshape(-1)
        allowed = limits.allowed(gradient, found[k])
        if known is not None and automatic:
            finite = np.abs(gradient[np.isfinite(gradient)])
            allowed += np.minimum(bounds[k], KNOWN_SHARE * finite.max(initial=0))
        pair = Pair(k, gradient, found[k], steps[k], limits, allowed, eps, bounds[k])
        wrong, finding = _judge(problem, pair, halved)
        if known is not None and len(wrong) and _is_known(pair, wrong):
            finding = known.finding
        check = _array_check(problem, pair, wrong, finding, name)
        arrays[check.name] = check
    return CheckReport(arrays, title)


def _flat(parameters: Parameters, structure: Any, argument: str) -> list[Floats]:
    arrays = parameters.matching(structure, argument)
    return [array.astype(float).reshape(-1) for array in arrays]


def _judge(
    problem: Problem, pair: Pair, halved: Callable[[], list[Floats]]
) -> tuple[Integers, Finding]:
    """Return the entries that are wrong, and what is behind the differences."""
    wrong = pair.beyond()
    if not len(wrong):
        return wrong, _hidden(problem, pair)
    if not np.isfinite(pair.gradient).all():
        return wrong, diagnose(_case(problem, pair, wrong))
    worst = wrong[0]
    sigma = Line(problem.f, problem.parameters, pair.leaf, worst).noise(pair.h[worst])
    # What a few values show may be less than the grid that they lie on, uniform: its 0.29.
    sigma = max(sigma, 0.29 * precision() * abs(problem.value))
    evidence = _examine(problem, pair, wrong, sigma)
    settled_by = [item for item in evidence if item.settled]
    if problem.automatic and settled_by:
        wrong = _unsettled(problem, pair, wrong, sigma, halved)
        if not len(wrong):
            return wrong, Finding(settled_by[0].kind, settled_by[0].text)
        evidence = _examine(problem, pair, wrong, sigma)
    if all(item.kind for item in evidence):
        return wrong, Finding(evidence[0].kind, evidence[0].text)
    # Mistakes are looked for beyond what truncation does to the numerical gradient.
    change = max(item.change for item in evidence)
    return wrong, diagnose(_case(problem, pair, wrong, 2 * change))


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
        examine(Line(problem.f, problem.parameters, pair.leaf, i), _look(problem, pair, i, sigma))
        for i in wrong[:WORST].tolist()
    ]


def _unsettled(
    problem: Problem,
    pair: Pair,
    wrong: Integers,
    sigma: float,
    halved: Callable[[], list[Floats]],
) -> Integers:
    """Return those entries that do not agree with the limit of two steps either."""
    look = _look(problem, pair, wrong, sigma)
    if isinstance(problem.step, float):
        half = halved()[pair.leaf][wrong]
    else:
        half = np.array(
            [
                Line(problem.f, problem.parameters, pair.leaf, i).derivative(h / 2, problem.stencil)
                for i, h in zip(wrong.tolist(), look.h.tolist(), strict=True)
            ]
        )
    rest: Integers = wrong[~settled(look, half)]
    return rest


def _look(problem: Problem, pair: Pair, i: Any, sigma: float) -> Look:
    """Return what is known of an entry, or of several."""
    both = (pair.gradient, pair.numerical)
    x = problem.parameters.leaves[pair.leaf]
    return Look(
        gradient=pair.gradient[i],
        numerical=pair.numerical[i],
        h=pair.h[i],
        stencil=problem.stencil,
        sigma=sigma,
        allowed=pair.allowed[i],
        size=max(float(np.abs(array).max()) for array in both),
        eps=pair.eps,
        value=problem.value,
        span=float(np.abs(x).max()) or 1.0,
    )


def _case(problem: Problem, pair: Pair, wrong: Integers, truncation: float = 0.0) -> Case:
    """Return the case for a diagnosis, in which entries that are right stand for themselves."""
    leaf = problem.parameters.leaves[pair.leaf]
    numerical = pair.gradient.copy()
    numerical[wrong] = pair.numerical[wrong]
    arrays = (pair.gradient, numerical, leaf.astype(float), pair.allowed + truncation)
    return Case(*(array.reshape(leaf.shape) for array in arrays))


def _is_known(pair: Pair, wrong: Integers) -> bool:
    difference = np.abs(pair.gradient - pair.numerical)
    return bool((difference <= pair.allowed + 1.01 * pair.known)[wrong].all())


def _array_check(
    problem: Problem, pair: Pair, wrong: Integers, finding: Finding, name: str
) -> ArrayCheck:
    parameters = problem.parameters
    shape = parameters.leaves[pair.leaf].shape
    first = sum(leaf.size for leaf in parameters.leaves[: pair.leaf])
    found = figures(pair.gradient, pair.numerical, pair.tolerance.atol)
    for where in ("where_absolute", "where_relative"):
        place = "" if found[where] is None else parameters.name(first + found[where])
        found[where] = name + place[1:] if place else ""
    return ArrayCheck(
        name=name + parameters.names[pair.leaf].removeprefix("x"),
        gradient=pair.gradient.reshape(shape),
        numerical=pair.numerical.reshape(shape),
        **found,
        rtol=float(pair.tolerance.rtol.max(initial=0)),
        atol=float(pair.tolerance.atol.max(initial=0)),
        wrong=np.isin(np.arange(pair.gradient.size), wrong).reshape(shape),
        kind=finding.kind,
        diagnosis=finding.text,
    )
