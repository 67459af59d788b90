"""`numerical_gradient` on several workers: real threads, real processes, real signals."""

import atexit
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import functions_of_x
import joblib
import numba
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from tolerances import TRUNCATION

from fastgrad import numerical_gradient
from fastgrad._parallel import cost, pools
from fastgrad._parallel.team import Team

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
def test_a_call_leaves_nothing_behind_but_processes():
    left = []
    for i in range(12):
        in_workers(lambda x, i=i: float(x @ x + i), np.ones(5), backend="processes")
        left.append((atexit._ncallbacks(), threading.active_count(), len(pools._pools)))
    assert left[-1] == left[0]  # the first call may have opened the pool


class Big:
    """Something that f holds."""


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_nothing_keeps_what_f_holds(backend):
    big = Big()
    kept = weakref.ref(big)
    in_workers(lambda x, big=big: float(x @ x), np.ones(5), backend=backend)
    del big
    gc.collect()
    assert kept() is None


@pytest.mark.usefixtures("always")
def test_processes_of_joblib_that_others_use_resize_and_end():
    x = np.arange(9.0)
    f = functions_of_x.rosenbrock
    expected = numerical_gradient(f, x)
    call = joblib.delayed(os.getpid)
    for between in (
        lambda: get_reusable_executor().shutdown(wait=True),
        lambda: joblib.Parallel(3)(call() for _ in range(3)),
    ):
        assert same(in_workers(f, x, backend="loky"), expected)
        between()
        assert same(in_workers(f, x, backend="loky"), expected)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_threads_that_use_the_same_workers_at_once(backend):
    x = np.arange(20.0)

    def call(k):
        def f(x):
            time.sleep(0.002)
            if k == 3 and x[2] > 2:
                raise LookupError("three")
            return float(k * x @ x)

        gradients = []
        for _ in range(3):
            try:
                gradients.append(in_workers(f, x, backend=backend))
            except LookupError:
                assert k == 3
        return gradients

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(call, range(1, 5)))
    for k in (1, 2, 4):
        expected = numerical_gradient(lambda x, k=k: float(k * x @ x), x)
        assert len(found[k - 1]) == 3
        assert all(same(gradient, expected) for gradient in found[k - 1])
    assert found[2] == []
    assert sys.modules["__main__"].__name__ == "__main__"
    assert sys.modules["__main__"].__spec__ is not None or hasattr(sys.modules["__main__"], "sys")


@pytest.mark.usefixtures("always")
def test_a_worker_killed_by_one_thread_costs_the_others_nothing(tmp_path):
    x, here, flag = np.arange(20.0), os.getpid(), str(tmp_path / "flag")

    def call(k):
        def f(x):
            time.sleep(0.002)
            if k == 1 and os.getpid() != here:
                kill_once(flag)
            return float(k * x @ x)

        return [in_workers(f, x, backend="processes") for _ in range(3)]

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(call, range(1, 4)))
    assert os.path.exists(flag)
    for k, gradients in enumerate(found, 1):
        expected = numerical_gradient(lambda x, k=k: float(k * x @ x), x)
        assert all(same(gradient, expected) for gradient in gradients)


@pytest.mark.usefixtures("always")
def test_there_are_as_many_processes_as_were_asked_for_last(tmp_path):
    def f(x):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.005)
        return float(x.sum())

    for workers in (3, 2):
        numerical_gradient(f, np.ones(40), workers=workers, backend="processes")
        pids = {path.name for path in tmp_path.iterdir()} - {str(os.getpid())}
        assert 1 <= len(pids) <= workers
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_book_closure_over_3_000_parameters(backend):
    params = {"W": np.random.default_rng(0).standard_normal((3, 1000))}

    def loss(_):
        W = params["W"]
        return float(W[0] @ W[1] + W[-1, -1] ** 2 + W[1, 500] ** 3)

    before = params["W"].tobytes()
    serial = numerical_gradient(loss, params["W"])
    assert same(in_workers(loss, params["W"], backend=backend), serial)
    assert np.count_nonzero(serial) > 2000
    assert params["W"].tobytes() == before


