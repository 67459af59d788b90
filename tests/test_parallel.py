"""`numerical_gradient` on several workers: real threads, real processes, real signals."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import functions_of_x
import joblib
import numba
import numpy as np
import pytest
import threadpoolctl
from joblib.externals.loky import get_reusable_executor
from tolerances import TRUNCATION

from fastgrad import _shared_memory, numerical_gradient
from fastgrad.stopping import NOTICE

BACKENDS = ["processes", "threads", "threading", "multiprocessing"]
TESTS = Path(__file__).parent


def in_workers(f, x, **options):
    """Return the gradient from two workers, and make sure that it came from there."""
    gradient, info = numerical_gradient(f, x, workers=2, full_output=True, **options)
    assert info.workers == 2
    assert info.backend == options.get("backend", info.backend)
    return gradient


def same(first, second):
    return first.tobytes() == second.tobytes()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bits_are_those_of_one_worker(backend):
    x = np.random.default_rng(1).standard_normal((7, 11))
    f = functions_of_x.slow_sum_of_squares
    before = x.tobytes()
    assert same(in_workers(f, x, backend=backend), numerical_gradient(f, x))
    assert x.tobytes() == before


@pytest.mark.usefixtures("always")
def test_a_call_leaves_nothing_behind_but_processes():
    shared = Path(_shared_memory.FOLDER)
    if not os.access(shared, os.W_OK):
        pytest.skip("no shared memory here")
    data = np.ones(2**18)  # 2 MiB: too large for a pipe
    left = []
    for i in range(12):
        in_workers(lambda x, i=i: float(x @ x + data[i]), np.ones(5), backend="processes")
        left.append((atexit._ncallbacks(), len(list(shared.glob(f"*{os.getpid()}*")))))
    assert left[-1] == left[0]  # the first call may have opened the pool


@pytest.mark.usefixtures("always")
def test_processes_that_others_use_resize_and_end():
    x = np.arange(9.0)
    f = functions_of_x.rosenbrock
    expected = numerical_gradient(f, x)
    call = joblib.delayed(os.getpid)
    for between in (
        lambda: get_reusable_executor().shutdown(wait=True),
        lambda: joblib.Parallel(3)(call() for _ in range(3)),
        lambda: joblib.Parallel(2, idle_worker_timeout=7)(call() for _ in range(2)),
    ):
        assert same(in_workers(f, x, backend="processes"), expected)
        between()
        assert same(in_workers(f, x, backend="processes"), expected)
    with ThreadPoolExecutor(2) as threads:
        done = threads.map(lambda _: in_workers(f, x, backend="processes"), range(4))
        assert all(same(gradient, expected) for gradient in done)


@pytest.mark.usefixtures("always")
def test_there_are_as_many_processes_as_were_asked_for_last(tmp_path):
    def f(x):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.005)
        return float(x.sum())

    for workers in (3, 2):
        numerical_gradient(f, np.ones(40), workers=workers, backend="processes")
        pids = {path.name for path in tmp_path.iterdir()} - {str(os.getpid())}
        assert 1 < len(pids) <= workers
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", "CF")
def test_a_book_closure_finds_its_own_copy_of_x(backend, order):
    params = {"W": np.asarray(np.random.default_rng(2).standard_normal((5, 6)), order=order)}

    def loss(_):
        return float(np.sum(params["W"] ** 3))

    serial = numerical_gradient(loss, params["W"])
    assert same(in_workers(loss, params["W"], backend=backend), serial)
    whole = numerical_gradient(loss, params)["W"]
    assert same(in_workers(loss, params, backend=backend)["W"], whole)
    assert same(whole, serial)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_book_closure_over_300_000_parameters(backend):
    params = {"W": np.random.default_rng(0).standard_normal((300, 1000))}

    def loss(_):
        W = params["W"]
        return float(W[0] @ W[1] + W[-1, -1] ** 2 + W[150, 500] ** 3)

    before = params["W"].tobytes()
    serial = numerical_gradient(loss, params["W"])
    assert same(in_workers(loss, params["W"], backend=backend), serial)
    assert np.count_nonzero(serial) > 2000
    assert params["W"].tobytes() == before


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("stencil", ["forward", "five-point"])
@pytest.mark.parametrize("bounds", [None, (-0.1, 1.0)])
def test_stencils_and_bounds_travel(stencil, bounds):
    x = np.linspace(-0.1, 1.0, 9)
    options = {"stencil": stencil, "bounds": bounds, "h": 0.05}
    f = functions_of_x.rosenbrock
    expected = numerical_gradient(f, x, **options)
    for backend in ("processes", "threads"):
        gradient, info = numerical_gradient(
            f, x, **options, workers=2, backend=backend, full_output=True
        )
        assert info.workers == 2
        assert same(gradient, expected)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_compiled_and_batched_functions(backend):
    compiled = numba.njit(lambda x: (x**3).sum())
    x = np.random.default_rng(3).standard_normal((30, 10))
    options = {} if backend is None else {"backend": backend}
    gradient, info = numerical_gradient(compiled, x, workers=2, full_output=True, **options)
    assert info.backend == backend or (backend is None and info.backend == "threads")
    assert same(gradient, numerical_gradient(compiled, x))
    # The product of a batch rounds as the batch is long: the batches must not depend on workers.
    A = np.random.default_rng(4).standard_normal((300, 20))

    def products(points):
        return np.tanh(points.reshape(len(points), -1) @ A).sum(axis=1)

    expected = numerical_gradient(products, x, batched=True)
    for workers in (2, 3):
        gradient = numerical_gradient(products, x, batched=True, workers=workers, **options)
        assert same(gradient, expected)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_blas_threads_are_the_callers(backend):
    # OpenBLAS sums a long dot product in as many parts as it has threads.
    v = np.random.default_rng(5).standard_normal(50_000)
    x = np.random.default_rng(6).standard_normal(6)

    def f(x):
        v[:6] = x
        return float(v @ v)

    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            assert same(in_workers(f, x, backend=backend), numerical_gradient(f, x))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_that_does_not_see_x_is_refused(backend):
    x = functions_of_x.W
    with pytest.raises(RuntimeError, match="does not see its copy of x"):
        in_workers(functions_of_x.sees_only_the_global, x, backend=backend)
    assert x.tolist() == [1.0, 2.0, 3.0]
    # ... while one worker moves the very array that f sees.
    serial = numerical_gradient(functions_of_x.sees_only_the_global, x)
    np.testing.assert_allclose(serial, 3 * x**2, rtol=TRUNCATION)


@pytest.mark.usefixtures("always")
def test_a_function_that_is_not_deterministic_is_refused():
    with pytest.raises(RuntimeError, match="not deterministic"):
        in_workers(lambda x: float(x.sum()) + os.getpid(), np.ones(9))


@pytest.mark.usefixtures("always")
def test_a_function_that_cannot_travel_is_refused(tmp_path):
    with open(tmp_path / "file", "w") as file, pytest.raises(TypeError, match="cannot be sent"):
        in_workers(lambda x: float(x.sum()) + file.tell(), np.ones(9))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_an_array_of_two_mebibytes_updated_in_place_is_never_stale(backend):
    big = np.random.default_rng(7).standard_normal(2**18)
    x, y = big.copy()[:6], None
    steps = []
    for options in ({}, {"workers": 2, "backend": backend}):
        x, y = np.arange(6.0), big.copy()

        def f(_, x=x, y=y):
            return float(np.sum(x**3) + y[:6] @ x + y[-1])

        for step in range(20):
            gradient = numerical_gradient(f, x, **options)
            x -= 0.01 * gradient
            y += 0.5 * step
        steps.append((gradient.tobytes(), x.tobytes()))
    assert steps[0] == steps[1]


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_what_costs_nothing_stays_here(backend):
    _, info = numerical_gradient(
        functions_of_x.rosenbrock, np.ones(50), workers=2, backend=backend, full_output=True
    )
    assert (info.backend, info.workers) == ("serial", 1)
    assert info.evaluations <= 104  # the gradient, three trials, f(x)


def test_what_holds_the_gil_leaves_threads():
    f, x = functions_of_x.slow_sum_of_squares, np.ones(400)
    gradient, info = numerical_gradient(f, x, workers=2, backend="threads", full_output=True)
    assert info.workers == 1
    assert same(gradient, numerical_gradient(f, x))


def test_what_waits_is_spread_over_threads():
    def f(x):
        time.sleep(0.01)
        return float(x.sum())

    x = np.ones(30)
    gradient, info = numerical_gradient(f, x, workers=8, backend="threads", full_output=True)
    assert (info.backend, info.workers) == ("threads", 8)
    assert same(gradient, numerical_gradient(lambda x: float(x.sum()), x))


@pytest.mark.usefixtures("always")
def test_the_ambient_configuration_counts():
    x = np.ones(5)
    with joblib.parallel_config("threading", n_jobs=2):
        _, info = numerical_gradient(functions_of_x.rosenbrock, x, full_output=True)
    assert (info.backend, info.workers) == ("threading", 2)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_inside_a_worker_it_is_serial(backend):
    call = joblib.delayed(numerical_gradient)
    results = joblib.Parallel(2, backend=backend)(
        call(functions_of_x.rosenbrock, np.ones(4), workers=2, full_output=True) for _ in range(2)
    )
    assert [info.workers for _, info in results] == [1, 1]


# Failures --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "backend", [pytest.param("processes", marks=pytest.mark.slow), "threads", "threading"]
)
def test_exceptions_arrive_as_they_are_20_times(backend):
    x = np.arange(12.0)

    def f(x):
        if x[7] > 7 and x[6] == 6:
            raise LookupError("seven")
        return float(x.sum())

    for _ in range(20):
        with pytest.raises(LookupError, match="seven") as caught:
            in_workers(f, x, backend=backend)
        assert x.tolist() == list(range(12))
        if sys.version_info >= (3, 11):
            assert any("x[7] = 7.0 + 0.0001" in note for note in caught.value.__notes__)


def kill_once(flag):
    """Kill this process if it is a worker and the first to come here."""
    if multiprocessing.parent_process() is not None or "loky" in " ".join(sys.argv):
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_a_killed_worker_is_replaced_20_times(tmp_path):
    x = np.arange(12.0)
    here = os.getpid()
    for k in range(20):
        flag = str(tmp_path / str(k))

        def f(x, flag=flag):
            if os.getpid() != here and x[7] > 7.00005:
                kill_once(flag)
            return float(np.sum(x**3))

        gradient = in_workers(f, x, backend="processes")
        assert os.path.exists(flag)
        assert same(gradient, numerical_gradient(lambda x: float(np.sum(x**3)), x))
        assert x.tolist() == list(range(12))


@pytest.mark.usefixtures("always")
def test_workers_that_are_killed_again_and_again_are_an_error():
    x, here = np.arange(12.0), os.getpid()

    def f(x):
        if os.getpid() != here and x[7] > 7.00009 and x[6] == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(x.sum())

    with pytest.raises(RuntimeError, match="workers were killed again and again"):
        in_workers(f, x, backend="processes")
    assert x.tolist() == list(range(12))
    in_workers(lambda x: float(x.sum()), x)  # and the next call has workers again


INTERRUPTED = """
    import os, signal, sys, threading, time
    import numpy as np
    import fastgrad

    x = np.arange(400.0)
    before = x.tobytes()

    def f(x):
        {work}
        return float(np.sum(x**2))

    def interrupt():
        time.sleep({delay})
        global sent
        sent = time.perf_counter()
        os.killpg(0, signal.SIGINT)  # as a terminal does: the workers get it, too

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        fastgrad.numerical_gradient({f}, x, **{options})
    except KeyboardInterrupt:
        print("after", time.perf_counter() - sent)
    assert x.tobytes() == before
    print("restored")
