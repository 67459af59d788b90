"""A slow f: as many evaluations as the formula needs, on all workers, and none lost.

Counts, not clocks: each evaluation leaves a line in a file or a list, wherever it is made.
"""

import contextlib
import functools
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import slow_functions
from functions_of_x import never
from slow_functions import lines, note, slow, start_processes
from tolerances import TRUNCATION

from fastgrad import hessian, jacobian, numerical_gradient
from fastgrad._parallel import pools

ROOT = Path(__file__).parents[1]
THREADS = {"workers": 2, "backend": "threads"}
PROCESSES = {"workers": 2, "backend": "processes"}
WAYS = [pytest.param({}, id="serial"), pytest.param(THREADS, id="threads"),
        pytest.param(PROCESSES, id="processes")]  # fmt: skip


@pytest.fixture
def warm():
    """Have two processes ready: a test before may have ended them."""
    if not pools.is_warm("processes", 2):
        start_processes()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "evaluations"


def cubes(x):
    return float(np.sum(x**3))


def same(first, second):
    return first.tobytes() == second.tobytes()


def told(error):
    """Return all that an exception says: its notes, its words, and those of its causes."""
    words = []
    while error is not None:
        words += [str(error), *getattr(error, "__notes__", [])]
        error = error.__cause__
    return "\n".join(words)


# Counts ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("options", WAYS)
def test_one_evaluation_more_than_2n_whoever_works(options, n, log):
    x = np.linspace(1.0, 2.0, n)
    gradient = numerical_gradient(slow(cubes, log=log), x, **options)
    assert len(lines(log)) == 2 * n + 1
    assert same(gradient, numerical_gradient(cubes, x))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    ("call", "n", "count"),
    [
        (functools.partial(numerical_gradient, stencil="forward"), 8, 9),
        (functools.partial(numerical_gradient, stencil="five-point"), 3, 12),
        (hessian, 3, 19),
    ],
    ids=["forward", "five-point", "hessian"],
)
def test_so_it_is_for_other_formulas(call, n, count, options, log):
    call(slow(cubes, 0.01, log), np.linspace(1.0, 2.0, n), **options)
    assert len(lines(log)) == count + 1


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("h", [None, "auto"])
def test_info_counts_what_was_evaluated_here_and_in_workers(options, h, log):
    f = slow(cubes, 0.01, log)
    _, info = numerical_gradient(f, np.linspace(1.0, 2.0, 5), h, full_output=True, **options)
    assert info.evaluations == len(lines(log))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("call", [numerical_gradient, jacobian, hessian])
def test_processes_do_the_work(call, log):
    _, info = call(slow(cubes, 0.03, log), np.ones(8), full_output=True, **PROCESSES)
    assert (info.backend, info.workers) == ("processes", 2)
    assert set(lines(log)) - {str(os.getpid())}


class Gathering:
    """f that waits, once it is known to be slow, until `wanted` evaluations are under way."""

    def __init__(self, wanted, alone=1):
        self.alone = alone
        self.wanted, self.under_way, self.most, self.calls = wanted, 0, 0, 0
        self.in_vain = False
        self.change = threading.Condition()

    def __call__(self, x):
        with self.change:
            self.calls += 1
            alone = self.calls <= self.alone
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.change.notify_all()
        if alone:
            time.sleep(0.05)
        with self.change:
            if not alone and not self.in_vain:
                gathered = self.change.wait_for(lambda: self.most >= self.wanted, timeout=3)
                self.in_vain = not gathered
            self.under_way -= 1
        return float(np.sum(x**2))


@pytest.mark.parametrize("call", [numerical_gradient, jacobian, hessian])
def test_the_unit_of_slow_work_is_one_evaluation(call):
    # Of two coordinates. One evaluation may be alone: it tells that f is slow.
    f = Gathering(3)
    call(f, np.ones(2), workers=4, backend="threads")
    assert f.most >= 3


def test_all_workers_are_used_and_no_more():
    f = Gathering(4)
    numerical_gradient(f, np.ones(6), workers=4, backend="threads")
    assert f.most == 4
    assert f.calls == 13


