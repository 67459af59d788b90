"""The same bits for any number of workers and any backend, for every derivative."""

import itertools
import time

import joblib
import numba
import numpy as np
import pytest
import threadpoolctl
from slow_functions import slow, start_processes

from fastgrad import hessian, hessian_vector_product, jacobian, numerical_gradient, reference

WAYS = {
    "threads": {"workers": 5, "backend": "threads"},
    "processes": {"workers": 2, "backend": "processes"},
    "threading": {"workers": 2, "backend": "threading"},
    "dask": {},
}
# It starts processes for every call.
MULTIPROCESSING = {"workers": 2, "backend": "multiprocessing"}

# The cluster's own threads and sockets outlive a test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


@pytest.fixture(scope="module")
def processes():
    start_processes()


@pytest.fixture(params=WAYS)
def options(request):
    if request.param == "dask":
        request.getfixturevalue("cluster")
        with joblib.parallel_config("dask"):
            yield {}
        return
    if request.param == "processes":
        request.getfixturevalue("processes")
    yield WAYS.get(request.param, MULTIPROCESSING)


X = np.random.default_rng(5).standard_normal(7)
A = np.random.default_rng(6).standard_normal((7, 7))


def bits_of(seconds):
    """Return f whose value depends on the order of its additions, and f of many values."""
    B = A.copy()  # of its own: a worker gets it with f

    def f(x):
        return float(np.sum(np.tanh(B @ x.ravel()) ** 3) / 3 + np.exp(x).sum())

    def many(x):
        return np.tanh(B @ x.ravel())

    return slow(f, seconds), slow(many, seconds)


DERIVATIVES = {
    "gradient": lambda f, _, **options: numerical_gradient(f, X, **options),
    "5 by 1": lambda f, _, **options: numerical_gradient(f, X.reshape(7, 1), 0.01, **options),
    "forward": lambda f, _, **options: numerical_gradient(f, X, stencil="forward", **options),
    "five-point": lambda f, _, **options: numerical_gradient(
        f, X, 0.05, stencil="five-point", **options
    ),
    "bounds": lambda f, _, **options: numerical_gradient(
        f, X, 0.05, bounds=(X.min(), X.max()), **options
    ),
    "auto": lambda f, _, **options: numerical_gradient(f, X, "auto", **options),
    "quick": lambda f, _, **options: numerical_gradient(f, X, "quick", **options),
    "jacobian": lambda _, many, **options: jacobian(many, X, **options),
    "groups": lambda _, many, **options: jacobian(
        many, X, sparsity=np.ones((7, 7), bool), **options
    ).toarray(),
    "hessian": lambda f, _, **options: hessian(f, X, **options),
    "product": lambda f, _, **options: hessian_vector_product(f, X, np.cos(X), **options),
}


@pytest.fixture(scope="module")
def serial():
    """Return the bits of one worker, for each derivative."""
    f, many = bits_of(0.0)
    return {name: call(f, many, workers=1).tobytes() for name, call in DERIVATIVES.items()}


@pytest.mark.parametrize(
    ("options", "name"),
    [*itertools.product(["threads", "processes"], DERIVATIVES),
     *itertools.product(["threading", "dask"], ["gradient", "auto", "hessian"])],
    indirect=["options"],
)  # fmt: skip
def test_the_bits_are_those_of_one_worker(name, options, serial):
    before = X.tobytes()
    f, many = bits_of(0.006)
    assert DERIVATIVES[name](f, many, **options).tobytes() == serial[name]
    assert X.tobytes() == before


def test_one_worker_has_the_bits_of_the_loop(serial):
    f, _ = bits_of(0.0)
    assert serial["gradient"] == reference.numerical_gradient(f, X.copy()).tobytes()


@pytest.mark.parametrize("options", [*WAYS, "multiprocessing"], indirect=True)
def test_workers_did_it(options):
    x = np.linspace(1.0, 2.0, 20)
    f = slow(lambda x: float(np.sum(x**3)), 0.02)
    gradient, info = numerical_gradient(f, x, full_output=True, **options)
    assert gradient.tobytes() == numerical_gradient(lambda x: float(np.sum(x**3)), x).tobytes()
    assert info.workers == options.get("workers", 2)
    assert info.backend == options.get("backend", "dask")


