"""The state of a training run in a file: written whole, read with suspicion.

A checkpoint is an npz file that NumPy itself can read: the parameters, the columns of the history,
and a header in JSON, as the bytes of a uint8 array. Nothing in it is a pickle.
"""

from __future__ import annotations

import json
import logging
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastgrad._files import replacing
from fastgrad._typing import Array
from fastgrad._version import __version__
from fastgrad.training.arguments import brief

FORMAT = 1
PATTERN = "checkpoint-*.npz"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where a training run stands after a step, before the accuracies of that step.

    Attributes
    ----------
    iteration : int
        Steps done.
    params : dict of ndarray
        The parameters.
    history : dict of ndarray
        The columns of `fastgrad.training.History`.
    generator : dict
        State of the generator that draws the batches, as NumPy gives it.
    config : dict
        What the run was called with.
    seconds : float
        How long it has run.
    path : Path, optional
        The file that it was read from.
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

    Raises
    ------
    OSError
        If it cannot be written.
    """
    arrays: dict[str, Any] = {}
    for group in ("params", "history"):
        for name, array in getattr(checkpoint, group).items():
            arrays[f"{group}.{name}"] = np.ascontiguousarray(array)
    header = {
        "format": FORMAT,
        "fastgrad": __version__,
        "iteration": checkpoint.iteration,
        "seconds": checkpoint.seconds,
        "generator": checkpoint.generator,
        "config": checkpoint.config,
        "arrays": sorted(arrays),
    }
    text = json.dumps(header, default=lambda value: value.tolist(), allow_nan=False)
    arrays["header"] = np.frombuffer(text.encode(), np.uint8)
    path = Path(folder) / PATTERN.replace("*", f"{checkpoint.iteration:08d}")
    with replacing(path) as file:
        np.savez(file, **arrays)
    _logger.info("wrote %s", path)
    return path


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that anyone may have written.

    Parameters
    ----------
    path : path
        A checkpoint, or a folder: then its newest.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If there is none, or it cannot be read.
    ValueError
        If it is damaged, or no checkpoint of this version. When that is the newest of a folder and
        the one before it is whole, the message names that one: it is for the caller to decide.

    Notes
    -----
    No more memory is taken than the file has bytes: what its parts say of their sizes is compared
    with that first. Their check sums are compared, and nothing is unpickled.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be that of a checkpoint or a folder, got {brief(path)}")
    path = Path(path)
    if not path.is_dir():
        return _read(path)
    found = newest_first(path)
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint ({PATTERN})")
    try:
        return _read(found[0])
    except ValueError as error:
        for older in found[1:]:
            try:
                iteration = _read(older).iteration
            except ValueError:
                continue
            raise ValueError(
                f"{error}; the one before it is whole: resume {older} to go on after "
                f"{iteration} iterations"
            ) from error
        raise


def _read(path: Path) -> Checkpoint:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file that can be read")
    with path.open("rb") as file:
        try:
            return _parse(path, dict(_members(file, path.stat().st_size)))
        except ValueError as error:
            raise ValueError(f"{path} is no checkpoint to go on with: {error}") from error
        except Exception as error:
            # zipfile, NumPy and json raise almost anything on bytes that none of them wrote.
            raise ValueError(
                f"{path} is no checkpoint to go on with: it is damaged, {error!r}"
            ) from error


def _members(file: Any, size: int) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of an npz file by name, each checked before room is made for it."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is damaged or cut short, {error}") from error
    members = archive.infolist()
    # Stored bytes that do not overlap cannot be more than the file has: no bomb fits in there.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its parts are compressed, which no checkpoint's are")
    if sum(member.file_size for member in members) > size:
        raise ValueError(f"its parts claim to be larger than the file, {size} bytes")
    for member in members:
        with archive.open(member) as part:
            yield member.filename.removesuffix(".npy"), _array(part, member)


def _array(part: Any, member: zipfile.ZipInfo) -> Array:
    if np.lib.format.read_magic(part) != (1, 0):
        raise ValueError(f"{member.filename} has a format that no checkpoint has")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(part)
    if dtype.kind not in "fiu" or fortran:
        raise ValueError(f"{member.filename} must hold numbers in C order, got {dtype}")
    claimed, there = math.prod(shape) * dtype.itemsize, member.file_size - part.tell()
    if claimed != there:
        raise ValueError(f"{member.filename} claims {claimed} bytes, {there} are there")
    return np.frombuffer(part.read(), dtype).reshape(shape)


def _parse(path: Path, arrays: dict[str, Array]) -> Checkpoint:
    header = json.loads(arrays.pop("header").tobytes())
    written = {"format": header["format"], "fastgrad": header["fastgrad"]}
    if written != {"format": FORMAT, "fastgrad": __version__}:
        raise ValueError(
            f"it is of fastgrad {written['fastgrad']!r}, format {written['format']!r}; this is "
            f"fastgrad {__version__}, format {FORMAT}, which may compute other bits"
        )
    if header["arrays"] != sorted(arrays):
        raise ValueError(f"it must hold the arrays {header['arrays']}, got {sorted(arrays)}")
    groups: dict[str, dict[str, Array]] = {"params": {}, "history": {}}
    for name, array in arrays.items():
        group, _, column = name.partition(".")
        groups[group][column] = array
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
    types = {"iteration": int, "generator": dict, "config": dict, "seconds": float}
    for name, kind in types.items():
        if type(header[name]) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}")
    if not 0 <= header["seconds"] < math.inf:
        raise ValueError(f"seconds must be finite and from 0, got {header['seconds']}")
    rest = {name: header[name] for name in types}
    return Checkpoint(params=groups["params"], history=groups["history"], path=path, **rest)
