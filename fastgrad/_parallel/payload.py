"""Work on its way to a worker: packed once a call, unpacked once a worker."""

from __future__ import annotations

import io
import os
import sys
import threading
import traceback
import uuid
from typing import Any

import numpy as np

from fastgrad._parallel import blas

MISSING = "missing"
"""What a worker answers that has not received the work yet."""


class UnsendableError(TypeError):
    """The work cannot be pickled."""


class Payload:
    """Something callable that can be sent to workers; a token tells one from another.

    Its ``arrive()`` is called once in each worker, and its ``originals`` are what some arrays held
    before they were moved: these are sent in their place. Threads may share the very object.
    """

    def __init__(self, work: Any, *, shared: bool) -> None:
        self.token, self.shared = uuid.uuid4().hex, shared
        paths = list(sys.path)  # The workers may have been started before it was changed.
        self.content = work if shared else (paths, os.getpid(), blas.threads(), _pack(work))


def _pack(work: Any) -> bytes:
    import cloudpickle  # Takes lambdas and notebook functions along.

    if "__mp_main__" in sys.modules:  # what a script is called in processes that it starts
        cloudpickle.register_pickle_by_value(sys.modules["__mp_main__"])
    originals = [(array, original) for array, original in work.originals]

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, item: Any) -> Any:
            for array, original in originals if isinstance(item, np.ndarray) else ():
                if item is array:
                    return original.__reduce_ex__(5)
                if np.may_share_memory(item, array):
                    raise TypeError("a view of x is moved at the moment")
            return super().reducer_override(item)

    packed = io.BytesIO()
    try:
        Pickler(packed, protocol=5).dump(work)
    except Exception as error:
        raise UnsendableError(
            f"f cannot be sent to a worker ({type(error).__name__}: {error}); let it open files, "
            "locks and connections itself, or pass workers=1"
        ) from error
    return packed.getvalue()


class _Here(threading.local):
    token = ""
    work: Any = None
    working = False


_here = _Here()


def working() -> bool:
    """Tell whether this thread is a worker, at a task: its siblings use the other cores."""
    return _here.working


def call(token: str, content: Any, task: Any) -> Any:
    """Do a task of the work with this token, in a worker.

    Without `content` the work must have been received before; otherwise `MISSING` is returned.
    """
    if callable(content):
        work = content
    else:
        if _here.token != token:
            if content is None:
                return MISSING
            _here.work, _here.token = _unpack(content), token
        work = _here.work
    _here.working = True
    try:
        return work(task)
    finally:
        _here.working = False


class Raised:
    """What f raised, which arrives with the traceback of the worker as its cause.

    One that does not survive the journey is replaced: it would end all workers.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        error = self.error
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        try:
            packed = cloudpickle.dumps(error)
            cloudpickle.loads(packed)
        except Exception:
            packed = cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
        return _arrived, (packed, text)


def _arrived(packed: bytes, text: str) -> Raised:
    import cloudpickle

    raised = Raised(cloudpickle.loads(packed))
    raised.error.__cause__ = RuntimeError(f"in a worker:\n\n{text}")
    return raised


def _unpack(content: tuple[list[str], int, dict[str, int], bytes]) -> Any:
    import cloudpickle

    paths, sender, threads, packed = content
    if sender != os.getpid():
        sys.path.extend(path for path in paths if path not in sys.path)
        blas.set_threads(threads)
    try:
        work = cloudpickle.loads(packed)
    except Exception as error:
        raise UnsendableError(
            f"f could not be unpacked in a worker ({type(error).__name__}: {error}): the modules "
            "that f comes from must be importable there; or pass backend='threads'"
        ) from error
    work.arrive()
    return work