@numba.njit
def cubes(x):
    total = 0.0
    for value in x:  # compiled faster than an expression of arrays
        total += value**3
    return total


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", [None, "processes"])
def test_compiled_functions_run_on_threads_unless_processes_are_asked_for(backend):
    x = np.random.default_rng(3).standard_normal(300)
    options = {} if backend is None else {"backend": backend}
    gradient, info = numerical_gradient(cubes, x, workers=2, full_output=True, **options)
    assert info.backend == (backend or "threads")
    assert same(gradient, numerical_gradient(cubes, x))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_copy_that_does_not_see_x_is_refused(backend):
    x = functions_of_x.W
    with pytest.raises(RuntimeError, match="does not see its copy of x"):
        in_workers(functions_of_x.sees_only_the_global, x, backend=backend)
    assert x.tolist() == [1.0, 2.0, 3.0]
    # ... while one worker moves the very array that f sees.
    serial = numerical_gradient(functions_of_x.sees_only_the_global, x)
    np.testing.assert_allclose(serial, 3 * x**2, rtol=TRUNCATION)


@pytest.mark.usefixtures("always")
def test_a_closure_that_is_not_deterministic_is_refused():
    x = np.ones(9)
    with pytest.raises(RuntimeError, match="not deterministic"):
        in_workers(lambda _: time.sleep(0.05) or float(x.sum()) + os.getpid(), x)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("closure", [False, True])
def test_a_function_that_cannot_travel_stays_here_with_a_warning(tmp_path, caplog, closure):
    x = np.ones(9)
    with open(tmp_path / "file", "w") as file:
        gradient, info = numerical_gradient(
            lambda y: float((x if closure else y).sum()) + file.tell(),
            x, workers=2, full_output=True,
        )  # fmt: skip
    # Threads would need a copy of a closure, too.
    assert (info.backend, info.workers) == (("serial", 1) if closure else ("threads", 2))
    np.testing.assert_allclose(gradient, 1.0, rtol=TRUNCATION)
    words = [record.getMessage() for record in caplog.records if record.name == "fastgrad"]
    assert "cannot be sent to a worker" in words[-1]
    assert words[-1].endswith("it runs serially" if closure else "it runs on threads")


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


@pytest.mark.parametrize(
    ("backend", "pace", "nogil", "pays"),
    [
        ("processes", 1e-5, False, False),  # a hundred of them cost nothing
        ("threads", 1e-6, True, False),
        ("threads", 5e-4, False, False),  # they would wait for Python's lock
        ("threads", 5e-4, True, True),
        ("threads", 5e-2, False, True),
    ],
)
def test_what_is_too_short_to_share_stays_here(backend, pace, nogil, pays, monkeypatch):
    monkeypatch.setattr(cost, "cores", lambda: 2)
    team = Team(2, backend, backend)
    assert team.pays(team.saves(pace, 100, 1.0, nogil)) == pays


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

    x = np.arange(4000.0)
    before = x.tobytes()

    def f(x):
        {work}
        return float(np.sum(x**2))

    def interrupt():
        time.sleep({delay})
        os.killpg(0, signal.SIGINT)  # as a terminal does: the workers get it, too

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        fastgrad.numerical_gradient({f}, x, **{options})
    except KeyboardInterrupt:
        print("interrupted")
    assert x.tobytes() == before
    print("restored")
