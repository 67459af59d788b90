"""Pools of workers that calls can be given to: threads, processes, Dask, joblib's backends."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

Done = SimpleQueue[Any]
"""Where a pool puts the futures of calls that are done."""

SCHEDULER_PATIENCE = 5
"""Seconds that a Dask client may look for its scheduler."""

_pools: dict[tuple[str, int], Pool] = {}
"""Kept from call to call."""

_of_the_parent: list[Any] = []


class Pool:
    """Workers of an executor of `concurrent.futures`."""

    warm = False  # whether the workers have been started
    shares_memory = False  # whether they are threads of this process
    survives = False  # whether the loss of a worker costs the others nothing
    retries = 2  # how often to hand out a task again whose worker was lost
    lost: tuple[type[BaseException], ...] = (BrokenExecutor, CancelledError)

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker make a call."""
        return self.executor.submit(call, *arguments)

    def next_done(self, done: Done) -> Any:
        """Wait for the next call to be done."""
        future = done.get()
        self.warm = True
        return future

    def abandon(self) -> None:
        """Leave the workers to themselves, whatever they are at, and start new ones next time."""
        for key in [key for key, pool in _pools.items() if pool is self]:
            del _pools[key]
        self.executor.shutdown(wait=False, cancel_futures=True)


class Threads(Pool):
    """Threads of this process."""

    warm = shares_memory = True


class Processes(Pool):
    """Processes on this machine.

    They come from a server process that has imported NumPy once: eight start in 0.2 s on two cores,
    where joblib's take 1.3 s.
    """

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker make a call; any call may start a process."""
        with _apart():
            return self.executor.submit(call, *arguments)

    def abandon(self) -> None:
        """End the processes."""
        processes = list((getattr(self.executor, "_processes", None) or {}).values())
        # Before Python 3.12 the executor's thread stumbles over futures that were cancelled.
        waiting = getattr(self.executor, "_pending_work_items", {})
        for key in [key for key, item in list(waiting.items()) if item.future.cancelled()]:
            waiting.pop(key, None)
        super().abandon()
        for process in processes:
            process.terminate()
        for process in processes:  # One that is still starting looks for the executor's queues.
            process.join(1.0)


_starting = threading.Lock()
"""Two threads that hide the caller's script at once might never put it back."""


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Start workers without the caller's script, which they would run again.

    What they need of it comes with the work: cloudpickle sends it by value.
    """
    with _starting, _no_ctrl_c():
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Hear of Ctrl-C when the workers have been started; their server inherits the mask."""
    heard: list[Any] = []
    in_main = threading.current_thread() is threading.main_thread()
    in_main = in_main and signal.getsignal(signal.SIGINT) is not None  # or it could not be put back
    handler = signal.signal(signal.SIGINT, lambda *what: heard.append(what)) if in_main else None
    masks = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _serve() -> None:
    """Live as long as the caller, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.siginterrupt(signal.SIGINT, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    caller.join()  # It was killed: it would have ended this process otherwise.
    os._exit(1)


def _processes(workers: int) -> Pool:
    methods = multiprocessing.get_all_start_methods()
    # The server of a forked child's parent does not serve the child.
    forkserver = "forkserver" in methods and not _of_the_parent
    context = multiprocessing.get_context("forkserver" if forkserver else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(["fastgrad._derivatives.engine"])
    # A process that multiprocessing has started waits for its children at its end.
    multiprocessing.util.Finalize(None, _end_pools, exitpriority=100)
    return Processes(ProcessPoolExecutor(workers, context, initializer=_serve))


def _end_pools() -> None:
    for pool in _pools.values():
        pool.executor.shutdown(cancel_futures=True)


class Dask(Pool):
    """The workers of the Dask cluster whose client is active."""

    warm = survives = True
    retries = 0  # Dask has tried again itself.

    def __init__(self) -> None:
        import distributed
        from joblib.parallel import get_active_backend

        configured = get_active_backend()[0]
        self.client = getattr(configured, "client", None) or distributed.get_client()
        self._handed_out: weakref.WeakSet[Any] = weakref.WeakSet()
        self.lost = (*self.lost, distributed.KilledWorker)

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker make a call."""
        # Dask's own executor never ends a future whose task Dask has cancelled.
        future: Future[Any] = Future()
        try:
            remote = self.client.submit(call, *arguments, pure=False)
        except Exception as error:
            if self.client.status != "running":
                raise lost_scheduler(self.client) from error
            raise
        self._handed_out.add(remote)
        future.add_done_callback(lambda future: remote.cancel() if future.cancelled() else None)
        self.client.loop.add_callback(_pass_on, remote, future)
        return future

    def next_done(self, done: Done) -> Any:
        """Wait for the next call to be done, or for the scheduler to be lost."""
        away = 0
        while away < SCHEDULER_PATIENCE:
            with contextlib.suppress(Empty):
                return done.get(timeout=1.0)
            away = 0 if self.client.status == "running" else away + 1
        raise lost_scheduler(self.client)

    def abandon(self) -> None:
        """Cancel what has been handed out."""
        self.client.cancel(list(self._handed_out))


