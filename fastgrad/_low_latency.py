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

_pools: dict[int, ThreadPool] = {}
"""One for each number of workers."""

# The threads do not exist in a forked child, which has to start its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


class LowLatencyThreads(ThreadingBackend):  # type: ignore[misc]
    """joblib's ThreadingBackend without the polling, on a pool that outlives the call."""

    # Where this is true, joblib sleeps in 10 ms steps until a callback has stored the result.
    supports_retrieve_callback = False

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        """Wait for one task and return its result, or raise its exception."""
        return self.retrieve_result_callback(out.get(timeout))

    def _get_pool(self) -> ThreadPool:
        if self._n_jobs not in _pools:
            _pools[self._n_jobs] = ThreadPool(self._n_jobs)
        return _pools[self._n_jobs]

    def terminate(self) -> None:
        """Keep the pool: the next call uses it."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop the pool with all that waits in it: after an error, or Ctrl-C."""
        _pools.pop(self._n_jobs).terminate()


@functools.cache
def register(name: str) -> None:
    """Make the backend known to joblib under `name`."""
    joblib.register_parallel_backend(name, LowLatencyThreads)
