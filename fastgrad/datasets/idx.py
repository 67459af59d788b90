"""Parse IDX, the format of the MNIST files: a header of big-endian sizes, then plain bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A header can promise anything. 60,000 images of 28 x 28 are 47 MB: this leaves room for twenty
# times as much, and none for a size that no such data set has.
MAX_BYTES = 2**30
# The deflate format cannot do better: 258 bytes for two bits, plus the block's overhead.
_MAX_DEFLATE_RATIO = 1032
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Its first bytes tell which, not its name: browsers unpack a download and keep the ``.gz``.
    Nothing is allocated before the header has been checked.
    """
    path = Path(path)
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not zipped:
            return _parse(raw, path, ndim, capacity=size)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse(stream, path, ndim, capacity=size * _MAX_DEFLATE_RATIO)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is truncated or corrupt, gzip says: {error}; get the file anew"
            ) from error


def _parse(stream: Any, path: Path, ndim: int, *, capacity: int) -> NDArray[np.uint8]:
    shape = _read_shape(stream, path, ndim)
    count = _promised(shape, path, capacity)
    data = np.empty(count, np.uint8)
    filled = stream.readinto(data)
    if filled < count:
        raise ValueError(
            f"{path} is truncated: its header promises {count:,} bytes of data, got {filled:,}; "
            "get the file anew"
        )
    # For gzip this also reads the checksum, which stands behind the last byte.
    if stream.read(1):
        raise ValueError(
            f"{path} goes on after the {count:,} bytes of data that its header promises: "
            "not one IDX file, or a damaged one; get the file anew"
        )
    return data.reshape(shape)


def _read_shape(stream: Any, path: Path, ndim: int) -> tuple[int, ...]:
    magic, sizes = stream.read(4), stream.read(4 * ndim)
    wanted = bytes((0, 0, 0x08, ndim))
    if magic != wanted:
        raise ValueError(
            f"{path} must be an IDX file of unsigned bytes with {ndim} dimension(s), which starts "
            f"with {wanted.hex(' ')}, got {magic.hex(' ') or 'an empty file'}"
        )
    if len(sizes) < 4 * ndim:
        raise ValueError(
            f"{path} is truncated: the header has {4 + 4 * ndim} bytes, got {4 + len(sizes)}; get "
            "the file anew"
        )
    return struct.unpack(f">{ndim}I", sizes)


def _promised(shape: tuple[int, ...], path: Path, capacity: int) -> int:
    """Return the number of entries that a header promises, if the file can hold so many."""
    promised, largest = math.prod(shape), min(capacity - 4 - 4 * len(shape), MAX_BYTES)
    if not 0 < promised <= largest:
        raise ValueError(
            f"{path} promises {' x '.join(f'{n:,}' for n in shape)} entries; it must be at least "
            f"one, and a file of its size holds at most {largest:,}: it is truncated or its header "
            "is damaged; get the file anew"
        )
    return promised
