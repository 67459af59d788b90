"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    After an exception `path` is what it was before, and the temporary file is gone. After a power
    cut it is one or the other: the bytes reach the disk before the name, and the name before the
    block ends.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with part.open(mode.replace("w", "x")) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)  # by os: Path of Python 3.10 has a name of its own for it
        if hasattr(os, "O_DIRECTORY"):  # Windows has no handle of a folder
            handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)  # a full disk does not say where it is full
        raise


@contextmanager
def made_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder, with its parents; at the end remove those that were made and are empty."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OSError(f"{path} must be a folder that can be written to: {error}") from error
    try:
        yield path
    finally:
        with suppress(OSError):  # one that is not empty ends it
            for folder in missing:
                folder.rmdir()
