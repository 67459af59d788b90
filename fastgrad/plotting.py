"""Pictures of what was measured. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgrad.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
