"""Threads that share the work of one kernel: nothing left out, nothing twice, the same bits."""

import contextlib
import threading
import time
from collections import deque

import numba
import numpy as np
import pytest
from conftest import poisoned, same_bits

from fastgrad import TwoLayerNet, _scratch, _threads, engine
from fastgrad.executors import choose
from fastgrad.kernels import curves
from fastgrad.kernels.tickets import finish, stages, take, wait
from fastgrad.objectives import shared_work


@numba.njit(nogil=True)
def count(tickets, items, taken, early):
    """Take items of two stages, the second after all of the first; note how often each is taken."""
    for stage in range(2):
        k = take(tickets, stage)
        while k < items:
            if stage and taken[0].sum() != items:
                early[0] = 1
            taken[stage, k] += 1
            finish(tickets, stage)
            k = take(tickets, stage)
        while not wait(tickets, stage, items):
            pass


@pytest.mark.parametrize("way", [count, count.py_func], ids=["compiled", "python"])
@pytest.mark.parametrize(("threads", "items"), [(1, 5), (2, 3000), (4, 500), (4, 2), (3, 0)])
def test_every_item_is_taken_once_and_no_stage_begins_too_soon(way, threads, items):
    tickets, taken, early = stages(2), np.zeros((2, items), np.int64), np.zeros(1)
    given = tickets, items, taken, early
    helpers = [threading.Thread(target=way, args=given) for _ in range(threads)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join(60)
        assert not helper.is_alive()
    assert (taken == 1).all()
    assert not early


@pytest.fixture
def large(rng):
    """Return a network of several panels, and a batch of several groups of samples."""
    net = TwoLayerNet(40, 70, 5, 1.0, rng=rng)
    x = rng.random((60, 40)) * (rng.random((60, 40)) < 0.5)
    return net, x, rng.integers(0, 5, 60)


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.usefixtures("always")
def test_the_same_bits_on_any_threads(large, monkeypatch, workers):
    net, x, t = large
    serial = net.numerical_gradient(x, t)
    monkeypatch.setattr(engine, "cores", lambda: workers)
    monkeypatch.setattr(shared_work, "TOGETHER", 25)
    for _ in range(100):
        assert same_bits(net.numerical_gradient(x, t, workers=workers), serial)


@pytest.mark.usefixtures("always")
def test_a_thread_that_comes_late_finds_nothing_to_do(large, monkeypatch):
    net, x, t = large
    serial = net.numerical_gradient(x, t)
    kernels, done = {}, threading.Event()
    for name in ("samples_kernel", "both_layers_kernel"):
        kernels[name] = kernel = getattr(shared_work, name)

        def late(*given, kernel=kernel):
            if threading.current_thread() is not threading.main_thread():
                assert done.wait(30)
            return kernel(*given)

        monkeypatch.setattr(shared_work, name, late)
    monkeypatch.setattr(engine, "cores", lambda: 2)
    gradient = net.numerical_gradient(x, t, workers=2)  # nobody waits for it
    done.set()
    list(_threads.results(2, [(time.sleep, (0.01,))] * 4))  # until it has been through
    assert same_bits(gradient, serial)


@pytest.mark.usefixtures("always")
def test_the_gradient_is_complete_when_it_is_returned(large, monkeypatch):
    net, x, t = large
    serial = net.numerical_gradient(x, t)
    rows, begun = curves.panel_rows, threading.Event()

    def slow(*given):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(30)
        else:
            begun.set()
            time.sleep(0.1)
        rows(*given)

    monkeypatch.setattr(engine, "cores", lambda: 2)
    monkeypatch.setattr(np, "empty", poisoned)
    monkeypatch.setattr(curves, "panel_rows", slow)
    monkeypatch.setattr(shared_work, "both_layers_kernel", curves.both_layers_kernel.py_func)
    gradient = net.numerical_gradient(x, t, workers=2)
    assert same_bits({name: part.copy() for name, part in gradient.items()}, serial)


@pytest.mark.parametrize("fails", [False, True])
def test_who_has_not_begun_when_it_is_done_does_not_begin(fails):
    made, free, busy = [], threading.Event(), threading.Event()

    def call():
        made.append(threading.current_thread())
        if fails:
            raise KeyboardInterrupt

    def wait():
        busy.set()
        assert free.wait(30)

    def help_with(task):
        _threads._help_with(deque([task]), 2, 1)

    help_with(wait)
    assert busy.wait(30)
    with contextlib.suppress(KeyboardInterrupt):
        _threads.together(2, call)
    after = threading.Event()
    help_with(after.set)
    free.set()
    assert after.wait(30)
    assert made == [threading.main_thread()]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("always")
def test_long_work_is_done_in_several_calls(large, monkeypatch, workers):
    net, x, t = large
    expected = net.numerical_gradient(x, t)
    calls = []
    kernel = shared_work.both_layers_kernel
    monkeypatch.setattr(engine, "cores", lambda: workers)
    monkeypatch.setattr(engine, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(shared_work, "CALL_SECONDS", 5e-6)
    monkeypatch.setattr(
        shared_work, "both_layers_kernel", lambda *given: (calls.append(given), kernel(*given))[1]
    )
    assert same_bits(net.numerical_gradient(x, t, workers=workers), expected)
    assert len(calls) >= 6


@pytest.mark.parametrize("most", [0, 2**26])
@pytest.mark.parametrize(("samples", "part"), [(20, 20), (60, 20), (50, 17)])
def test_memory_does_not_grow_with_the_batch(large, monkeypatch, most, samples, part):
    net, x, t = large
    taken, aligned = [], _scratch.aligned
    monkeypatch.setattr(shared_work, "TOGETHER", 20)
    monkeypatch.setattr(_scratch, "MOST", most)
    monkeypatch.setattr(
        _scratch, "aligned", lambda size, *kind: (taken.append(size), aligned(size, *kind))[1]
    )
    _scratch.take()  # what earlier tests left
    net.numerical_gradient(x[:samples], t[:samples])
    assert taken[2:] == [part * 80, part * (160 + 10 + 71 + 7)]


def test_an_interrupt_is_heard_between_two_calls():
    made = []

    def interrupted():
        made.append("first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.together(2, 10.0, [interrupted, lambda: made.append("second")])
    assert made == ["first"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_that_waits_for_others_is_made_again(threads):
    answers = [True, False, False]
    engine.together(threads, 1e-3, [lambda: not answers or answers.pop()])
    assert answers == []


def test_who_is_left_alone_gives_up():
    begun, calls = threading.Event(), []

    def call():
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(30)
            raise KeyboardInterrupt
        begun.set()
        calls.append(threading.current_thread())
        return False

    with pytest.raises(KeyboardInterrupt):
        engine.together(2, 1e-3, [call])
    list(_threads.results(2, [(time.sleep, (0.01,))] * 4))  # once the helper is through
    made = len(calls)
    time.sleep(0.05)
    assert len(calls) == made


@pytest.mark.parametrize(
    ("workers", "backend", "seconds", "threads"),
    [(2, "threads", 10.0, 2), (1, None, 10.0, 1), (2, "threads", 1e-6, 1), (2, "loky", 10.0, 1)],
)
def test_how_many_threads_share(monkeypatch, workers, backend, seconds, threads):
    monkeypatch.setattr(engine, "cores", lambda: 2)
    monkeypatch.setattr("fastgrad.executors.cores", lambda: 2)
    assert engine.team(choose(workers, backend), seconds) == threads


def test_no_more_threads_than_cores(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 3)
    assert engine.team(choose(8, "threads"), 10.0) == 3


def test_no_wait_is_endless():
    tickets = stages(1)
    assert not wait(tickets, 0, 1)
    finish(tickets, 0)
    assert wait(tickets, 0, 1)
