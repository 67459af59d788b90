"""The gradients of the book's networks, and how they grow with depth, width and batch.

The loop is timed on a few of the parameters in each round, and scaled to all of them.
"""

import time
from functools import partial

import numpy as np
import pytest

from benchmarks.claims import claim
from benchmarks.inputs import random_batch
from fastgrad import reference
from fastgrad.networks import MultiLayerNet, SimpleConvNet, TwoLayerNet

SAMPLE = 5
"""Parameters that the loop is timed on in each round."""

DEEP = [100] * 6
NETS = {
    "784-50-10, sigmoid": (lambda rng: TwoLayerNet(784, 50, 10, rng=rng), 20_000),
    "784-100x6-10, ReLU": (lambda rng: MultiLayerNet(784, DEEP, 10, rng=rng), 1_000),
    "784-100x6-10, sigmoid": (
        lambda rng: MultiLayerNet(784, DEEP, 10, "sigmoid", "sigmoid", rng=rng),
        500,
    ),
    "784-500-500-10, ReLU": (lambda rng: MultiLayerNet(784, [500, 500], 10, rng=rng), 10_000),
    "SimpleConvNet, 28x28": (lambda rng: SimpleConvNet(rng=rng), 10_000),
}
"""A network, and how many times faster than the loop its gradient must be on two workers."""

DEEP_NET, TWO_LAYERS = "4 hidden layers of 100, batch 100", "784-50-10, batch 400"
GROWTH = {
    ("hidden layers", DEEP_NET): ((1, 2, 4), lambda k: (100, 784, [100] * (4 * k)), 2.5),
    ("hidden units", DEEP_NET): ((1, 2, 4), lambda k: (100, 784, [50 * k] * 4), 3.1),
    ("batch size", DEEP_NET): ((1, 2, 4), lambda k: (50 * k, 784, [100] * 4), 1.1),
    ("hidden units", TWO_LAYERS): ((4, 16, 64), lambda k: (400, 784, [50 * k]), 1.05),
    ("batch size", TWO_LAYERS): ((1, 4, 16), lambda k: (400 * k, 784, [50]), 1.05),
    ("inputs", TWO_LAYERS): ((1, 4, 16), lambda k: (400, 784 * k, [50]), 1.05),
}
"""What grows, in which network: by which factors, samples, inputs and hidden layers then, and the
highest exponent. In a deep network each unit passes through all behind it."""


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="gradients of networks")
@pytest.mark.parametrize("name", NETS)
def test_gradient_against_the_loop(benchmark, compare, digits, name):
    (x, t), _ = digits
    build, least = NETS[name]
    net, x, t = build(np.random.default_rng(0)), x[:100], t[:100]
    x = x.reshape(100, 1, 28, 28) if isinstance(net, SimpleConvNet) else x
    row = net.params["W2"][3:4, :SAMPLE]
    ratio = compare(
        lambda: net.numerical_gradient(x, t, workers=2),
        lambda: reference.numerical_gradient(lambda _: net.loss(x, t), row),
        "loop_over_ours",
        20 if isinstance(net, TwoLayerNet) else 5,
        scale=sum(array.size for array in net.params.values()) / row.size,
        warmup_rounds=1,
    )
    claim(benchmark, f"loop / gradient, {name}, 2 workers", ratio, "x", at_least=least)


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.benchmark(group="growth")
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize(("what", "of"), GROWTH)
def test_growth(benchmark, quick, what, of, activation):
    factors, sizes, limit = GROWTH[what, of]
    factors, calls, times = factors[: 2 if quick else 3], [], []
    for factor in factors:
        samples, inputs, hidden = sizes(factor)
        rng = np.random.default_rng(0)
        net = MultiLayerNet(inputs, hidden, 10, activation, activation, rng=rng)
        calls.append(partial(net.numerical_gradient, *random_batch(samples, inputs)))

    def once():
        marks = [time.perf_counter()]
        for call in calls:
            call()
            marks.append(time.perf_counter())
        times.append(np.diff(marks))

    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
    seconds = np.median(times[-5:], axis=0)
    slope = float(np.polyfit(np.log(factors), np.log(seconds), 1)[0])
    claim(benchmark, f"time ~ ({what})^p, {activation}, {of}: p", slope, at_most=limit)
