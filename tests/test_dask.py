"""The same call on a cluster: a real scheduler and two worker processes, on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import functions_of_x
import joblib
import numpy as np
import pytest

from fastgrad import numerical_gradient
from fastgrad._parallel import pools

dask = pytest.importorskip("dask")
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
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),  # each takes seconds
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


@pytest.fixture
def on_dask(cluster, always):
    cluster.scale(2)  # One that was killed on a busy machine may have taken too long to come back.
    distributed.get_client().wait_for_workers(2, timeout=120)
    with joblib.parallel_config("dask"):
        yield


def from_cluster(f, x, **options):
    gradient, info = numerical_gradient(f, x, full_output=True, **options)
    assert (info.backend, info.workers) == ("dask", 2)
    return gradient


def test_a_book_closure_over_3_000_parameters(on_dask):
    params = {"W": np.random.default_rng(0).standard_normal((3, 1000))}

    def loss(_):
        W = params["W"]
        return float(W[0] @ W[1] + W[-1, -1] ** 2 + W[1, 500] ** 3)

    before = params["W"].tobytes()
    gradient = from_cluster(loss, params["W"])
    expected = numerical_gradient(loss, params["W"], workers=1)
    assert gradient.tobytes() == expected.tobytes()
    assert np.count_nonzero(gradient) > 2000
    assert params["W"].tobytes() == before


@pytest.mark.slow  # each worker compiles it
def test_compiled_functions(on_dask):
    numba = pytest.importorskip("numba")
    x = np.random.default_rng(1).standard_normal((20, 5))
    compiled = numba.njit(lambda x: (x**3).sum())
    expected = numerical_gradient(compiled, x, workers=1)
    assert from_cluster(compiled, x).tobytes() == expected.tobytes()


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


def test_workers_that_are_killed_again_and_again_are_an_error(on_dask, cluster):
    x, here = np.arange(12.0), os.getpid()

    def f(x):
        if os.getpid() != here and x[7] > 7.00009 and x[6] == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(x.sum())

    with pytest.raises(RuntimeError, match="workers were killed again and again"):
        from_cluster(f, x)
    assert x.tolist() == list(range(12))
    cluster.scale(2)  # One that was killed on a busy machine may have taken too long to come back.
    distributed.get_client().wait_for_workers(2, timeout=120)
    from_cluster(lambda x: float(x.sum()), x)  # and the next call has workers again


def test_a_killed_worker_costs_its_points_only(on_dask, tmp_path):
    x, here, flag, log = np.arange(12.0), os.getpid(), tmp_path / "flag", tmp_path / "log"

    def f(x):
        time.sleep(0.01)
        if os.getpid() != here:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
        with open(log, "ab", buffering=0) as file:
            file.write(b".")
        return float(np.sum(x**2))

    gradient, info = numerical_gradient(f, x, full_output=True)
    assert flag.exists()
    assert gradient.tobytes() == numerical_gradient(lambda x: float(np.sum(x**2)), x).tobytes()
    # Results that the worker had not handed over may be computed again.
    assert info.evaluations <= log.stat().st_size <= info.evaluations + 12


def test_what_dask_cancels_ends(on_dask):
    pool = pools.Dask()
    future = pool.submit(time.sleep, 5)
    pool.abandon()
    with pytest.raises(CancelledError):
        future.result(timeout=60)


LOST = """
import os, subprocess, sys, threading, time
import distributed, joblib
import numpy as np
from fastgrad import numerical_gradient

def start(name, *options):
    command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--no-dashboard", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)

def f(x):
    time.sleep(0.1)
    return float(x @ x)

address = f"tcp://127.0.0.1:{sys.argv[1]}"
scheduler = start("scheduler", "--host", "127.0.0.1", "--port", sys.argv[1])
worker = start("worker", address, "--no-nanny", "--nthreads", "1")
client = distributed.Client(address, timeout=120)
client.wait_for_workers(1, timeout=120)
threading.Timer(1.0, scheduler.kill).start()
try:
    with joblib.parallel_config("dask"):
        numerical_gradient(f, np.ones(200), workers=2)
except RuntimeError as error:
    print(error, flush=True)
worker.kill()
os._exit(0)
"""


@pytest.mark.slow
def test_a_lost_scheduler_is_an_error():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", LOST, str(port)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"the Dask scheduler at tcp://127.0.0.1:{port} was lost" in done.stdout
