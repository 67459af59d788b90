"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"
TAKEN = errno.EACCES, errno.EAGAIN, errno.EDEADLK
"""How a system says that somebody else has the lock."""

_held: set[int] = set()


def _forked() -> None:
    """Let go of what belongs to the parent: a lock lasts as long as anyone has its file open."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep every other process that asks the same out of a folder, which is made if need be.

    The system ends it with the process, however that ends.

    Raises
    ------
    BlockingIOError
        If somebody is in there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, alone_in(folder):
    ...     with alone_in(folder):
    ...         pass
    Traceback (most recent call last):
    BlockingIOError: ... is in use...
    """
    path = Path(folder, NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open(path)
    _held.add(handle)
    try:
        yield
    finally:
        # First the name, so that nobody locks a file that others do not find any more.
        with contextlib.suppress(OSError):  # Windows keeps what is open
            path.unlink()
        _held.discard(handle)
        os.close(handle)


def _open(path: Path) -> int:
    """Return the handle of the locked file."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle)
            # Who had the lock may have removed the file since it was opened here.
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(handle)
            if error.errno not in TAKEN:
                raise
            raise BlockingIOError(
                f"{path.parent} is in use: another process has locked {path}; wait until it has "
                "ended, stop it, or take another folder"
            ) from error
        os.close(handle)


if sys.platform == "win32":

    def _lock(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