"""


def interrupted(work, delay, options, f="f"):
    """Run a script that interrupts itself; return what it said besides."""
    code = textwrap.dedent(INTERRUPTED).format(work=work, delay=delay, options=options, f=f)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout == "interrupted\nrestored\n", process.stderr
    return process.stderr


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
        errors = interrupted("time.sleep(0.006)", rng.uniform(0.2, 1.2), options)
        assert left_over(mark) == []
        assert "Traceback" not in errors


ALWAYS = """
    from fastgrad._parallel import cost
    from fastgrad._parallel.team import Team
    cost.SLOW = 0.0
    Team.saves = lambda self, *work: float(self.workers > 1)
    Team.pays = lambda self, saved: self.workers > 1
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_killed_caller_leaves_no_process(monkeypatch):
    code = """
    import os, time
    import numpy as np
    from fastgrad import numerical_gradient

    here = os.getpid()

    def slow(x):
        time.sleep(0.05)
        return float(x @ x)

    numerical_gradient(slow, np.ones(9), workers=2)

    def hangs(x):
        if os.getpid() == here:
            time.sleep(0.05)  # then it is handed out
        else:
            print("works", flush=True)
            time.sleep(60)
        return float(x @ x)

    numerical_gradient(hangs, np.zeros(9), workers=2)
    """
    monkeypatch.setenv("FASTGRAD_TEST", mark := f"killed-{os.getpid()}")
    command = [sys.executable, "-c", textwrap.dedent(ALWAYS) + textwrap.dedent(code)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline().startswith("works")  # of one worker, or of both
        process.kill()
        assert left_over(mark) == []  # also while the caller is a zombie


def test_ctrl_c_is_for_the_caller_alone_who_may_want_the_gradient(monkeypatch):
    code = """
    import logging, signal
    import numpy as np
    from fastgrad import numerical_gradient

    logging.basicConfig()  # lost workers are a warning
    x, stop = np.arange(60.0), []
    signal.signal(signal.SIGINT, lambda number, frame: stop.append(number))
    while not stop:
        gradient = numerical_gradient(lambda x: float(np.sum(x**2)), x, workers=2)
        assert np.allclose(gradient, 2 * x, atol=1e-6)
        print("step", flush=True)
    print("stopped", *stop)
    """
    monkeypatch.setenv("FASTGRAD_TEST", mark := f"caller-{os.getpid()}")
    command = [sys.executable, "-c", textwrap.dedent(ALWAYS) + textwrap.dedent(code)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for steps in (1, 9):
        with subprocess.Popen(command, start_new_session=True, **pipes) as process:
            for _ in range(steps):
                assert process.stdout.readline() == "step\n"
            time.sleep(0.001 * steps)
            os.killpg(process.pid, signal.SIGINT)
            *_, last = process.stdout
            assert last == f"stopped {signal.SIGINT:d}\n"
            assert process.stderr.read() == ""
    assert left_over(mark) == []


def run(tmp_path, code, *options):
    """Run a script; return what it printed. It must say nothing else, and end well."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(ALWAYS) + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, script],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_ctrl_c_in_the_first_evaluation_ends_what_was_handed_out(tmp_path):
    code = """
    import os, signal, time
    import numpy as np
    from fastgrad import numerical_gradient

    here, flag = os.getpid(), __file__ + ".flag"
    numerical_gradient(lambda x: time.sleep(0.02) or float(x @ x), np.ones(9), workers=2)

    def f(x):
        if os.getpid() != here:
            open(flag, "w").close()
            time.sleep(600)
        while not os.path.exists(flag):  # until a worker is at it
            time.sleep(0.01)
        os.kill(here, signal.SIGINT)
        time.sleep(600)

    try:
        numerical_gradient(f, np.ones(9), workers=2)
    except KeyboardInterrupt:
        print("interrupted")
    gradient = numerical_gradient(lambda x: float(x @ x), np.ones(3), workers=2)
    print(np.allclose(gradient, 2))
    """
    assert run(tmp_path, code) == "interrupted\nTrue\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_has_workers_of_its_own(tmp_path):
    code = """
    import os, warnings
    import numpy as np
    from fastgrad import numerical_gradient

    def call(backend):
        f = lambda x: float(x @ x)
        return numerical_gradient(
            f, np.ones(9), workers=2, backend=backend, full_output=True
        )

    if __name__ == "__main__":  # The child's processes are spawned.
        for backend in ("threads", "processes"):
            call(backend)
        warnings.simplefilter("ignore")  # of the fork
        child = os.fork()
        for backend in ("threads", "processes"):
            gradient, info = call(backend)
            if not child:
                print(info.backend, info.workers, bool(np.allclose(gradient, 2)), flush=True)
        if not child:
            os._exit(0)
        print(os.waitpid(child, 0)[1])
    """
    assert run(tmp_path, code) == "threads 2 True\nprocesses 2 True\n0\n"


@pytest.mark.usefixtures("always")
def test_workers_that_died_between_two_calls_are_replaced(caplog):
    x, f = np.arange(9.0), functions_of_x.rosenbrock
    expected = numerical_gradient(f, x)
    for pause in (0, 0.3):  # The pool may not have noticed it yet.
        in_workers(f, x, backend="processes")
        for process in list(pools._pools["processes", 2].executor._processes.values()):
            process.kill()
        time.sleep(pause)
        assert same(in_workers(f, x, backend="processes"), expected)


class MyError(Exception):
    """An error whose copy cannot be made from its words."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class HoldsALock(Exception):  # noqa: N818
    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("make", [lambda: MyError(1, 2), HoldsALock], ids=["words", "lock"])
def test_an_error_that_cannot_travel_says_what_it_was(make, caplog):
    here = os.getpid()

    def f(x):
        time.sleep(0.01)
        if os.getpid() != here:
            raise make()
        return float(x.sum())

    with pytest.raises(RuntimeError, match=f"{type(make()).__name__}: {make()}") as caught:
        in_workers(f, np.ones(30), backend="processes")
    assert ", in f" in str(caught.value.__cause__)  # the traceback there
    assert caplog.records == []  # and no worker is lost
    in_workers(lambda x: float(x.sum()), np.ones(3), backend="processes")


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
    # A minute of it: it is not done after six seconds.
    f = "numba.njit(lambda x: sum([np.sum(np.sin(x)) for _ in range(30_000)]))"
    interrupted("import numba", 6, {}, f.replace("numba", "__import__('numba')"))


def test_what_a_script_and_a_notebook_define_travels(tmp_path):
    # There is no main guard, and workers of both kinds are left idle at the end.
    (tmp_path / "beside.py").write_text(
        "import time\ndef f(x):\n    time.sleep(0.01)\n    return float(x @ x)\n"
    )
    code = r"""
    import os, time
    import numpy as np
    import beside, fastgrad

    W, here = np.arange(8.0), os.getpid()

    def f(_):
        time.sleep(0.01)
        return float(np.sum(W**2))

    cell = {"__name__": "__main__", "np": np, "time": time}
    exec(
        "class Net:\n"
        "    def __init__(self): self.W = np.arange(4.0)\n"
        "    def loss(self): return time.sleep(0.01) or float(np.sum(self.W**2))\n"
        "net = Net()\n"
        "def g(_): return net.loss()",
        cell,
    )

    # One coordinate starts few processes: the others start in the second call.
    fastgrad.numerical_gradient(lambda x: time.sleep(0.01) or float(x @ x), W[:1], workers=4)
    for g, x in ((f, W), (beside.f, np.arange(4.0)), (cell["g"], cell["net"].W)):
        gradient, info = fastgrad.numerical_gradient(g, x, workers=4, full_output=True)
        print(info.backend, np.abs(gradient - 2 * x).max() < 1e-6)
    fastgrad.numerical_gradient(f, W, workers=2, backend="threads")

    class Mine(Exception):
        pass

    def fails(x):
        time.sleep(0.02)
        if os.getpid() != here:
            raise Mine("word")
        return float(x.sum())

    try:
        fastgrad.numerical_gradient(fails, np.ones(9), workers=4)
    except Mine as error:
        print(error, "Mine: word" in str(error.__cause__))
    """
    assert run(tmp_path, code) == 3 * "processes True\n" + "word True\n"


def test_each_thread_of_a_worker_and_each_library_gets_the_callers_number(tmp_path):
    # SciPy brings an OpenBLAS of its own.
    pytest.importorskip("scipy")
    code = """
        import concurrent.futures, threadpoolctl
        from fastgrad._parallel import blas

        blas.threads()
        import scipy.linalg

        with concurrent.futures.ThreadPoolExecutor(1) as other:
            for number in 1, 2, 3:
                wanted = dict.fromkeys(blas.threads(), number)
                blas.set_threads(wanted)
                other.submit(blas.set_threads, dict.fromkeys(wanted, number + 1)).result()
                print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
    """
    assert run(tmp_path, code) == "{2}\n{3}\n{4}\n"


def test_a_handler_that_python_did_not_install_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda *what: pytest.fail("it cannot be put back"))
    with pools._no_ctrl_c():
        pass


def test_a_python_function_in_a_worker_needs_no_numba():
    code = "import sys, fastgrad._derivatives.searches; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
