"""Calls on threads: all made once, results in order, errors heard."""

import multiprocessing
import sys
import threading

import joblib
import pytest

from fastgrad._parallel import threads


@pytest.mark.parametrize("workers", [1, 3, 50])
@pytest.mark.parametrize("blocks", [0, 7])
def test_results_come_in_the_order_of_the_blocks(workers, blocks):
    made = []
    found = threads.run(lambda k: made.append(k) or k * k, range(blocks), workers)
    assert found == [k * k for k in range(blocks)]
    assert sorted(made) == list(range(blocks))


def test_as_many_threads_as_workers():
    together = threading.Barrier(3, timeout=60)
    names = threads.run(lambda _: (together.wait(), threading.get_ident())[1], range(3), 3)
    assert len(set(names)) == 3


def test_calls_within_calls_are_made_here():
    outer = threads.run(
        lambda _: {*threads.run(lambda _: threading.get_ident(), range(3), 3)}, range(4), 2
    )
    assert all(len(inner) == 1 for inner in outer)


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_and_what_waits_is_cancelled(error, workers):
    made, cancelled = [], threading.Event()

    def call(k):
        made.append(k)
        if k:
            cancelled.wait(60)  # this thread begins nothing else meanwhile
        else:
            raise error("broken")

    with pytest.raises(error, match="broken"):
        threads.run(call, range(100), workers)
    cancelled.set()
    assert len(made) <= (1 if workers == 1 else 3)
    assert threads.run(abs, [-1, 2], workers) == [1, 2]


def test_how_many_workers():
    assert threads.count(3) == 3
    assert threads.count(-1) == joblib.cpu_count()
    assert threads.count(-10_000) == 1
    assert threads.count(None) == 1
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert threads.count(None) == 3
        assert threads.count(2) == 2


def test_a_worker_of_joblib_leaves_the_cores_to_its_siblings():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        counts = joblib.Parallel()(joblib.delayed(threads.count)(None) for _ in range(2))
    assert counts == [1, 1]


def forked(queue):
    queue.put(threads.run(abs, [-1, -2, -3], 2))


@pytest.mark.skipif(sys.platform != "linux", reason="fork is for Linux")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    threads.run(abs, [-1, -2, -3], 2)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=forked, args=(queue,))
    child.start()
    child.join(60)
    assert not child.is_alive()
    assert queue.get() == [1, 2, 3]
