"""What joblib's Dask backend does not tell: that a task was lost with its workers.

Dask gives a task to another worker when its own is killed, and gives up after a few. joblib 1.6
notes that in the task's future, where nobody looks, and waits for ever.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import BrokenExecutor
from typing import Any

_logger = logging.getLogger(__name__)


def report(backend: Any) -> None:
    """Make an instance of joblib's Dask backend hand on the failure of a task."""
    if "submit" in vars(backend):
        return
    submit = backend.submit

    def reporting(task: Any, callback: Any = None) -> Any:
        def tell(future: Any) -> None:
            if future.exception() is not None:
                callback(future.exception())

        future = submit(task, callback)
        future.add_done_callback(tell)
        return future

    backend.submit = reporting


def lost(error: Exception) -> bool:
    """Tell, and log, whether an error means that workers were killed."""
    distributed = sys.modules.get("distributed")
    killed = () if distributed is None else (distributed.KilledWorker,)
    if not isinstance(error, (BrokenExecutor, *killed)):
        return False
    _logger.warning("workers were lost: %r", error)
    return True
