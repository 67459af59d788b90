"""One gradient of the article's network: the ladder from the nditer loop to backprop.

The nditer loop is timed on 50 of the 39,760 parameters in each round, and scaled to all of them.
"""

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.claims import claim
from benchmarks.cores import second_core
from fastgrad import TwoLayerNet, numerical_gradient


@pytest.fixture
def rung(benchmark, compare, naive_sample):
    """Return a function that times one way to the gradient against the nditer loop."""
    loop, factor = naive_sample

    def climb(name, way):
        benchmark.extra_info["rung"] = name
        return compare(way, loop, "nditer_over_ours", 100, scale=factor)

    return climb


@pytest.fixture
def long_rung(benchmark, compare, naive_sample):
    """Return the same for a way that takes seconds: once, against 20 samples of the loop."""
    loop, factor = naive_sample

    def climb(name, way):
        benchmark.extra_info["rung"] = name
        loops, options = lambda: [loop() for _ in range(20)], {"rounds": 1, "warmup_rounds": 0}
        return compare(way, loops, "nditer_over_ours", scale=factor / 20, **options)

    return climb


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="one gradient of all parameters")
def test_a_black_box(long_rung, quick, net, batch):
    # All parameters, once, with the start of the processes.
    x = {"W2": net.params["W2"]} if quick else net.params
    long_rung(
        "black box: NumPy loss, 2 processes",
        lambda: numerical_gradient(lambda _: net.loss(*batch), x, workers=2),
    )


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="one gradient of all parameters")
@pytest.mark.parametrize("workers", [1, 2])
def test_full(long_rung, quick, net, batch, workers):
    samples = slice(2 if quick else None)
    x, t = (array[samples] for array in batch)
    net.numerical_gradient(x[:1], t[:1], method="full")  # loads what has been compiled
    long_rung(
        f"full, {workers} worker{'s' * (workers > 1)}",
        lambda: net.numerical_gradient(x, t, method="full", workers=workers),
    )


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="one gradient of all parameters")
def test_incremental(rung, net, batch):
    rung("incremental, 1 worker", lambda: net.numerical_gradient(*batch))


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="one gradient of all parameters")
def test_incremental_on_two_workers(benchmark, rung, net, batch):
    ratio = rung("incremental, 2 workers", lambda: net.numerical_gradient(*batch, workers=2))
    what = "nditer loop / numerical_gradient on 2 workers, 1 BLAS thread"
    claim(benchmark, what, ratio, "x", at_least=20_000)


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="one gradient of all parameters")
def test_backprop(rung, net, batch):
    rung("backprop, NumPy", lambda: net.gradient(*batch))


@pytest.mark.benchmark(group="against backprop")
@pytest.mark.parametrize("threads", [1, 2])
def test_against_backprop(benchmark, compare, net, batch, threads):
    with threadpool_limits(threads, user_api="blas"):
        ratio = compare(
            lambda: net.numerical_gradient(*batch, workers=2),
            lambda: net.gradient(*batch),
            "backprop_over_ours",
            200,
        )
    blas = f"{threads} BLAS thread{'s' * (threads > 1)}"
    limit = 1.6 if threads == 1 else None
    claim(benchmark, f"numerical_gradient / backprop, {blas}", 1 / ratio, "x", at_most=limit)


@pytest.mark.benchmark(group="two workers")
def test_two_workers_against_one(benchmark, digits):
    (x, t), _ = digits
    x, t = x[:500], t[:500]
    net = TwoLayerNet(784, 500, 10, rng=np.random.default_rng(0))
    pairs = []

    def once():
        before = second_core()
        start = time.perf_counter()
        net.numerical_gradient(x, t)
        middle = time.perf_counter()
        net.numerical_gradient(x, t, workers=2)
        gain = (middle - start) / (time.perf_counter() - middle)
        pairs.append((gain, min(before, second_core())))

    rounds = 100
    benchmark.pedantic(once, rounds=rounds, warmup_rounds=3)
    gains, worth = np.transpose(pairs[-rounds:])  # the last: those before are the warm-up
    what = "1 worker / 2 workers, incremental, 784-500-10, batch 500"
    claim(benchmark, what, np.median(gains), "x", at_least=1.5)
    for rows, worth_it in ((worth < 1.8, "less than 1.8"), (worth >= 1.8, "1.8 or more")):
        if rows.any():
            of = f"{np.count_nonzero(rows)} rounds in which a second core is worth {worth_it}"
            claim(benchmark, f"{what}: {of}", np.median(gains[rows]), "x")
    what = "1 thread / 2 threads, products in the first-level cache, in the same rounds"
    claim(benchmark, what, np.median(worth), "x")
