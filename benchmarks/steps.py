"""Accuracy, cost and error estimates against other packages: ``python -m benchmarks.steps``.

Run it in the repository, with ``pip install -e '.[compare]'``; it writes results/steps.md.
"""

from __future__ import annotations

import platform
import time
import warnings
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from benchmarks import deceivers
from benchmarks.functions import GROUPS
from benchmarks.report import RESULTS
from benchmarks.rivals import installed
from benchmarks.table import duration, number, rows
from fastgrad import __version__
from fastgrad._files import replacing

FEW = 16
"""Errors of so many units of rounding and less are equal."""

OURS = 'fastgrad, h="auto"'
SEARCHED = (OURS, 'fastgrad, h="quick"')
RIVALS = ("numdifftools", "jacobi")

TEXT = f"""# Steps that choose themselves

Written by `python -m benchmarks.steps`: gradients of functions whose derivatives are known in
closed form (benchmarks/functions.py), each package with its defaults, fastgrad on one worker.

The *unit* of a coordinate is what rounding makes unavoidable: the rounding of f divided by the
length over which f changes in that coordinate, plus eps |derivative|. The length is stated with
each function, by default |x|. The rounding of f is its largest difference from itself in extended
precision at 50 points nearby, and not less than eps |f|; where f has noise, it is the noise.
The error of a gradient is that of its worst coordinate, in units. One gradient is *at least as
accurate* as another if its error is not larger, or not larger than {FEW} units: with the steps of
extrapolation, a fraction of the length, that is the rounding of single values of f.

Relative errors are those of coordinates, divided by the larger of |derivative| and |f| / length.
A value that is not finite, or none at all, is an infinite error. Evaluations are counted in f
itself. Seconds are for all gradients once. *Covered* is the share of coordinates in which the error
that a package estimates is not smaller than the true one.
"""

DECEIVED = """## Functions that deceive

Periods that steps span, lines far from 0, bounds, noise, lengths that |x| does not tell
(benchmarks/deceivers.py). *Wrong* is a derivative that is off by more than 1e-5 of what
derivatives of that function are, *silently wrong* one that is off by more than ten times its
estimated error as well, or has none. One-sided derivatives are asked for as each package wants.
Steps that are searched are tried at all points, everything else at every tenth.

Silently wrong, wrong of so many / evaluations a point; a dash without one-sided derivatives.
"""


class Outcome(NamedTuple):
    """One gradient by one package."""

    units: float
    relative: np.ndarray
    evaluations: int
    seconds: float
    covered: np.ndarray | None


def measure(way, problem):
    """Return what a way makes of a problem."""
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return float(problem.f(x))

    start = time.perf_counter()
    try:
        gradient, estimate = way(f, problem.x.copy())
    except (ArithmeticError, ValueError):  # left the domain of f
        gradient, estimate = np.full(problem.x.shape, np.nan), None
    seconds = time.perf_counter() - start
    truth = problem.truth()
    wrong = np.nan_to_num(abs(np.reshape(gradient, truth.shape) - truth), nan=np.inf)
    relative = wrong / np.maximum(abs(truth), abs(float(problem.f(problem.x))) / problem.lengths)
    covered = None if estimate is None else wrong <= np.reshape(estimate, truth.shape)
    return Outcome((wrong / problem.unit()).max(), relative, count, seconds, covered)


def compare():
    """Return the outcomes: way -> name of the problem -> outcome."""
    ways = installed()
    problems = [problem for group in GROUPS.values() for problem in group]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for way in ways.values():
            measure(way, problems[0])  # the first call may import
        return {
            name: {problem.name: measure(way, problem) for problem in problems}
            for name, way in ways.items()
        }


