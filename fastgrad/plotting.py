"""Pictures of what was measured. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastgrad._typing import Array
from fastgrad.check_report import CheckReport
from fastgrad.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 3
"""Below the largest difference, over which the colours of a failed check are logarithmic."""

CIRCLED = 50
"""So many wrong entries are circled; an entry may be smaller than a pixel."""


def plot_accuracy(history: History, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the accuracies on the training and the test images over the iterations.

    The graph of *Deep Learning from Scratch*, section 4.5: training solid, test dashed.

    Parameters
    ----------
    history : History
        What `fastgrad.training.train` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it, in a new figure.
    title : str, optional
        Written above the axes.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    # A lone point draws no line.
    marker = "o" if len(history.evaluated) < 2 else None
    ax.plot(history.evaluated, history.train_accuracy, marker=marker, label="train")
    ax.plot(history.evaluated, history.test_accuracy, "--", marker=marker, label="test")
    ax.set(xlabel="iteration", ylabel="accuracy", ylim=(0, 1), title=title)
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    return ax


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
    ax : matplotlib.axes.Axes, optional
        Where to draw; without it, in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no array of that name, or nothing in it.
    """
    arrays = {key: array for key, array in report.arrays.items() if array.gradient.size}
    if name is None and arrays:
        name = max(arrays, key=lambda key: (arrays[key].failing, arrays[key].largest_absolute))
    if name not in arrays:
        raise ValueError(f"name must be one of {', '.join(arrays) or 'no arrays'}, got {name!r}")
    array = arrays[name]
    difference, wrong = _table(array.gradient - array.numerical), _table(array.wrong)
    labels = ["", "index"] if array.gradient.ndim < 2 else ["first index", "second index"]
    if array.gradient.ndim > 2:
        labels[1] = "other indices, in order"
    if difference.shape[0] > difference.shape[1]:
        difference, wrong, labels = difference.T, wrong.T, labels[::-1]
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    _heat_map(ax, difference, logarithmic=not array.passed)
    if 0 < array.failing <= CIRCLED:
        rows, columns = np.nonzero(wrong)
        ax.scatter(columns, rows, s=60, facecolors="none", edgecolors="black", clip_on=False)
    ax.set(xlabel=labels[1], ylabel=labels[0], title=f"{name}: {array.verdict}")
    if array.gradient.ndim < 2:
        ax.set_yticks([])
    return ax


def _table(array: Array) -> Array:
    """Return any array in two dimensions, the first its rows."""
    rows = np.atleast_2d(array)
    return rows.reshape(len(rows), -1)


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
