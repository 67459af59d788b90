"""Parse IDX, the format of the MNIST files: a header of big-endian sizes, then plain bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A header can promise anything. 60,000 images of 28 x 28 are 47 MB: this leaves room for twenty
# times as much, and none for a size that no such data set has.
MAX_BYTES = 2**30


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Its first bytes tell which, not its name: browsers unpack a download and keep the ``.gz``.
    No more memory is filled than the header promises, nor than the file has bytes.
    """
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            return _parse(gzip.GzipFile(fileobj=raw) if zipped else raw, path, ndim)
        except (EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is truncated or corrupt: {error}; get the file anew"
            ) from error


def _parse(stream: Any, path: str | os.PathLike[str], ndim: int) -> NDArray[np.uint8]:
    magic, wanted = stream.read(4), bytes((0, 0, 0x08, ndim))
    if magic != wanted:
        raise ValueError(
            f"{path} must be an IDX file of unsigned bytes with {ndim} dimension(s), which starts "
            f"with {wanted.hex(' ')}, got {magic.hex(' ') or 'an empty file'}"
        )
    shape = struct.unpack(f">{ndim}I", stream.read(4 * ndim))
    count, promise = math.prod(shape), " x ".join(f"{n:,}" for n in shape)
    if not 0 < count <= MAX_BYTES:
        raise ValueError(f"{path} must hold 1 to {MAX_BYTES:,} bytes of data, promises {promise}")
    data = bytearray()
    # The byte after the last must be missing; for gzip, to look for it also reads the checksum.
    while chunk := stream.read(min(2**16, count + 1 - len(data))):
        data += chunk
    if len(data) != count:
        what = "goes on after" if len(data) > count else f"is truncated, with {len(data):,} of"
        raise ValueError(
            f"{path} {what} the {promise} bytes of data that its header promises; get the file anew"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
