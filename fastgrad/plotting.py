"""Pictures of what was measured. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastgrad._checking.report import CheckReport
from fastgrad._checks import check_kind
from fastgrad._derivatives.step_sweep import StepSweep
from fastgrad._structures import Parameters
from fastgrad._typing import Array
from fastgrad.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 6  # curves that the eye can follow
ABOVE = 5.0  # how far above the errors the slopes of theory are drawn, a factor
DECADES = 3  # below the largest difference, in which the colours of a failed check are logarithmic
CIRCLED = 50  # wrong entries at most are circled: an entry may be smaller than a pixel


def plot_accuracy(history: History, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the accuracies on the training and the test images over the iterations.

    The graph of *Deep Learning from Scratch*, section 4.5: training solid, test dashed.

    Parameters
    ----------
    history : History
        What `fastgrad.training.train` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it, in a new figure. It is returned.
    title : str, optional
        Written above the axes.
    """
    check_kind("history", history, History, "what train returns", needed=True)
    ax = ax or _new_axes()
    # A lone point draws no line.
    marker = "o" if len(history.evaluated) < 2 else None
    ax.plot(history.evaluated, history.train_accuracy, marker=marker, label="train")
    ax.plot(history.evaluated, history.test_accuracy, "--", marker=marker, label="test")
    ax.set(xlabel="iteration", ylabel="accuracy", ylim=(0, 1), title=title)
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    return ax


def plot_step_sweep(
    sweep: StepSweep, ax: Axes | None = None, *, mark: Any = None, title: str | None = None
) -> Axes:
    """Draw the errors of a sweep against the step, on log axes: the V of rounding and truncation.

    Up to six coordinates are drawn each by itself, of more the median and the range. Black lines
    above the branches have the slopes of theory, -1 for rounding and the formula's order for
    truncation; they are left out where the largest errors do not follow them. Errors of
    exactly 0 cannot be drawn.

    Parameters
    ----------
    sweep : StepSweep
        What `fastgrad.step_sweep` returns.
    ax, title
        As in `plot_accuracy`.
    mark : float, or array or structure of floats, optional
        Steps to mark, such as `fastgrad.Info` has them in `step`.
    """
    check_kind("sweep", sweep, StepSweep, "what step_sweep returns", needed=True)
    marks = np.empty(0) if mark is None else np.unique(Parameters(mark, "mark").vector())
    ax = ax or _new_axes()
    errors = np.where(sweep.errors > 0, sweep.errors, np.nan).astype(float)
    seen = np.isfinite(errors).any(axis=1)
    steps, errors = sweep.steps[seen], errors[seen]
    lowest, middle, highest = (of(errors, axis=1) for of in (np.nanmin, np.nanmedian, np.nanmax))
    estimated = "" if sweep.source == "exact" else f"\n(truth: {sweep.source})"
    ax.set(xscale="log", yscale="log", xlabel="step h", title=title)
    ax.set_ylabel(f"error of the derivative{estimated}")
    if len(sweep.names) <= MOST_LINES:
        for name, column in zip(sweep.names, errors.T, strict=True):
            ax.plot(steps, column, "o-", markersize=4, label=name)
    else:
        ax.fill_between(steps, lowest, highest, alpha=0.2, label="all coordinates")
        ax.plot(steps, middle, "o-", markersize=4, label=f"median of {len(sweep.names)}")
    if len(steps):
        _guides(ax, steps, highest, sweep.order)
    for k, h in enumerate(marks):
        mark_step(ax, h, "" if k else f"h = {h:.2g}" if len(marks) == 1 else "steps marked")
    ax.margins(y=0.1)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def mark_step(ax: Axes, h: float, text: str) -> None:
    """Mark a step by a thin line; the legend has the text, or nothing if that is empty."""
    ax.axvline(h, color="gray", linewidth=1, label=text)


def _guides(ax: Axes, steps: Array, errors: Array, order: int) -> None:
    """Draw the slopes of theory above both branches, where the errors follow them."""
    tip = np.flatnonzero(errors <= 10 * errors.min())
    left = slice(0, tip[0]), -1, "rounding: slope -1", ":"
    # Where the step is as long as what f is made of, no power of it rules.
    right = slice(tip[-1] + 1, tip[-1] + 5), order, f"truncation: slope {order}", "--"
    for part, slope, label, style in (left, right):
        logs = np.log(steps[part]), np.log(errors[part])
        if len(logs[0]) < 3 or abs(np.polyfit(*logs, 1)[0] - slope) > 0.3 * abs(slope):
            continue
        line = ABOVE * np.exp(np.mean(logs[1] - slope * logs[0])) * steps[part] ** float(slope)
        ax.plot(steps[part], line, style, color="black", label=label)


def _new_axes() -> Axes:
    from matplotlib import pyplot

    new: Axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")[1]
    return new


def plot_check(report: CheckReport, name: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw where a gradient differs from the numerical one: a heat map of one array.

    Red is too large, blue too small, black not finite. Where entries are wrong, the colours are
    logarithmic over three decades, so that small faults show beside large ones; few of them are
    circled. A tall array lies on its side.

    Parameters
    ----------
    report : CheckReport
        What `fastgrad.check_gradient` returns.
    name : str, optional
        Of the array, as in ``report.arrays``; by default the one with the most wrong entries, or
        the largest difference.
    ax
        As in `plot_accuracy`.
    """
    check_kind("report", report, CheckReport, "what check_gradient returns", needed=True)
    arrays = {key: array for key, array in report.arrays.items() if array.gradient.size}
    if name is None and arrays:
        name = max(arrays, key=lambda key: (arrays[key].failing, arrays[key].largest_absolute))
    if name not in arrays:
        raise ValueError(f"name must be one of {', '.join(arrays) or 'no arrays'}, got {name!r}")
    array = arrays[name]
    rows = len(np.atleast_2d(array.gradient))
    difference = (array.gradient - array.numerical).reshape(rows, -1)
    wrong = array.wrong.reshape(rows, -1)
    labels = ["", "index"] if array.gradient.ndim < 2 else ["first index", "second index"]
    if array.gradient.ndim > 2:
        labels[1] = "other indices, in order"
    if difference.shape[0] > difference.shape[1]:
        difference, wrong, labels = difference.T, wrong.T, labels[::-1]
    ax = ax or _new_axes()
    _heat_map(ax, difference, logarithmic=not array.passed)
    if 0 < array.failing <= CIRCLED:
        y, x = np.nonzero(wrong)
        ax.scatter(x, y, s=60, facecolors="none", edgecolors="black", clip_on=False)
    ax.set(xlabel=labels[1], ylabel=labels[0], title=f"{name}: {array.verdict}")
    if array.gradient.ndim < 2:
        ax.set_yticks([])
    return ax


def _heat_map(ax: Axes, difference: Array, *, logarithmic: bool) -> None:
    from matplotlib.colors import Normalize, SymLogNorm

    finite = np.abs(difference[np.isfinite(difference)])
    largest = float(finite.max(initial=0)) or 1.0
    norm = Normalize(-largest, largest)
    if logarithmic:
        # A power of ten, or labels run into each other.
        linear = 10.0 ** (np.floor(np.log10(largest)) - DECADES)
        norm = SymLogNorm(linear, vmin=-largest, vmax=largest)
    image = ax.imshow(difference, "RdBu_r", norm, aspect="auto", interpolation="nearest")
    ax.set_facecolor("black")  # Seen where a difference is not finite.
    ax.locator_params(integer=True)
    ax.figure.colorbar(image, ax=ax, label="gradient - numerical gradient")