def test_many_coordinates_of_automatic_steps_are_under_way_at_once():
    f = Gathering(4, alone=2)  # f(x) comes first, and is evaluated once more as a proof
    numerical_gradient(f, np.ones(4), "auto", workers=4, backend="threads")
    assert f.most == 4


# The book's closures ---------------------------------------------------------------------------


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", [pytest.param(THREADS, id="threads"),
                                     pytest.param(PROCESSES, id="processes")])  # fmt: skip
def test_workers_share_the_work_of_a_closure(options):
    x = np.linspace(1.0, 2.0, 12)

    def loss(_):
        time.sleep(0.02)
        return float(np.sum(x**3))

    gradient, info = numerical_gradient(loss, x, full_output=True, **options)
    assert info.workers == 2
    np.testing.assert_allclose(gradient, 3 * x**2, rtol=TRUNCATION)


@pytest.mark.usefixtures("warm")
def test_a_clone_that_does_not_see_its_x_is_an_error():
    before = slow_functions.W.tobytes()
    with pytest.raises(RuntimeError, match="does not see its copy of x"):
        numerical_gradient(slow_functions.slow_sum_of_the_global, slow_functions.W, **PROCESSES)
    assert slow_functions.W.tobytes() == before


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_a_random_f_is_no_error(options):
    def f(x):
        time.sleep(0.01)
        return float(np.sum(x**2)) + 1e-9 * float(np.random.default_rng().random())

    x = np.linspace(1.0, 2.0, 9)
    np.testing.assert_allclose(numerical_gradient(f, x, 0.5, **options), 2 * x, atol=1e-6)


# Where f cannot go -----------------------------------------------------------------------------


@pytest.fixture
def unpicklable(request, tmp_path):
    if request.param == "file":
        with open(tmp_path / "held", "w") as file:
            yield file
    else:
        yield threading.Lock() if request.param == "lock" else (v for v in "ab")


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("unpicklable", "where"),
    [("lock", "closure"), ("generator", "args"), ("file", "attribute")],
    indirect=["unpicklable"],
)
def test_what_cannot_be_pickled_runs_on_threads(unpicklable, where, log):
    class Holds:
        def __init__(self, held):
            self.held = held

        def __call__(self, x, *args):
            assert args or self.held is not None
            return cubes(x)

    f = slow(cubes, log=log)
    if where == "args":
        f = slow(Holds(None), log=log)
    elif where == "attribute":
        f = slow(Holds(unpicklable), log=log)
    else:
        f = slow(lambda x: cubes(x) if unpicklable else None, log=log)
    args = (unpicklable,) if where == "args" else ()
    x = np.linspace(1.0, 2.0, 12)
    gradient, info = numerical_gradient(f, x, args=args, workers=2, full_output=True)
    assert (info.backend, info.workers) == ("threads", 2)
    assert set(lines(log)) == {str(os.getpid())}
    assert same(gradient, numerical_gradient(cubes, x))


