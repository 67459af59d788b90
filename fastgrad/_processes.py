"""joblib's processes on this machine: asked again and again, and deaf to Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from fastgrad import _shared_memory

_open = threading.local()
"""Has `parallel`, open for so many `workers`; all share joblib's processes."""


def results(workers: int, tasks: list[tuple[Any, ...]]) -> Iterator[Any]:
    """Yield the results of all tasks, (call, arguments, keywords), as they come.

    joblib 1.6 notes a folder for every call that opens its processes anew, until this process
    ends (1.5 kB); so they stay open from call to call.
    """
    from joblib.externals.loky.process_executor import ShutdownExecutorError

    try:
        try:
            done = _dispatch(workers, tasks)
        except ShutdownExecutorError:  # Somebody else uses joblib, too, and has ended them.
            _close()
            done = _dispatch(workers, tasks)
        yield from done
    except BaseException:
        _close()  # joblib has killed the workers then.
        raise


def _dispatch(workers: int, tasks: list[tuple[Any, ...]]) -> Iterator[Any]:
    from joblib import Parallel

    with unheard_interrupts():
        if getattr(_open, "workers", None) != workers:
            _close()
            # One task a block: joblib's own batching would lump them together.
            parallel = Parallel(
                workers,
                backend="loky",
                batch_size=1,
                return_as="generator_unordered",
                temp_folder=_shared_memory.folder(),
            )
            _open.parallel, _open.workers = parallel.__enter__(), workers
        done: Iterator[Any] = _open.parallel(iter(tasks))
    return done


def _close() -> None:
    _open.workers = None
    if parallel := vars(_open).pop("parallel", None):
        parallel.__exit__(None, None, None)


def end() -> None:
    """End the processes, also those that are just starting.

    The interpreter would wait for them when it ends, and for their start as well.
    """
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(kill_workers=True)


@contextlib.contextmanager
def unheard_interrupts() -> Iterator[None]:
    """Hold SIGINT back from this thread, and from what it starts: threads and processes.

    Ctrl-C in a terminal goes to the workers as well, but is meant for who they work for: there it
    is decided whether the work goes on. Who is still starting would print where it was.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as joblib_tracker

    # They let SIGINT through again once they have started.
    resource_tracker.ensure_running()
    joblib_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def serve(caller: int) -> None:
    """Live as long as the process `caller`, of which this is a child, and do nothing on SIGINT."""
    if os.getppid() != caller:
        os._exit(1)  # killed while this process was starting
    # Nothing but the main thread may, and that is where joblib's processes work.
    if threading.current_thread() is not threading.main_thread():
        return
    # To ignore it or to hold it back would be handed down to the programs that f starts.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.siginterrupt(signal.SIGINT, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with, args=[caller], daemon=True).start()


def _end_with(caller: int) -> None:
    """Wait for the end of a killed caller, after which joblib's processes would wait for more."""
    while os.getppid() == caller:
        time.sleep(0.5)
    os._exit(1)
