"""The same call on a cluster: a real scheduler and two worker processes, on loopback."""

import os
import re
import signal
import subprocess
import sys

import functions_of_x
import joblib
import numpy as np
import pytest
from test_train_script import SCRIPT, losses

from fastgrad import numerical_gradient

distributed = pytest.importorskip("distributed")

pytestmark = [
    # The cluster's own threads and sockets outlive a test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


@pytest.fixture
def on_dask(cluster, always):
    with joblib.parallel_config("dask"):
        yield


def from_cluster(f, x, **options):
    gradient, info = numerical_gradient(f, x, full_output=True, **options)
    assert (info.backend, info.workers) == ("dask", 2)
    return gradient


def test_a_book_closure_over_300_000_parameters(on_dask):
    params = {"W": np.random.default_rng(0).standard_normal((300, 1000))}

    def loss(_):
        W = params["W"]
        return float(W[0] @ W[1] + W[-1, -1] ** 2 + W[150, 500] ** 3)

    before = params["W"].tobytes()
    gradient = from_cluster(loss, params["W"])
    expected = numerical_gradient(loss, params["W"], workers=1)
    assert gradient.tobytes() == expected.tobytes()
    assert np.count_nonzero(gradient) > 2000
    assert params["W"].tobytes() == before


def test_compiled_and_batched_functions(on_dask):
    numba = pytest.importorskip("numba")
    x = np.random.default_rng(1).standard_normal((20, 5))
    compiled = numba.njit(lambda x: (x**3).sum())
    expected = numerical_gradient(compiled, x, workers=1)
    assert from_cluster(compiled, x).tobytes() == expected.tobytes()

    def cubes(points):
        return (points**3).sum(axis=(1, 2))

    expected = numerical_gradient(cubes, x, batched=True, workers=1)
    assert from_cluster(cubes, x, batched=True).tobytes() == expected.tobytes()


def test_a_copy_that_does_not_see_x_is_refused(on_dask, cluster):
    # The workers must know the module, or they could not even unpickle its name.
    distributed.default_client().upload_file(functions_of_x.__file__)
    with pytest.raises(RuntimeError, match="does not see its copy of x"):
        from_cluster(functions_of_x.sees_only_the_global, functions_of_x.W)
    assert functions_of_x.W.tolist() == [1.0, 2.0, 3.0]


def test_an_exception_arrives(on_dask):
    def f(x):
        if x[3] > 3 and x[2] == 2:
            raise LookupError("three")
        return float(x.sum())

    with pytest.raises(LookupError, match="three"):
        from_cluster(f, np.arange(5.0))


def test_workers_that_are_killed_again_and_again_are_an_error(on_dask):
    x, here = np.arange(12.0), os.getpid()

    def f(x):
        if os.getpid() != here and x[7] > 7.00009 and x[6] == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(x.sum())

    with pytest.raises(RuntimeError, match="workers were killed again and again"):
        from_cluster(f, x)
    assert x.tolist() == list(range(12))
    distributed.get_client().wait_for_workers(2, timeout=30)
    from_cluster(lambda x: float(x.sum()), x)  # and the next call has workers again


@pytest.mark.slow
def test_the_training_script_on_a_cluster(cluster, tmp_path):
    options = ["--method", "full", "--hidden-size", "10", "--iterations", "2", "--seed", "0"]
    remote = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
    results = [
        subprocess.run(
            [sys.executable, SCRIPT, *options, *extra, "--output-dir", tmp_path],
            capture_output=True, text=True, check=True,
        ).stdout
        for extra in ([], remote)
    ]  # fmt: skip
    assert losses(results[0]) == losses(results[1])
    assert len(losses(results[1])) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "dask"], "need each other"),
        (["--scheduler", "tcp://127.0.0.1:1"], "need each other"),
    ],
)
def test_half_of_the_options_is_refused(options, message, tmp_path):
    result = subprocess.run(
        [sys.executable, SCRIPT, *options, "--output-dir", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert re.search(message, result.stderr)
