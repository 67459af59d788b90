"""Pictures of the benchmarks' figures: the ladder of methods, and growth with size."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, NullLocator

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


def growth(run):
    """Draw time against size, a panel for each size, with the fitted exponents."""
    found = [benchmark["extra_info"].get("growth") for benchmark in run["benchmarks"]]
    found = [one for one in found if one]
    figure, axes = pyplot.subplots(
        1, len(found), figsize=(10, 3.8), sharey=True, layout="constrained", squeeze=False
    )
    for ax, one in zip(axes[0], found, strict=True):
        growth_panel(ax, one)
    axes[0, 0].set_ylabel("time of one gradient (ms)")
    figure.suptitle("Growth of the incremental gradient, 1 worker")
    return figure


def growth_panel(ax, one):
    """Draw one size: measured points, the fitted line, and what is held fixed."""
    sizes, milliseconds = np.array(one["sizes"]), 1e3 * np.array(one["seconds"])
    logs = np.log(sizes)
    middle = np.exp(np.mean(np.log(milliseconds) - one["exponent"] * logs))
    fit = f"fit: size$^{{{one['exponent']:.2f}}}$"
    ax.loglog(sizes, middle * sizes ** one["exponent"], color=GREY, label=fit)
    ax.loglog(sizes, milliseconds, "o", color=BLUE, label="measured")
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.set(xlabel=one["what"], title=fixed(one))
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left")


def fixed(one):
    """Name the sizes that stay the same in one panel."""
    names = {"samples": "batch", "features": "inputs", "hidden": "hidden"}
    moving = {"batch size": "samples", "inputs": "features", "hidden units": "hidden"}[one["what"]]
    start = {names[key]: value for key, value in one["start"].items() if key != moving}
    return ", ".join(f"{name} {value}" for name, value in start.items())
