"""A joblib backend for tasks of a tenth of a millisecond.

joblib's own threading backend waits for its results in steps of 10 ms, and builds a pool of
threads for every call. This one blocks on the result, and keeps its threads.
"""

from __future__ import annotations

import functools
import os
from multiprocessing.pool import ThreadPool
from typing import Any

import joblib
from joblib._parallel_backends import ThreadingBackend


@functools.cache
def _pool(workers: int) -> ThreadPool:
    return ThreadPool(workers)


# The threads do not exist in a forked child, which has to start its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


class LowLatencyThreads(ThreadingBackend):  # type: ignore[misc]
    """joblib's ThreadingBackend without the polling, on a pool that outlives the call."""

    # Where this is true, joblib sleeps in 10 ms steps until a callback has stored the result.
    supports_retrieve_callback = False

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        """Wait for one task and return its result, or raise its exception."""
        return self.retrieve_result_callback(out.get(timeout))

    def _get_pool(self) -> ThreadPool:
        return _pool(self._n_jobs)

    def terminate(self) -> None:
        """Keep the pool: the next call uses it."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop the pool with all that waits in it: after an error, or Ctrl-C."""
        self._get_pool().terminate()
        _pool.cache_clear()


@functools.cache
def register(name: str) -> None:
    """Make the backend known to joblib under `name`."""
    joblib.register_parallel_backend(name, LowLatencyThreads)
