"""How the time of one gradient grows with batch, hidden units and inputs, from 1 to 16 times.

On one worker, from sizes (batch 400, 784-50-10, and 200 hidden units where their number grows) at
which one gradient takes some milliseconds: the 0.1 ms of the call itself then hides no growth.
"""

import time

import numpy as np
import pytest

from benchmarks.claims import claim
from benchmarks.inputs import random_batch
from fastgrad import TwoLayerNet

FACTORS = (1, 2, 4, 8, 16)
STARTS = {
    "batch size": {"samples": 400, "features": 784, "hidden": 50},
    "hidden units": {"samples": 400, "features": 784, "hidden": 200},
    "inputs": {"samples": 400, "features": 784, "hidden": 50},
}
GROWS = {"batch size": "samples", "hidden units": "hidden", "inputs": "features"}


def make_gradient(samples, features, hidden):
    """Return a call that takes one gradient of a network of that size."""
    x, t = random_batch(samples, features)
    net = TwoLayerNet(features, hidden, 10, rng=np.random.default_rng(0))
    return lambda: net.numerical_gradient(x, t)


def exponent(sizes, seconds):
    """Return the slope of the straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@pytest.mark.benchmark(group="growth")
@pytest.mark.parametrize("what", STARTS)
def test_growth(benchmark, quick, what):
    start, grows = STARTS[what], GROWS[what]
    factors = FACTORS[:2] if quick else FACTORS
    sizes = [start[grows] * factor for factor in factors]
    calls = [make_gradient(**{**start, grows: size}) for size in sizes]
    times = []

    def once():
        marks = [time.perf_counter()]
        for call in calls:
            call()
            marks.append(time.perf_counter())
        times.append(np.diff(marks))

    benchmark.pedantic(once, rounds=10, warmup_rounds=2)
    counted = times[-10:]
    slope = float(np.median([exponent(sizes, seconds) for seconds in counted]))
    benchmark.extra_info["growth"] = {
        "what": what,
        "start": start,
        "sizes": sizes,
        "seconds": np.median(counted, axis=0).tolist(),
        "exponent": slope,
    }
    claim(benchmark, f"time ~ ({what})^p, {sizes[0]} to {sizes[-1]}: p", slope, at_most=1.05)
