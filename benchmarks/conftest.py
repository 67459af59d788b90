"""What the benchmarks share: the article's network and batch, the naive loop, and how to compare.

The article's network is 784-50-10 in float64, its batch 100 of the embedded digits.
"""

import time

import joblib
import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.inputs import many_digits
from fastgrad import TwoLayerNet, load_mnist, reference

NAIVE_SAMPLE = 50


def pytest_benchmark_update_machine_info(config, machine_info):
    """Name the libraries beside the figures, and the threads that they may use."""
    modules = (np, numba, joblib)
    machine_info["libraries"] = {module.__name__: module.__version__ for module in modules}
    machine_info["cores"] = joblib.cpu_count()
    machine_info["blas"] = [
        {key: library.get(key) for key in ("internal_api", "version", "num_threads")}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


@pytest.fixture(scope="session")
def quick(pytestconfig):
    """Tell whether nothing is timed (`--benchmark-disable`), so that small sizes do."""
    return pytestconfig.getoption("benchmark_disable")


@pytest.fixture(scope="session")
def digits():
    """Return the embedded digits, (x_train, t_train), (x_test, t_test)."""
    return load_mnist()


@pytest.fixture(scope="session")
def digits_70000(quick):
    """Return images and labels of 70,000 distinct digits, or of 700."""
    return many_digits(700 if quick else 70_000)


@pytest.fixture(scope="session")
def batch(digits):
    """Return the article's batch: 100 digits."""
    (x, t), _ = digits
    return x[:100], t[:100]


@pytest.fixture(scope="session")
def net(digits):
    """Return the article's network, a little trained: at the start many values are alike."""
    (x, t), _ = digits
    rng = np.random.default_rng(0)
    net = TwoLayerNet(784, 50, 10, rng=rng)
    for _ in range(30):
        mask = rng.choice(len(x), 100)
        for name, grad in net.gradient(x[mask], t[mask]).items():
            net.params[name] -= grad
    return net


@pytest.fixture(scope="session")
def naive_sample(net, batch):
    """Return the nditer loop over one row of W1, and the factor to all parameters."""
    x, t = batch
    row = net.params["W1"][400:401, :NAIVE_SAMPLE]
    parameters = sum(array.size for array in net.params.values())
    return (
        lambda: reference.numerical_gradient(lambda _: net.loss(x, t), row),
        parameters / row.size,
    )


@pytest.fixture
def one_blas_thread():
    """Keep NumPy's products on one thread.

    More threads go on spinning after a product, and take a core from what is timed next.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def compare(benchmark):
    """Return a function that alternates two calls and writes down the ratio of their times.

    It is the median over the rounds: both calls of a round meet the machine in one mood. `theirs`
    may be a sample of its work; `scale` is then the factor to all of it. A `pause` of some tenths
    of a second lets BLAS threads that `theirs` used come to rest: they spin on for a while.
    """

    def alternate(ours, theirs, name, rounds, *, scale=1.0, warmup_rounds=3, pause=0.0):
        times = []

        def once():
            start = time.perf_counter()
            theirs()
            first = time.perf_counter() - start
            time.sleep(pause)
            start = time.perf_counter()
            ours()
            times.append((scale * first, time.perf_counter() - start))

        benchmark.pedantic(once, rounds=rounds, warmup_rounds=warmup_rounds)
        counted = times[-rounds:]  # the last: those before are the warm-up
        theirs_seconds, our_seconds = np.median(counted, axis=0)
        ratio = float(np.median([first / second for first, second in counted]))
        benchmark.extra_info |= {
            "seconds": our_seconds,
            f"{name}_seconds": theirs_seconds,
            name: ratio,
        }
        return ratio

    return alternate