"""


def interrupted(work, delay, options, f="f"):
    """Run a script that interrupts itself; return how long it took to come back."""
    code = textwrap.dedent(INTERRUPTED).format(work=work, delay=delay, options=options, f=f)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        start_new_session=True,
    )  # fmt: skip
    lines = process.stdout.split()
    assert lines[-1:] == ["restored"], process.stdout + process.stderr
    assert lines[0] == "after", "it was not interrupted"
    return float(lines[1]), process


def left_over(text):
    """Return the command lines of processes that carry `text`, a second after."""
    deadline = time.monotonic() + 5
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if text.encode() in path.read_bytes():
                    found.append(path.parent.joinpath("cmdline").read_bytes())
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("options", [{}, {"workers": 2, "backend": "threads"}, {"workers": 2}],
                         ids=["serial", "threads", "processes"])  # fmt: skip
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_an_interrupt_comes_back_restored_and_leaves_nothing(options, times, monkeypatch):
    rng = np.random.default_rng(times)
    for k in range(times):
        monkeypatch.setenv("FASTGRAD_TEST", mark := f"interrupt-{os.getpid()}-{k}")
        # While processes start, or while they work.
        seconds, process = interrupted("time.sleep(0.006)", rng.uniform(0.7, 2.5), options)
        assert seconds < 1
        assert left_over(mark) == []
        assert "Traceback" not in process.stderr


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_killed_caller_leaves_no_process_and_no_file_in_shared_memory(monkeypatch):
    code = """
    import time
    import numpy as np
    from fastgrad import engine, numerical_gradient
    from fastgrad.executors import Executor
    from fastgrad.objectives.base import Cost

    Executor.pays, Executor.cold = lambda self, cost: self.workers > 1, False
    engine._begin = lambda run, items, executor: (items, Cost(1.0, 1.0))
    data = np.ones(2**18)  # 2 MiB

    def slow(x):
        time.sleep(0.2)  # so that both workers are up and get some of it
        return float(x @ x + data[0])

    numerical_gradient(slow, np.ones(9), workers=2)
    print("done", flush=True)
    numerical_gradient(lambda x: 1 / 0 if x[0] == data[0] else time.sleep(60),
                       np.zeros(9), workers=2)
    """
    monkeypatch.setenv("FASTGRAD_TEST", mark := f"killed-{os.getpid()}")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "done\n"
        time.sleep(0.2)
        process.kill()
    assert left_over(mark) == []
    assert list(Path(_shared_memory.FOLDER).glob(f"*{process.pid}-*")) == []


def test_ctrl_c_is_for_the_caller_alone_who_may_want_the_gradient(monkeypatch):
    code = """
    import logging
    import numpy as np
    from fastgrad import engine, numerical_gradient
    from fastgrad.executors import Executor
    from fastgrad.objectives.base import Cost
    from fastgrad.stopping import Stop

    logging.basicConfig()  # lost workers are a warning
    Executor.pays, Executor.cold = lambda self, cost: self.workers > 1, False
    engine._begin = lambda run, items, executor: (items, Cost(1.0, 1.0))
    x = np.arange(60.0)
    with Stop() as stop:
        while not stop():
            gradient = numerical_gradient(lambda x: float(np.sum(x**2)), x, workers=2)
            assert np.allclose(gradient, 2 * x)
            print("step", flush=True)
    print("stopped", stop.signum)
    """
    monkeypatch.setenv("FASTGRAD_TEST", mark := f"caller-{os.getpid()}")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for steps in (1, 4, 9):
        with subprocess.Popen(command, start_new_session=True, **pipes) as process:
            for _ in range(steps):
                assert process.stdout.readline() == "step\n"
            time.sleep(0.01 * steps)
            os.killpg(process.pid, signal.SIGINT)
            *_, last = process.stdout
            assert last == f"stopped {signal.SIGINT:d}\n"
            assert process.stderr.read() == NOTICE.decode()
    assert left_over(mark) == []


@pytest.mark.usefixtures("always")
def test_programs_that_f_starts_hear_signals():
    def f(x):
        with subprocess.Popen(["sleep", "60"]) as program:
            program.send_signal(signal.SIGINT)
        return float(x.sum()) * -program.returncode

    gradient = in_workers(f, np.ones(2), backend="processes")
    np.testing.assert_allclose(gradient, signal.SIGINT, rtol=TRUNCATION)


@pytest.mark.slow
def test_an_interrupt_is_heard_in_a_compiled_function():
    # A minute of it: however slow or quick the machine is, it is not done after six seconds.
    f = "numba.njit(lambda x: sum([np.sum(np.sin(x)) for _ in range(30_000)]))"
    seconds, _ = interrupted("import numba", 6, {}, f.replace("numba", "__import__('numba')"))
    assert seconds < 1


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import time
        import numpy as np
        import fastgrad
        W = np.arange(40.0)
        def f(_):
            time.sleep(0.05)
            return float(np.sum(W**2))
        gradient, info = fastgrad.numerical_gradient(f, W, workers=2, full_output=True)
        print(info.backend, np.abs(gradient - 2 * W).max() < 1e-6)
        """)
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "processes True\n"


def test_a_python_function_in_a_worker_needs_no_numba():
    code = "import sys, fastgrad, fastgrad.parcels; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
