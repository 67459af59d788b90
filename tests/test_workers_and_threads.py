"""f in other processes and threads: the same f, the same x, and an end."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tolerances import TRUNCATION

from fastgrad import hessian, numerical_gradient

PROCESSES = {"workers": 2, "backend": "processes"}


def module(folder, name, text):
    """Write a module that this process and its workers can import, and import it."""
    folder.joinpath(f"{name}.py").write_text(textwrap.dedent(text))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return __import__(name)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize("seconds", [0.03, 0.0005])
@pytest.mark.parametrize("call", [numerical_gradient, hessian,
                                  functools.partial(numerical_gradient, h="auto")],
                         ids=["gradient", "hessian", "auto"])  # fmt: skip
def test_an_f_that_is_another_one_in_workers_is_an_error(call, seconds, path, monkeypatch, request):
    monkeypatch.setattr("fastgrad._parallel.cost.worth_starting", lambda saved: True)
    name = f"scaled_{request.node.callspec.id.replace('-', '_').replace('.', '_')}"
    text = """
        import time
        scale = 1.0
        def f(x, seconds):
            time.sleep(seconds)
            return float(scale * (x**2).sum())
    """
    scaled = module(path, name, text)
    scaled.scale = 3.0
    n = 8 if seconds > 0.01 else 40
    assert np.allclose(call(scaled.f, np.ones(2), args=(0.0,)), 3 * call(np_squares, np.ones(2)))
    with pytest.raises(RuntimeError, match=r"here and .* in a worker, at the same x"):
        call(scaled.f, np.ones(n), args=(seconds,), **PROCESSES)


def np_squares(x):
    return float((x**2).sum())


def test_a_random_f_is_no_other_one_in_workers(monkeypatch):
    monkeypatch.setattr("fastgrad._parallel.cost.worth_starting", lambda saved: True)

    def f(x):
        time.sleep(0.001)
        return float((x**2).sum() + 1e-9 * np.random.default_rng().standard_normal())

    np.testing.assert_allclose(numerical_gradient(f, np.ones(60), **PROCESSES), 2.0, atol=1e-3)


def test_workers_find_modules_of_folders_that_were_added_later(path):
    numerical_gradient(lambda x: time.sleep(0.03) or np_squares(x), np.ones(8), **PROCESSES)
    late = module(path, "late_module", """
        import time
        def f(x):
            time.sleep(0.03)
            return float((x**2).sum())
    """)  # fmt: skip
    np.testing.assert_allclose(numerical_gradient(late.f, np.ones(8), **PROCESSES), 2.0)


def test_an_f_of_a_module_that_workers_cannot_import_is_an_error_that_says_so(monkeypatch):
    made = type(sys)("made_at_run_time")
    exec("import time\ndef f(x):\n    time.sleep(0.03)\n    return float((x**2).sum())", vars(made))
    monkeypatch.setitem(sys.modules, "made_at_run_time", made)
    made.f.__module__ = "made_at_run_time"
    with pytest.raises(TypeError, match=r"could not be unpacked in a worker .*made_at_run_time"):
        numerical_gradient(made.f, np.ones(8), **PROCESSES)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_used_workers_ends(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(f"""
        import multiprocessing, time
        import numpy as np
        from fastgrad import numerical_gradient

        def f(w):
            time.sleep(0.05)
            return float(np.sum(w**2))

        def job():
            print(numerical_gradient(f, np.ones(8), workers=2, full_output=True)[1].workers)

        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=job)
            process.start()
            process.join()
            print("ended", process.exitcode)
    """))  # fmt: skip
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == ["2", "ended", "0"], done.stderr


def test_threads_that_share_an_x_which_f_reads_from_outside_have_the_gradient_each():
    x = np.array([1.0, 2.0, 3.0])

    def closure(_):
        time.sleep(0.0002)
        return float(np.sum(x**2))

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda k: numerical_gradient(closure, x), range(8)))
    assert all(one.tobytes() == found[0].tobytes() for one in found)
    np.testing.assert_allclose(found[0], 2 * x, rtol=TRUNCATION)
    assert x.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("kind", ["views that overlap", "two orders of a dict"])
def test_threads_whose_x_share_memory_put_all_of_it_back(kind):
    y = np.arange(1.0, 7.0)
    xs = [y[:4], y[2:]]
    if kind == "two orders of a dict":
        xs = [{"a": y[:3], "b": y[3:]}, {"b": y[3:], "a": y[:3]}]

    def f(v):
        time.sleep(0.0002)
        parts = v.values() if isinstance(v, dict) else [v]
        return float(sum(np.sum(part**2) for part in parts))

    for _ in range(5):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda v: numerical_gradient(f, v), xs))
    assert y.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_lock_is_free_after_the_call():
    x = np.ones(2)
    numerical_gradient(lambda _: float(x @ x), x)
    thread = threading.Thread(target=numerical_gradient, args=(lambda w: float(w @ w), x))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
