"""A joblib backend for tasks of a tenth of a millisecond.

joblib's own threading backend waits for its results in steps of 10 ms, and builds a pool of
threads for every call. This one blocks on the result, and keeps its threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import joblib
from joblib._parallel_backends import ThreadingBackend


class _Threads:
    """Threads that do what is submitted.

    They are daemons. An interpreter that ends would wait for those of `concurrent.futures`, and so
    for a block that nobody wants any more; the pool of `multiprocessing` hands every call through
    three threads.
    """

    def __init__(self, count: int) -> None:
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.put((future, call))
        return future

    def stop(self) -> None:
        """Cancel what waits; each thread ends after the call that it is at."""
        with contextlib.suppress(Empty):
            while (task := self._waiting.get_nowait()) is not None:
                task[0].cancel()
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            future, call = task
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del (
                task,
                future,
                call,
            )  # What they hold may be large, and the next may be long in coming.


_pools: dict[int, _Threads] = {}
"""One for each number of workers."""

# The threads do not exist in a forked child, which has to start its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


class LowLatencyThreads(ThreadingBackend):  # type: ignore[misc]
    """joblib's ThreadingBackend without the polling, on threads that outlive the call."""

    # Where this is true, joblib sleeps in 10 ms steps until a callback has stored the result.
    supports_retrieve_callback = False

    def submit(self, func: Callable[[], Any], callback: Callable[..., Any]) -> Future[Any]:
        """Have one task done."""
        if self._n_jobs not in _pools:
            _pools[self._n_jobs] = _Threads(self._n_jobs)
        future = _pools[self._n_jobs].submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result(self, out: Future[Any], timeout: float | None = None) -> Any:
        """Wait for one task and return its result, or raise its exception."""
        return out.result(timeout)

    def terminate(self) -> None:
        """Keep the threads: the next call uses them."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop the threads with all that waits for them: after an error, or Ctrl-C."""
        _pools.pop(self._n_jobs).stop()


@functools.cache
def register(name: str) -> None:
    """Make the backend known to joblib under `name`."""
    joblib.register_parallel_backend(name, LowLatencyThreads)
