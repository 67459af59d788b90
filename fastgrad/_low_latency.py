"""A joblib backend for tasks of a tenth of a millisecond.

joblib's own threading backend waits for its results in steps of 10 ms, and builds a pool of
threads for every call. This one keeps its threads, and who waits for a result is one of the
workers: a thread less has to be woken.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import joblib
from joblib._parallel_backends import ThreadingBackend

Tasks = deque[tuple["Future[Any]", Callable[[], Any]]]
"""What is left to do of one call. To take a task is to pop it."""


def _do_next(tasks: Tasks) -> None:
    """Do the first of the tasks that are left. What interrupts it is raised here too."""
    try:
        future, call = tasks.popleft()
    except IndexError:  # Somebody else has done it.
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise


class _Threads:
    """Threads that do the next task of a call, once for each time that the call is named.

    They are daemons. An interpreter that ends would wait for those of `concurrent.futures`, and so
    for a block that nobody wants any more; the pool of `multiprocessing` hands every call through
    three threads.
    """

    def __init__(self, count: int) -> None:
        self._waiting: SimpleQueue[Tasks | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def help_with(self, tasks: Tasks) -> None:
        self._waiting.put(tasks)

    def stop(self) -> None:
        """End each thread when all that waits now is done."""
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (tasks := self._waiting.get()) is not None:
            with contextlib.suppress(BaseException):  # The future has it.
                _do_next(tasks)
            del tasks  # They may hold much, and the next may be long in coming.


_pools: dict[int, _Threads] = {}
"""One for each number of workers."""

_lock = threading.RLock()
"""Held where a pool is given a task or ended: what comes after its end would wait for ever."""


def _forked() -> None:
    """Start anew in a forked child, in which the threads do not exist."""
    _pools.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)


class LowLatencyThreads(ThreadingBackend):  # type: ignore[misc]
    """joblib's ThreadingBackend without the polling, on threads that outlive the call."""

    # Where this is true, joblib sleeps in 10 ms steps until a callback has stored the result.
    supports_retrieve_callback = False

    def start_call(self) -> None:
        """Forget the tasks of the call before."""
        self._tasks: Tasks = deque()

    def submit(self, func: Callable[[], Any], callback: Callable[..., Any]) -> Future[Any]:
        """Have one task done, by another thread or by this one when it waits."""
        future: Future[Any] = Future()
        future.add_done_callback(callback)
        self._tasks.append((future, func))
        with _lock:
            if self._n_jobs not in _pools:
                _pools[self._n_jobs] = _Threads(self._n_jobs - 1)
            _pools[self._n_jobs].help_with(self._tasks)
        return future

    def retrieve_result(self, out: Future[Any], timeout: float | None = None) -> Any:
        """Work until one task is done or taken, and return its result or raise its exception."""
        while self._tasks and not out.done():
            _do_next(self._tasks)
        return out.result(timeout)

    def terminate(self) -> None:
        """Keep the threads: the next call uses them."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what waits, and leave the threads, which may be long at a task, to themselves.

        After an error, or Ctrl-C. Tasks of other calls that wait for the same threads are done.
        """
        self._tasks.clear()
        with _lock:
            if pool := _pools.pop(self._n_jobs, None):
                pool.stop()


@functools.cache
def register(name: str) -> None:
    """Make the backend known to joblib under `name`."""
    joblib.register_parallel_backend(name, LowLatencyThreads)
