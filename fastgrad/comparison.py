"""A gradient beside the numerical one: array by array, compared, explained, put in a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._typing import Array, Integers
from fastgrad.agreement import precision, tolerance, total_weight
from fastgrad.check_report import ArrayCheck, CheckReport, figures
from fastgrad.diagnosis import Finding, Known
from fastgrad.judging import Pair, Problem, judge
from fastgrad.objectives.values import not_finite, number
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

KNOWN_SHARE = 1e-2
"""How much of the largest entry of an array may differ because it is known to."""


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
    steps: Steps,
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
    steps : Steps
        The steps and formulas that it then takes.
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
    problem = Problem(f, parameters, numerical, steps, value, automatic)
    found = problem.gradient(h)
    bounds = parameters.spread(0.0 if known is None else known.bound, "bound")
    weights = np.array([total_weight(formula) for formula in steps.formulas])
    arrays = {}
    for k, leaf in enumerate(parameters.leaves):
        eps = precision(*parameters.leaves, given[k])
        plan = steps.plan(parameters, k, range(leaf.size))
        lengths, which = np.broadcast_to(plan.h, leaf.size), np.broadcast_to(plan.which, leaf.size)
        order, x = steps.formulas[0].order, leaf.reshape(-1)
        limits = tolerance(order, weights[which], lengths, x, value, eps, rtol, atol)
        gradient = given[k].astype(float).reshape(-1)
        allowed = limits.allowed(gradient, found[k])
        if known is not None and automatic:
            finite = np.abs(gradient[np.isfinite(gradient)])
            allowed += np.minimum(bounds[k], KNOWN_SHARE * finite.max(initial=0))
        pair = Pair(k, gradient, found[k], lengths, which, limits, allowed, eps, bounds[k])
        wrong, finding = judge(problem, pair)
        if known is not None and len(wrong) and _is_known(pair, wrong):
            finding = known.finding
        check = _array_check(problem, pair, wrong, finding, name)
        arrays[check.name] = check
    return CheckReport(arrays, title)


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
