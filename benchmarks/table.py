"""The figures of one run of the benchmarks as Markdown."""

from __future__ import annotations

import numpy as np

from benchmarks.claims import met

HEAD = """# What fastgrad takes

Written by `python -m benchmarks.report`, from `pytest benchmarks`. Times are medians. A ratio of
two things is the median over rounds in each of which both ran, one after the other.

The network is the one of the article, 784-50-10 in float64, with batches of 100 of the embedded
MNIST digits, where nothing else is said. `numerical_gradient` is the whole gradient, the four
arrays W1, b1, W2, b2 with 39,760 parameters, its call included.
"""
LADDER_NOTE = """The nditer loop is timed on 50 parameters and scaled to 39,760; everything else is
timed whole, the black box with the start of its processes. NumPy's products run on one thread
each. The factors are taken within rounds, and so are not exactly the quotients of the times.
"""
ANY_NOTE = """Rosenbrock's function in 1,000 variables or in those named, in NumPy or compiled by
numba. `python -m benchmarks.slow_f` measures what workers gain beside a slow function.
"""
MARKS = {True: "met", False: "**missed**", None: ""}


def markdown(run):
    """Return the report on a run, as pytest-benchmark writes it to JSON."""
    extras = [benchmark["extra_info"] for benchmark in run["benchmarks"]]
    claims = [claim for extra in extras for claim in extra.get("claims", [])]
    parts = [HEAD, machine(run["machine_info"], run["datetime"])]
    parts += ["## Claims\n", rows(("what", "figure", "limit", ""), map(claim_row, claims))]
    parts += ["## One gradient\n", LADDER_NOTE]
    parts.append(rows(("method", "time", "times faster than nditer"), map(rung_row, ladder(run))))
    parts += ["## Any function\n", ANY_NOTE]
    parts.append(rows(("benchmark", "time", "ratio", "figure"), ratios(run["benchmarks"])))
    return "\n".join(parts)


def machine(info, when):
    """Return the lines that name the machine and the versions."""
    libraries = ", ".join(f"{name} {version}" for name, version in info["libraries"].items())
    blas = ", ".join(
        f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
        for library in info["blas"]
    )
    cpu = info["cpu"].get("brand_raw", info["machine"])
    return (
        f"- Machine: {cpu}, {info['cores']} cores, {info['system']}; {when[:10]}\n"
        f"- Python {info['python_version']}, {libraries}\n"
        f"- BLAS: {blas or 'unknown'}, where no other number is given\n"
    )


def rows(head, lines):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def claim_row(claim):
    """Return the cells for one claim."""
    unit = {"x": " times", "": ""}.get(claim["unit"], f" {claim['unit']}")
    limit = ""
    for key, sign in (("at_most", "≤"), ("at_least", "≥")):
        if claim[key] is not None:
            limit = f"{sign} {claim[key]:,g}{unit}"
    return claim["what"], number(claim["figure"]) + unit, limit, MARKS[met(claim)]


def rung_row(rung):
    """Return the cells for one way to the gradient."""
    name, seconds, factor = rung
    return name, duration(seconds), number(factor)


def ladder(run):
    """Return (name, seconds, times faster than nditer) of every way, the slowest first."""
    found = [b["extra_info"] for b in run["benchmarks"] if "rung" in b["extra_info"]]
    rungs = [(extra["rung"], extra["seconds"], extra["nditer_over_ours"]) for extra in found]
    naive = float(np.median([extra["nditer_over_ours_seconds"] for extra in found]))
    return [("nditer loop (estimate)", naive, 1.0), *sorted(rungs, key=lambda rung: -rung[1])]


def ratios(benchmarks):
    """Yield the cells of the comparisons on any function."""
    for benchmark in benchmarks:
        if benchmark["group"] == "any function":
            extra = benchmark["extra_info"]
            ratio = next(name for name in extra if f"{name}_seconds" in extra)
            cells = duration(extra["seconds"]), ratio.replace("_", " "), number(extra[ratio])
            yield benchmark["name"].removeprefix("test_").replace("_", " "), *cells


def number(value):
    """Return three significant digits, thousands with a comma, no exponent."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def duration(seconds):
    """Return a time in the unit that suits it."""
    for unit, length in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{number(seconds / length)} {unit}"
    return f"{number(seconds / 1e-6)} µs"