def lost_scheduler(client: Any) -> RuntimeError:
    """Return the error for a Dask client that has no scheduler any more."""
    address = getattr(client.scheduler, "address", "an unknown address")
    return RuntimeError(
        f"the Dask scheduler at {address} was lost: its client is {client.status}; start a new one"
    )


async def _pass_on(remote: Any, future: Future[Any]) -> None:
    try:
        result, error = await remote.result(), None
    except BaseException as raised:
        result, error = None, raised
        if isinstance(error, CancelledError) and remote.client.status != "running":
            return  # `next_done` tells that the scheduler was lost
    if future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class Joblib(Pool):
    """Any backend of joblib, None is the active one; all calls handed out are made together."""

    warm = True

    def __init__(self, workers: int, backend: str | None) -> None:
        self._options = {"n_jobs": workers, "backend": backend, "batch_size": 1}
        self._waiting: list[tuple[Future[Any], Any]] = []

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Note a call."""
        future: Future[Any] = Future()
        self._waiting.append((future, partial(call, *arguments)))
        return future

    def next_done(self, done: Done) -> Any:
        """Make all calls that wait, and return the next that is done."""
        if done.empty():
            self._make_calls()
        return done.get()

    def _make_calls(self) -> None:
        from joblib import Parallel

        waiting = [item for item in self._waiting if item[0].set_running_or_notify_cancel()]
        self._waiting = []
        try:
            outcomes = Parallel(**self._options, pre_dispatch="all")(
                (_caught, (call,), {}) for _, call in waiting
            )
        except Exception as error:
            outcomes = [(None, error)] * len(waiting)
        for (future, _), (result, failure) in zip(waiting, outcomes, strict=True):
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def abandon(self) -> None:
        """Forget the calls that wait."""
        self._waiting = []


def _caught(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what a call returns and what it raises: an error would have joblib end its workers."""
    try:
        return call(), None
    except Exception as error:
        return None, error


def open_pool(backend: str | None, workers: int, name: str) -> Pool:
    """Return a pool of so many workers, kept from an earlier call where there is one."""
    if name == "dask":
        return Dask()
    if backend not in ("threads", "processes"):
        return Joblib(workers, backend)
    key = backend, workers
    if key not in _pools:
        _pools[key] = (
            Threads(ThreadPoolExecutor(workers, thread_name_prefix="fastgrad"))
            if backend == "threads"
            else _processes(workers)
        )
    return _pools[key]


def is_warm(backend: str | None, workers: int) -> bool:
    """Tell whether no processes have to be started for such a pool."""
    return backend != "processes" or (
        (pool := _pools.get((backend, workers))) is not None and pool.warm
    )


def _forget() -> None:
    """Start anew in a forked child, in which neither threads nor processes are its own.

    The parent's pools are kept: to collect them would take locks that may be held for ever.
    """
    _of_the_parent.append(_pools.copy())
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
