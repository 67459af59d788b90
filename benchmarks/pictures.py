"""A picture of the benchmarks' figures: the ladder of methods."""

from __future__ import annotations

from matplotlib import pyplot

from benchmarks import table
from benchmarks.table import duration, number

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#999999"
"""Okabe and Ito's colours, which colour-blind readers tell apart."""


def ladder(run):
    """Draw the time of one gradient by each method: bars on a log axis, the slowest on top."""
    rungs = table.ladder(run)
    names, seconds, factors = zip(*rungs, strict=True)
    figure, ax = pyplot.subplots(figsize=(9, 4.2), layout="constrained")
    bars = ax.barh(names, seconds, color=[ladder_colour(name) for name in names])
    labels = [f"{duration(s)}  ({number(f)}×)" for s, f in zip(seconds, factors, strict=True)]
    ax.bar_label(bars, labels, padding=4)
    ax.set(xscale="log", xlim=(min(seconds) / 3, max(seconds) * 30))
    ax.set_title("One gradient of 784-50-10, 39,760 parameters, batch 100")
    ax.set_xlabel(
        "seconds for one gradient (in brackets: times faster than nditer in the same rounds)"
    )
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    return figure


def ladder_colour(name):
    """Return the colour of a bar: the curves, backprop that computes less, and the long ways."""
    if name.startswith("incremental"):
        return BLUE
    return GREEN if name.startswith("backprop") else GREY
