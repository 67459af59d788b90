"""One gradient of the article's network, 784-50-10, batch 100, by every method.

`naive` times a sample of 50 of the 39,760 parameters; its seconds for all of them, an estimate,
stand in `extra_info`, as does each method's ratio to them, taken in the same run.
"""

import timeit

import pytest


@pytest.fixture(scope="session")
def naive_seconds(naive_sample):
    """Estimate the nditer loop's time for one gradient: the best of five samples, scaled."""
    loop, factor = naive_sample
    return min(timeit.repeat(loop, number=1, repeat=5)) * factor


@pytest.fixture
def ratio(benchmark, naive_seconds):
    """Write the ratio to the nditer loop beside the benchmark's own figures."""
    yield
    if benchmark.stats is not None:  # None where timing is off
        benchmark.extra_info["nditer_seconds_estimate"] = naive_seconds
        benchmark.extra_info["times_faster_than_nditer"] = (
            naive_seconds / benchmark.stats.stats.median
        )


@pytest.mark.benchmark(group="one gradient, sample of 50 of 39,760 parameters")
def test_naive_sample_of_50_parameters(benchmark, naive_sample):
    benchmark(naive_sample[0])


@pytest.mark.usefixtures("ratio")
@pytest.mark.benchmark(group="one gradient, all 39,760 parameters")
@pytest.mark.parametrize("workers", [1, 2])
def test_full(benchmark, net, batch, workers):
    options = {"method": "full", "workers": workers}
    benchmark.pedantic(net.numerical_gradient, batch, options, rounds=1)


@pytest.mark.usefixtures("ratio")
@pytest.mark.benchmark(group="one gradient, all 39,760 parameters")
@pytest.mark.parametrize("workers", [1, 2])
def test_incremental(benchmark, net, batch, workers):
    benchmark(net.numerical_gradient, *batch, workers=workers)


@pytest.mark.usefixtures("ratio")
@pytest.mark.benchmark(group="one gradient, all 39,760 parameters")
def test_backprop(benchmark, net, batch):
    benchmark(net.gradient, *batch)