def test_closures_have_the_bits_of_the_loop(options):
    params = {"W": np.random.default_rng(7).standard_normal((2, 3)), "b": np.zeros(3)}
    before = {name: array.tobytes() for name, array in params.items()}
    inputs = np.random.default_rng(8).random((5, 2))

    def loss(_):
        time.sleep(0.006)
        y = np.tanh(inputs @ params["W"] + params["b"])
        return float(np.mean(np.exp(y[:, 0]) / np.exp(y).sum(axis=1)))

    whole = numerical_gradient(loss, params, **options)
    alone = {name: numerical_gradient(loss, array, **options) for name, array in params.items()}
    for name, array in params.items():
        assert array.tobytes() == before[name]
        expected = reference.numerical_gradient(loss, array)
        assert whole[name].tobytes() == alone[name].tobytes() == expected.tobytes()


def test_a_regularised_closure_has_the_bits_of_the_loop(options):
    W = np.random.default_rng(9).standard_normal((3, 3))

    def loss(w):
        time.sleep(0.006)
        return float(np.sum(np.sin(W) ** 3)) + 0.05 * float(np.sum(w**2))

    ours = numerical_gradient(loss, W, **options)
    assert ours.tobytes() == reference.numerical_gradient(loss, W).tobytes()


@pytest.mark.parametrize("closure", [True, False])
def test_fortran_s_memory_order_has_its_bits(closure, options):
    x = np.asfortranarray(np.random.default_rng(10).standard_normal((3, 4)))

    def f(w):
        time.sleep(0.006)
        return float(np.sum((x if closure else w) ** 3))

    assert numerical_gradient(f, x, **options).tobytes() == (
        reference.numerical_gradient(f, x.copy("K") if not closure else x).tobytes()
    )


def test_a_structure_has_its_bits(options):
    x = {"a": [np.linspace(0, 1, 4), 2.0], "b": (np.float32([1, 2]), np.ones((1, 2)))}

    def f(p):
        time.sleep(0.006)
        b = p["b"]
        return float(np.sum(np.sin(p["a"][0])) * p["a"][1] + np.sum(b[0] ** 2) * np.sum(b[1] ** 3))

    ours = numerical_gradient(f, x, **options)
    theirs = numerical_gradient(f, x, workers=1)
    assert repr(ours) == repr(theirs)


def test_a_float32_function_has_its_bits(options):
    def f(x):
        time.sleep(0.006)
        return np.float32(np.sum(x**3))

    ours = numerical_gradient(f, X, **options)
    assert ours.tobytes() == numerical_gradient(f, X, workers=1).tobytes()


def test_an_f_that_writes_has_its_bits(options):
    def f(x):
        time.sleep(0.006)
        x /= x.sum()
        x.sort()
        return float(x @ np.arange(x.size))

    ours = numerical_gradient(f, X, **options)
    assert ours.tobytes() == reference.numerical_gradient(lambda x: f(x.copy()), X).tobytes()


def test_batches_do_not_depend_on_workers(options):
    # The product of a batch rounds as the batch is long.
    B = np.random.default_rng(11).standard_normal((60, 20))
    x = np.random.default_rng(12).standard_normal(60)

    def products(points):
        time.sleep(0.02)
        return np.tanh(points @ B).sum(axis=1)

    ours = numerical_gradient(products, x, batched=True, **options)
    assert ours.tobytes() == numerical_gradient(products, x, batched=True, workers=1).tobytes()


def test_products_use_as_many_blas_threads_as_the_caller(options):
    # OpenBLAS sums a long dot product in as many parts as it has threads.
    v = np.random.default_rng(13).standard_normal(50_000)

    def f(x):
        time.sleep(0.006)
        w = np.concatenate([x, v])
        return float(w @ w)

    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            ours = numerical_gradient(f, X, **options)
            assert ours.tobytes() == numerical_gradient(f, X, workers=1).tobytes()


@pytest.fixture(scope="module")
def compiled():
    @numba.njit
    def f(x):
        total = 0.0
        for _ in range(20_000):
            total += np.sum(np.sin(x)) * np.sum(x)
        return total

    return f


@pytest.mark.parametrize("way", ["threads", "threading"])
def test_a_compiled_function_has_its_bits(way, compiled):
    ours = numerical_gradient(compiled, X, **WAYS[way])
    assert ours.tobytes() == numerical_gradient(compiled, X, workers=1).tobytes()


def test_errors_are_nan_at_the_same_places(options):
    def f(x):
        time.sleep(0.006)
        if x[2] > 3 or x[5] < 6:
            raise ValueError
        return float(np.sum(np.sin(x)))

    x = np.arange(1.0, 8.0)
    ours, info = numerical_gradient(f, x, errors="nan", full_output=True, **options)
    theirs, alone = numerical_gradient(f, x, errors="nan", full_output=True, workers=1)
    assert ours.tobytes() == theirs.tobytes()
    assert np.flatnonzero(np.isnan(ours)).tolist() == [2, 5]
    assert len(info.failures) == len(alone.failures) == 2
