"""The state of a training run in a file: written whole, read with suspicion.

A checkpoint is an npz file that NumPy itself can read: the parameters, the columns of the history,
and a header in JSON, as the bytes of a uint8 array. Nothing in it is a pickle.
"""

from __future__ import annotations

import json
import logging
import math
import os
import reprlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastgrad._files import replacing
from fastgrad._typing import Array
from fastgrad._version import __version__

PATTERN = "checkpoint-*.npz"
HEADER = {"iteration": int, "generator": dict, "config": dict, "seconds": float}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where a training run stands after a step, before the accuracies of that step.

    `iteration` steps have been done in so many `seconds`. `history` are the columns of
    `fastgrad.training.History`, `generator` the state of what draws the batches, `config` what the
    run was called with, and `path` the file that this was read from.
    """

    iteration: int
    params: dict[str, Array]
    history: dict[str, Array]
    generator: dict[str, Any]
    config: dict[str, Any]
    seconds: float
    path: Path | None = None


def newest_first(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a folder, the one after the most steps first."""
    found = Path(folder).glob(PATTERN)
    return sorted(found, key=lambda path: (len(path.name), path.name), reverse=True)


def write(folder: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Write a checkpoint to `folder`, whole or not at all, and return its path.

    When this returns, the file outlives a power cut.
    """
    arrays: dict[str, Any] = {}
    for group in ("params", "history"):
        arrays |= {f"{group}.{name}": a for name, a in getattr(checkpoint, group).items()}
    header = {name: getattr(checkpoint, name) for name in HEADER}
    header |= {"fastgrad": __version__, "arrays": sorted(arrays)}
    text = json.dumps(header, allow_nan=False)
    path = Path(folder, PATTERN.replace("*", f"{checkpoint.iteration:08d}"))
    with replacing(path) as file:
        np.savez(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
    _logger.info("wrote %s", path)
    return path


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that anyone may have written, or the newest of a folder.

    Its check sums are compared, nothing is unpacked or unpickled, and no more memory is filled
    than the file has bytes.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    ValueError
        If it is damaged, or no checkpoint of this version. The message names the one before it.
    """
    path = Path(path)
    found = newest_first(path) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"{path} is no file that can be read, nor a folder with {PATTERN}")
    with found[0].open("rb") as file:
        try:
            return _parse(found[0], _arrays(file))
        except Exception as error:
            # zipfile, NumPy and json raise almost anything on bytes that none of them wrote.
            why = error if isinstance(error, ValueError) else f"it is damaged, {error!r}"
            older = f"; to go on from the one before it, resume {found[1]}" if found[1:] else ""
            raise ValueError(f"{found[0]} is no checkpoint to go on with: {why}{older}") from error


def _arrays(file: IO[bytes]) -> dict[str, Array]:
    archive = zipfile.ZipFile(file)
    # Stored bytes that do not overlap cannot be more than the file has: no bomb fits in there.
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise ValueError("its parts are compressed, which no checkpoint's are")
    if sum(member.file_size for member in archive.infolist()) > os.fstat(file.fileno()).st_size:
        raise ValueError("its parts claim to be larger than the file")
    # NumPy stops reading before the check sum where an array is shorter than its part.
    if wrong := archive.testzip():
        raise ValueError(f"it is damaged, the check sum of {wrong} is wrong")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _parse(path: Path, arrays: dict[str, Array]) -> Checkpoint:
    if "header" not in arrays:
        raise ValueError(f"it has no header, as what fastgrad writes, got {sorted(arrays)}")
    header = json.loads(arrays.pop("header").tobytes())
    if (written := header.pop("fastgrad")) != __version__:
        raise ValueError(
            f"it is of fastgrad {written!r}; this is {__version__}, which may compute other bits"
        )
    if (named := header.pop("arrays")) != sorted(arrays):
        raise ValueError(f"it must hold the arrays {named}, got {sorted(arrays)}")
    groups: dict[str, dict[str, Array]] = {"params": {}, "history": {}}
    for name, array in arrays.items():
        group, _, column = name.partition(".")
        groups[group][column] = array
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers, got {reprlib.repr(array)}")
    for name, kind in HEADER.items():
        if type(value := header[name]) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}, got {reprlib.repr(value)}")
    if not 0 <= header["seconds"] < math.inf:
        raise ValueError(f"seconds must be finite and from 0, got {header['seconds']}")
    return Checkpoint(params=groups["params"], history=groups["history"], path=path, **header)