def script(tmp_path, code, *options, mark="script"):
    """Run a program of its own, which imports fastgrad from here; return what became of it."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code))
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "FASTGRAD_TEST": mark}
    # Into files: a worker that is left over would hold a pipe open.
    with open(tmp_path / "out", "w+") as out, open(tmp_path / "err", "w+") as err:
        command = [sys.executable, path, *map(str, options)]
        done = subprocess.run(
            command, stdout=out, stderr=err, timeout=60, check=False, env=environment
        )
    done.stdout, done.stderr = ((tmp_path / name).read_text() for name in ("out", "err"))
    return done


def test_a_daemonic_process_works_alone(tmp_path):
    code = """
    import multiprocessing, time
    import numpy as np
    from fastgrad import numerical_gradient

    def f(x):
        time.sleep(0.1)
        return float(np.sum(x**3))

    def work(_):
        gradient, info = numerical_gradient(f, np.ones(20), workers=2, full_output=True)
        return info.backend, info.workers, bool(np.allclose(gradient, 3))

    def put(queue):
        queue.put(work(0))

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=put, args=(queue,), daemon=True)
        process.start()
        with context.Pool(1) as pool:
            for done in pool.map_async(work, range(1)).get(30):
                print(*done)
        print(*queue.get(timeout=30))
        process.join(30)
        print(process.exitcode)
    """
    done = script(tmp_path, code)
    assert done.stdout.split("\n") == ["serial 1 True", "serial 1 True", "0", ""], done.stderr


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("i", [0, 3, 7])
def test_an_error_comes_alone_and_names_its_coordinate(options, i):
    x = np.arange(1.0, 9.0)
    before = x.tobytes()

    def f(x):
        time.sleep(0.01)
        if x[i] > i + 1:
            raise LookupError("mine")
        return float(x.sum())

    with pytest.raises(LookupError, match="mine") as caught:
        numerical_gradient(f, x, **options)
    assert f"x[{i}]" in told(caught.value)
    assert x.tobytes() == before
    np.testing.assert_allclose(numerical_gradient(cubes, x, **options), 3 * x**2, rtol=TRUNCATION)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_where_all_evaluations_fail_one_error_comes(options):
    def f(x):
        time.sleep(0.01)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        numerical_gradient(f, np.ones(6), **options)
    assert re.search(r"x\[\d\]|at x", told(caught.value))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("i", [0, 1])
def test_errors_nan_goes_on_and_lists_what_failed(options, i, log):
    x = np.array([1.0, 2.0, 3.0, 4.0])

    def fails(x):
        if x[i] > i + 1:
            raise ValueError("mine")
        return float(np.sum(x**2))

    f = slow(fails, log=log)
    gradient, info = numerical_gradient(f, x, errors="nan", full_output=True, **options)
    assert np.flatnonzero(np.isnan(gradient)).tolist() == [i]
    np.testing.assert_allclose(np.delete(gradient, i), np.delete(2 * x, i), rtol=TRUNCATION)
    assert len(info.failures) == 1
    assert f"x[{i}]" in repr(info.failures)
    assert "mine" in repr(info.failures)
    plain = numerical_gradient(fails, x, errors="nan")
    assert same(plain, gradient)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_a_jacobian_has_nan_in_the_column_that_failed(options):
    x = np.array([1.0, 2.0, 3.0])

    def f(x):
        time.sleep(0.01)
        if x[1] < 2:
            raise ArithmeticError("mine")
        return np.array([x @ x, x.sum()])

    matrix, info = jacobian(f, x, errors="nan", full_output=True, **options)
    assert np.isnan(matrix).tolist() == [[False, True, False]] * 2
    np.testing.assert_allclose(matrix[:, [0, 2]], [[2, 6], [1, 1]], rtol=TRUNCATION)
    assert len(info.failures) == 1
    assert "x[1]" in repr(info.failures)


def test_errors_nan_in_a_structure():
    x = {"a": np.ones(2), "b": 2.0}

    def f(p):
        if p["b"] != 2:
            raise ValueError("mine")
        return float(np.sum(p["a"] ** 2))

    gradient, info = numerical_gradient(f, x, errors="nan", full_output=True)
    np.testing.assert_allclose(gradient["a"], 2.0, rtol=TRUNCATION)
    assert np.isnan(gradient["b"])
    assert len(info.failures) == 2
    assert repr(info.failures).count("x['b']") == 2


def test_where_everything_fails_everything_is_nan():
    def f(x):
        raise ValueError("mine")

    gradient, info = numerical_gradient(f, np.ones(3), errors="nan", full_output=True)
    assert np.isnan(gradient).all()
    assert np.isnan(info.value)
    assert len(info.failures) >= 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("options", [{}, THREADS], ids=["serial", "threads"])
def test_errors_nan_does_not_swallow_what_ends_a_program(error, options):
    def f(x):
        time.sleep(0.01)
        raise error

    with pytest.raises(error):
        numerical_gradient(f, np.ones(4), errors="nan", **options)


def test_without_failures_the_list_is_empty():
    for errors in ("raise", "nan"):
        _, info = numerical_gradient(cubes, np.ones(3), errors=errors, full_output=True)
        assert info.failures == []


@pytest.mark.parametrize("call", [numerical_gradient, jacobian])
def test_another_word_for_errors_is_refused(call):
    with pytest.raises(ValueError, match="errors must be"):
        call(never, np.ones(2), errors="ignore")


# Interrupts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("closure", [True, False])
def test_an_interrupt_in_f_on_a_thread_comes_out_and_x_is_restored(closure):
    x = np.arange(1.0, 9.0)
    before = x.tobytes()

    def f(w):
        time.sleep(0.01)
        if (x if closure else w)[4] > 5.00005:
            raise KeyboardInterrupt
        return float(np.sum((x if closure else w) ** 2))

    with pytest.raises(KeyboardInterrupt):
        numerical_gradient(f, x, **THREADS)
    assert x.tobytes() == before


def left_over(mark):
    """Return how many processes carry the mark after 5 s, and end them."""
    for _ in range(50):
        found = [path for path in Path("/proc").glob("[0-9]*/environ") if carries(path, mark)]
        if not found:
            return 0
        time.sleep(0.1)
    for path in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.parent.name), signal.SIGKILL)
    return len(found)


def carries(path, mark):
    try:
        return mark.encode() in path.read_bytes()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("breaks", "error"),
    [
        ("os.kill(caller, signal.SIGINT); time.sleep(0.3)", "KeyboardInterrupt"),
        ("raise LookupError('mine')", "LookupError"),
    ],
    ids=["interrupt", "exception"],
)
def test_after_it_broke_off_the_next_call_works_and_no_process_stays(breaks, error, tmp_path):
    code = f"""
    import os, signal, time
    import numpy as np
    from fastgrad import numerical_gradient

    x, caller = np.arange(1.0, 31.0), os.getpid()
    before = x.tobytes()

    def f(x):
        time.sleep(0.1)
        if x[9] > 10:
            {breaks}
        return float(np.sum(x**2))

    try:
        numerical_gradient(f, x, workers=2)
    except {error}:
        print("stopped")
    print(x.tobytes() == before)

    def g(x):
        time.sleep(0.02)
        return float(np.sum(x**2))

    print(np.allclose(numerical_gradient(g, x, workers=2), 2 * x))
    """
    mark = f"broke-{os.getpid()}-{error}"
    done = script(tmp_path, code, mark=mark)
    assert done.stdout.split() == ["stopped", "True", "True"], done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert left_over(mark) == 0


# Remembered evaluations ------------------------------------------------------------------------


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_with_memory_a_gradient_that_broke_off_goes_on_where_it_was(options, tmp_path):
    f = joblib.Memory(tmp_path / "memory", verbose=0).cache(slow_functions.remembered)
    log, broken, x = tmp_path / "log", tmp_path / "broken", np.arange(1.0, 9.0)
    args = (log, str(broken))
    broken.touch()
    with pytest.raises(LookupError, match="the machine went down"):
        numerical_gradient(f, x, args=args, **options)
    first = lines(log)
    assert first
    broken.unlink()
    log.unlink()
    gradient = numerical_gradient(f, x, args=args, **options)
    second = lines(log)
    assert not set(first) & set(second)
    assert len(set(first) | set(second)) == 16
    assert len(second) <= 16 - len(set(first)) + 1
    log.unlink()
    assert same(numerical_gradient(f, x, args=args, **options), gradient)
    assert lines(log) == []
    assert same(gradient, numerical_gradient(cubes, x))


def test_with_memory_a_script_that_was_killed_goes_on_where_it_was(tmp_path):
    code = """
    import os, signal, sys, time
    from pathlib import Path
    import joblib
    import numpy as np
    from fastgrad import numerical_gradient
    from slow_functions import lines, note

    folder = Path(sys.argv[1])

    @joblib.Memory(folder / "memory", verbose=0).cache
    def f(x, folder, caller_of_the_first):
        time.sleep(0.1)
        log, killed = folder / "log", folder / "killed"
        if not killed.exists() and len(lines(log)) >= 12:
            killed.touch()
            os.kill(int((folder / "caller").read_text()), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        note(log, x.tobytes().hex())
        return float(np.sum(x**3))

    if __name__ == "__main__":
        (folder / "caller").write_text(str(os.getpid()))
        x = np.arange(1.0, 16.0)
        gradient = numerical_gradient(f, x, args=(folder, 0), workers=2)
        print(np.allclose(gradient, 3 * x**2))
    """
    mark = f"killed-{os.getpid()}"
    first = script(tmp_path, code, tmp_path, mark=mark)
    assert first.returncode == -signal.SIGKILL, first.stderr
    stayed = left_over(mark)
    done = set(lines(tmp_path / "log"))
    (tmp_path / "log").unlink()
    second = script(tmp_path, code, tmp_path)
    assert second.stdout == "True\n", second.stderr
    again = lines(tmp_path / "log")
    assert len(done) >= 12 - 1
    assert len(done | set(again)) == 30
    # What ended in the very moment of the kill may not be on disk; one finds out about x.
    assert len(again) <= 30 - len(done) + 2 + 1
    assert stayed == 0


# What it says ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_info_says_what_was_done(options):
    _, info = numerical_gradient(slow(cubes), np.ones(6), full_output=True, **options)
    assert info.value == 6.0
    assert info.evaluations in (13, 14)  # and f(x)
    assert info.step == 1e-4
    assert info.backend == options.get("backend", "serial")
    assert info.workers == options.get("workers", 1)
    assert info.error is None
    assert info.failures == []
    # A sleep is never shorter than asked for.
    assert info.worker_seconds >= 12 * 0.02
    assert info.seconds > 0


@pytest.mark.parametrize("h", [None, "auto"])
def test_info_has_a_repr_of_one_short_line(h):
    x = {"W": np.linspace(0.1, 1, 300).reshape(3, 100), "b": np.ones(7)}
    _, info = numerical_gradient(
        lambda p: float(np.sum(p["W"] ** 2) + np.sum(p["b"])), x, h, full_output=True
    )
    assert len(repr(info)) < 200
    assert "\n" not in repr(info)
    assert str(info.evaluations) in repr(info)


def test_info_of_a_jacobian_has_a_short_repr_too():
    _, info = jacobian(lambda x: x**2, np.ones(100), np.full(100, 1e-3), full_output=True)
    assert len(repr(info)) < 200
    assert "\n" not in repr(info)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("call", [numerical_gradient, jacobian, hessian])
def test_progress_counts_evaluations(call, options, capsys):
    n = 3
    call(slow(cubes, 0.01), np.ones(n), progress=True, **options)
    counts = re.findall(r"(\d+)/(\d+)", capsys.readouterr().err)
    done, all_of_them = map(int, counts[-1])
    assert done == all_of_them
    most = 1 + 2 * n + 2 * n * (n - 1) if call is hessian else 2 * n
    assert most - 1 <= done <= most + 2


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("options", WAYS)
def test_a_debug_line_names_the_backend_and_the_workers(options, caplog):
    with caplog.at_level(logging.DEBUG, logger="fastgrad"):
        _, info = numerical_gradient(slow(cubes), np.ones(6), full_output=True, **options)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG]
    assert any(re.search(rf"\b{info.backend}\b", line) for line in said)
    assert info.workers == 1 or any(re.search(rf"\b{info.workers}\b", line) for line in said)
    assert all(r.name.split(".")[0] == "fastgrad" for r in caplog.records)


def test_a_debug_line_says_why_threads_do_it(caplog):
    lock = threading.Lock()
    with caplog.at_level(logging.DEBUG, logger="fastgrad"):
        numerical_gradient(slow(lambda x: cubes(x) if lock else 0.0), np.ones(6), workers=2)
    said = caplog.text
    assert "threads" in said
    assert re.search("pickle|sent", said)


@pytest.mark.usefixtures("warm")
def test_an_f_that_was_slow_before_is_handed_out_at_once(monkeypatch, tmp_path):
    here, log = os.getpid(), tmp_path / "log"

    def f(x, wait):
        if os.getpid() != here:
            note(log, "worker")
        elif wait:
            until(lambda: lines(log))
        time.sleep(0.02)
        return float(x @ x)

    numerical_gradient(f, np.ones(6), args=(False,), workers=2, backend="processes")
    log.unlink()
    # Nobody sees that this call is slow while its first evaluation, here, waits for the workers.
    monkeypatch.setattr("fastgrad._parallel.schedule.FIRST_LOOK", 60.0)
    result, info = numerical_gradient(
        f, np.ones(6), args=(True,), workers=2, backend="processes", full_output=True
    )
    assert np.allclose(result, 2.0)
    assert info.evaluations - info.evaluations_by_workers == 1


def until(condition, seconds=60.0):
    """Wait until the condition holds; fail after a time that only a deadlock takes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
