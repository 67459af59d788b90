import os
import threading
import time

import joblib
import numpy as np
import pytest

from fastgrad import _threads, engine, parcels
from fastgrad.executors import THREADS, Executor, choose
from fastgrad.objectives.base import Cost


def differentiate(objective, executor):
    return engine.differentiate(objective, executor)[0]


class Squares:
    """The gradient of sum(x²) / 2, two parameters an item: an objective that is no network."""

    shareable = True
    dtype = np.dtype(float)

    def __init__(self, items, seconds=10.0, fail_at=None):
        self.x = np.arange(2.0 * items)
        self.items, self.size = items, 2 * items
        self.length, self.fail_at = seconds, fail_at
        self.calls = []

    def cost(self):
        return Cost(self.length, self.length)

    def prepare(self):
        return True

    def verify(self):
        pass

    def span(self, block):
        return slice(2 * block.start, 2 * block.stop)

    def weights(self):
        return np.arange(1.0, self.items + 1)

    def partials(self, block, out):
        self.calls.append((block, os.getpid(), threading.get_ident()))
        if self.fail_at in block:
            raise ArithmeticError(f"item {self.fail_at} failed")
        out[:] = self.x[self.span(block)]


BACKENDS = ["threads", "processes", "threading", "multiprocessing"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("items", [1, 2, 5, 100])
def test_every_backend_puts_every_piece_in_its_place(backend, items):
    objective = Squares(items)
    assert np.array_equal(differentiate(objective, choose(2, backend)), objective.x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exception_in_a_worker_arrives_as_it_is(backend):
    with pytest.raises(ArithmeticError, match="item 3 failed"):
        differentiate(Squares(9, fail_at=3), choose(2, backend))
    # ... and the backend still works.
    differentiate(Squares(9), choose(2, backend))


class Together(Squares):
    """Squares whose two blocks wait for each other."""

    met = threading.Barrier(2)

    def partials(self, block, out):
        self.met.wait(timeout=30)
        super().partials(block, out)


def test_the_caller_and_threads_that_are_kept_do_the_work():
    first, second = Together(2), Together(2)
    for objective in (first, second):
        differentiate(objective, choose(2, "threads"))
        assert threading.get_ident() in {thread for _, _, thread in objective.calls}
    assert len({thread for _, _, thread in first.calls + second.calls}) == 2


def test_an_interrupt_of_the_caller_at_work_is_raised_at_once():
    def meet():
        both.wait(30)
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        released.wait(30)
        others.append(threading.current_thread())

    both, released, caller = threading.Barrier(2), threading.Event(), threading.get_ident()
    others, rest = [], []
    tasks = [(meet, ()), (meet, ()), (rest.append, (0,))]
    with pytest.raises(KeyboardInterrupt):
        list(_threads.results(2, tasks))
    assert others == []
    released.set()
    while not others:
        time.sleep(0.01)
    others[0].join(30)  # it ends: the next call gets another
    assert rest == []
    assert list(_threads.results(2, [(abs, (-1,))] * 3)) == [1, 1, 1]


def test_an_error_on_threads_does_not_stop_the_work_of_other_callers():
    def fail():
        for _ in range(30):
            with pytest.raises(ArithmeticError):
                differentiate(Squares(40, fail_at=3), choose(2, "threads"))

    failing = threading.Thread(target=fail)
    failing.start()
    while failing.is_alive():
        objective = Squares(40)
        assert np.array_equal(differentiate(objective, choose(2, "threads")), objective.x)


def test_a_task_on_a_thread_stays_serial():
    inside = list(_threads.results(2, [(choose, (2, name)) for name in BACKENDS]))
    assert inside == [Executor(1, None)] * len(BACKENDS)
    assert choose(2, "threads").workers == 2


def test_short_work_stays_here_in_one_block():
    objective = Squares(50, seconds=1e-5)
    differentiate(objective, choose(2, "threads"))
    assert objective.calls == [(range(50), os.getpid(), threading.get_ident())]


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_item_tells_that_all_are_too_little_to_spread(backend):
    objective = Squares(5)
    objective.cost = lambda: None
    differentiate(objective, choose(2, backend))
    assert [block for block, *_ in objective.calls] == [range(1), range(1, 5)]


def test_a_slow_first_item_does_not_tell_what_the_others_cost(monkeypatch):
    def partials(block, out):
        time.sleep(0.1 * (0 in block))
        Squares.partials(objective, block, out)

    objective = Squares(50)
    objective.cost, objective.partials = lambda: None, partials
    monkeypatch.setattr("fastgrad._processes.results", None)  # not to be used
    assert np.array_equal(differentiate(objective, choose(2, "processes")), objective.x)


@pytest.mark.parametrize("workers", [1, None])
def test_serial_is_one_block_here(workers):
    objective = Squares(50)
    differentiate(objective, choose(workers, None))
    assert objective.calls == [(range(50), os.getpid(), threading.get_ident())]


def test_the_ambient_configuration_of_joblib_counts():
    with joblib.parallel_config(n_jobs=3):
        assert choose(None, None) == Executor(3, THREADS)
        assert choose(2, None) == Executor(2, THREADS)
    with joblib.parallel_config("threading", n_jobs=2):
        assert choose(None, None) == Executor(2, None)
        assert choose(None, "processes") == Executor(2, "loky")
    with joblib.parallel_config("loky", n_jobs=2):
        assert choose(None, None) == Executor(2, None)
    assert choose(None, None) == Executor(1, None)
    assert choose(-1, "threads") == Executor(joblib.cpu_count(), THREADS)


def test_joblib_is_asked_where_its_names_are_others(monkeypatch):
    with joblib.parallel_config("threading", n_jobs=3):
        answer = joblib.parallel.get_active_backend()
        monkeypatch.setattr("joblib.parallel.get_active_backend", lambda **prefer: answer)
    assert choose(None, None) == Executor(1, None)
    monkeypatch.delattr("joblib.parallel.default_parallel_config")
    assert choose(None, None) == Executor(3, None)


def test_the_ambient_backend_does_the_work():
    objective = Squares(50)
    with joblib.parallel_config("threading", n_jobs=2):
        result = differentiate(objective, choose(None, None))
    assert np.array_equal(result, objective.x)
    assert objective.calls == []  # a copy was sent


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_worker_of_joblib_stays_serial(backend):
    inside = joblib.Parallel(2, backend=backend)(
        joblib.delayed(choose)(2, name) for name in BACKENDS
    )
    assert inside == [Executor(1, None)] * len(BACKENDS)


def test_the_objective_is_unpickled_once_a_worker():
    received = []
    for parcel in (parcels.pack(Squares(3)), parcels.pack(Squares(3))):
        for block in (range(2), range(2, 3)):
            parcels.partials(parcel, block)
            received.append(parcels._received.objective)
    assert received[0] is received[1] is not received[2] is received[3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_its_own_threads():
    differentiate(Squares(9), choose(2, "threads"))
    child = os.fork()
    if child == 0:
        differentiate(Squares(9), choose(2, "threads"))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