def deceive():
    """Return what deceives: way -> group -> (silently wrong, wrong, evaluations, points)."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {
            name: {
                group: counted(way, cases if name in SEARCHED else cases[::10])
                for group, cases in deceivers.groups().items()
            }
            for name, way in installed().items()
        }


def counted(way, cases):
    """Return how often a way is deceived; None if it has no one-sided formula."""
    silent = wrong = evaluations = 0

    def f(x):
        nonlocal evaluations
        evaluations += 1
        return case.f(float(x[0]))

    for case in cases:
        try:
            gradient, estimate = way(f, np.array([case.x]), case.side)
        except NotImplementedError:
            return None
        except (ArithmeticError, ValueError):  # left the domain of f
            gradient, estimate = np.nan, None
        error = np.nan_to_num(abs(float(np.squeeze(gradient)) - case.truth), nan=np.inf)
        bad = error > 1e-5 * max(case.size, abs(case.truth))
        wrong += bad
        silent += bad and not (estimate is not None and error <= 10 * float(np.squeeze(estimate)))
    return silent, wrong, evaluations, len(cases)


def deceived(found):
    """Yield a line for each group of functions."""
    for group in found[OURS]:
        cells = []
        for counts in (groups[group] for groups in found.values()):
            if counts is None:
                cells.append("–")
            else:
                silent, wrong, evaluations, points = counts
                cells.append(f"{silent}, {wrong} of {points:,} / {evaluations / points:.1f}")
        yield (group, *cells)


def as_accurate(ours, theirs):
    """Tell whether one outcome is at least as accurate as another."""
    return ours.units <= max(theirs.units, FEW)


def summary(outcomes):
    """Yield the cells for each package."""
    for name, found in outcomes.items():
        relative = np.concatenate([outcome.relative for outcome in found.values()])
        evaluations = sum(outcome.evaluations for outcome in found.values())
        seconds = sum(outcome.seconds for outcome in found.values())
        covered = [outcome.covered for outcome in found.values() if outcome.covered is not None]
        yield (
            name,
            f"{np.median(relative):.1e}",
            f"{relative.max():.1e}",
            f"{sum(as_accurate(outcomes[OURS][key], found[key]) for key in found)} of {len(found)}",
            f"{evaluations:,}",
            number(evaluations / len(relative)),
            duration(seconds),
            f"{np.concatenate(covered).mean():.1%}" if covered else "none",
        )


def claims(outcomes, found):
    """Yield the cells for each claim that can be checked."""
    ours = outcomes[OURS]
    rivals = {name: outcomes[name] for name in RIVALS if name in outcomes}
    for name, theirs in rivals.items():
        wins = np.mean([as_accurate(ours[key], theirs[key]) for key in ours])
        yield f"at least as accurate as {name}", f"{wins:.1%} of the functions", "≥ 90 %"
    if len(rivals) > 1:
        both = [
            all(as_accurate(ours[key], theirs[key]) for theirs in rivals.values()) for key in ours
        ]
        yield "at least as accurate as both", f"{np.mean(both):.1%} of the functions", "≥ 90 %"
    total = sum(outcome.evaluations for outcome in ours.values())
    for name, theirs in rivals.items():
        other = sum(outcome.evaluations for outcome in theirs.values())
        fewer = np.mean([ours[key].evaluations < theirs[key].evaluations for key in ours])
        yield (
            f"evaluations, of those of {name}",
            f"{total / other:.0%}, and fewer on {fewer:.1%} of the functions",
            "< 100 %",
        )
    covered = np.concatenate([outcome.covered for outcome in ours.values()]).mean()
    yield "error covered by its estimate", f"{covered:.1%} of the coordinates", "≥ 95 %"
    silent, _, _, points = np.sum(list(found[OURS].values()), axis=0)
    yield "silently wrong where functions deceive", f"{silent} of {points:,} points", "≤ 1 in 1,000"


def details(outcomes):
    """Yield a line for each function: error in units and evaluations a coordinate."""
    for group, problems in GROUPS.items():
        for problem in problems:
            cells = []
            for found in outcomes.values():
                outcome = found[problem.name]
                cells.append(f"{outcome.units:.2g} / {outcome.evaluations / problem.x.size:.3g}")
            yield (group, problem.name, str(problem.x.size), *cells)


def markdown(outcomes, found):
    """Return the report."""
    names = ("numpy", *(name for name in outcomes if not name.startswith("fastgrad")))
    versions = ", ".join(
        [f"fastgrad {__version__}", *(f"{name} {version(name)}" for name in names)]
    )
    head = ("", "median relative error", "worst", "`auto` at least as accurate")
    head += ("evaluations", "a coordinate", "seconds", "covered")
    return "\n".join(
        [
            TEXT,
            f"{platform.machine()}, Python {platform.python_version()}, {versions}.\n",
            rows(("what `auto` claims", "figure", "limit"), claims(outcomes, found)),
            rows(head, summary(outcomes)),
            DECEIVED,
            rows(("", *found), deceived(found)),
            "## Each function\n\nError in units / evaluations a coordinate.\n",
            rows(("", "function", "n", *outcomes), details(outcomes)),
        ]
    )


def main():
    """Measure and write."""
    text = markdown(compare(), deceive())
    with replacing(RESULTS / "steps.md", "w") as file:
        file.write(text)
    print(text)


if __name__ == "__main__":
    main()
