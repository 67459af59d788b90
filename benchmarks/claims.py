"""What a benchmark says: the figure, and the limit that it has to keep."""

from __future__ import annotations


def claim(benchmark, what, figure, unit="", *, at_most=None, at_least=None):
    """Write a figure into the benchmark's `extra_info`, from where the report takes it.

    A limit that is missed does not fail the run: a busy machine would make that a lottery. The
    report says so instead.

    Parameters
    ----------
    benchmark : BenchmarkFixture
        The benchmark that took the figure.
    what : str
        What was measured, in words.
    figure : float
        In `unit`.
    unit : str
        "s", "ms", "x" or none.
    at_most, at_least : float, optional
        The limit, one of the two or neither.
    """
    benchmark.extra_info.setdefault("claims", []).append(
        {
            "what": what,
            "figure": float(figure),
            "unit": unit,
            "at_most": at_most,
            "at_least": at_least,
        }
    )


def met(claim):
    """Tell whether a claim keeps its limit; None where it has none."""
    if claim["at_most"] is not None:
        return claim["figure"] <= claim["at_most"]
    if claim["at_least"] is not None:
        return claim["figure"] >= claim["at_least"]
    return None
