"""Threads for tasks of a tenth of a millisecond.

To hand a call over through joblib takes a quarter of a millisecond, and three times that where its
code is not in the processor's caches, so after each longer piece of work. Here the threads are
kept, and who waits for a result is one of the workers: a thread less has to be woken.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any

Task = tuple[Callable[..., Any], tuple[Any, ...]]

Tasks = deque[Callable[[], None]]
"""What is left to do of one call. To take a task is to pop it."""


class _Here(threading.local):
    working = False


_here = _Here()


def working() -> bool:
    """Tell whether this thread is at a task: its siblings use the other cores."""
    return _here.working


def results(workers: int, tasks: list[Task]) -> Iterator[Any]:
    """Do all tasks on so many threads, this one among them; yield the results in their order.

    After an error, or Ctrl-C, what waits is left undone, and the threads, which may be long at a
    task, are left to themselves.
    """
    futures: list[Future[Any]] = [Future() for _ in tasks]
    left: Tasks = deque(partial(_do, *pair) for pair in zip(futures, tasks, strict=True))
    try:
        _help_with(left, workers, len(left) - 1)
        for future in futures:
            while left and not future.done():
                _do_next(left)
            yield future.result()
    except BaseException:
        left.clear()
        with _lock:
            if pool := _pools.pop(workers, None):
                pool.stop()
        raise


def together(workers: int, call: Callable[[], None]) -> None:
    """Make one call on so many threads, this one among them, and return when it returns here.

    It shares its work by itself and returns when all of that is done: nobody waits for threads
    that are late.
    """
    left: Tasks = deque([call] * (workers - 1))
    try:
        _help_with(left, workers, workers - 1)
        call()
    finally:
        left.clear()


def _do(future: Future[Any], task: Task) -> None:
    """Do a task for who waits for its result. What interrupts it is raised here too."""
    call, given = task
    try:
        future.set_result(call(*given))
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise


def _do_next(tasks: Tasks) -> None:
    """Do the first of the tasks that are left."""
    try:
        task = tasks.popleft()
    except IndexError:  # Somebody else has done it.
        return
    before, _here.working = working(), True
    try:
        task()
    finally:
        _here.working = before


class _Threads:
    """Threads that help with a call until nothing of it is left.

    They are daemons. An interpreter that ends would wait for those of `concurrent.futures`, and so
    for a block that nobody wants any more.
    """

    def __init__(self, count: int) -> None:
        self._waiting: SimpleQueue[Tasks | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def help_with(self, tasks: Tasks, most: int) -> None:
        """Name the tasks to each thread, or to that many."""
        for _ in range(min(self._count, most)):
            self._waiting.put(tasks)

    def stop(self) -> None:
        """End each thread when all that waits now is done."""
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (tasks := self._waiting.get()) is not None:
            while tasks:
                with contextlib.suppress(BaseException):  # Who waits for it has it.
                    _do_next(tasks)
            del tasks  # They may hold much, and the next may be long in coming.


_pools: dict[int, _Threads] = {}
"""One for each number of workers."""

_lock = threading.RLock()
"""Held where a pool is given a task or ended: what comes after its end would wait for ever."""


def _help_with(tasks: Tasks, workers: int, most: int) -> None:
    with _lock:
        if workers not in _pools:
            _pools[workers] = _Threads(workers - 1)
        _pools[workers].help_with(tasks, most)


def _forked() -> None:
    """Start anew in a forked child, in which the threads do not exist."""
    _pools.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
