"""What it costs to spread a gradient over two threads: one in which there is nothing to do."""

import pytest

from benchmarks.claims import claim
from fastgrad.engine import differentiate
from fastgrad.executors import choose
from fastgrad.objectives.base import Cost, OneEach, PlainArrays


class Nothing(OneEach, PlainArrays):
    """As many rows as the article's network has, and no work in them."""

    items = size = 785 + 51

    def cost(self):
        """Promise just enough work to be spread."""
        return Cost(3e-3, 3e-3)

    def partials(self, block, out):
        """Do nothing."""


@pytest.mark.benchmark(group="dispatch")
def test_dispatch_of_an_empty_gradient(benchmark):
    executor = choose(2, "threads")
    used = benchmark.pedantic(
        lambda: differentiate(Nothing(), executor)[1], rounds=500, warmup_rounds=20
    )
    assert used is executor
    if benchmark.stats is not None:  # None where timing is off
        milliseconds = 1e3 * benchmark.stats.stats.median
        what = "dispatch of an empty gradient to 2 threads"
        claim(benchmark, what, milliseconds, "ms", at_most=0.3)
