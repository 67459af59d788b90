"""IDX files: what is written comes back, and whatever is damaged is named."""

import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from fastgrad.datasets import idx
from fastgrad.datasets.idx import read_idx


def header(*shape, magic=(0, 0, 8)):
    return bytes((*magic, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def encode(array):
    return header(*array.shape) + array.tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
GOOD = encode(IMAGES)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some-images"


def refused(file, data, *, ndim=3):
    """The message with which the content is refused; it must name the file."""
    file.write_bytes(data)
    with pytest.raises(ValueError, match="some-images") as caught:
        read_idx(file, ndim=ndim)
    return str(caught.value)


@given(array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=40)))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_written_comes_back(file, pack, array):
    file.write_bytes(pack(encode(array)))
    back = read_idx(file, ndim=array.ndim)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_gzip_is_recognised_by_content_not_by_name(tmp_path):
    for name, data in (("plain.gz", GOOD), ("zipped", gzip.compress(GOOD))):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_idx(tmp_path / name, ndim=3), IMAGES)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["00 00 08 03", "an empty file"]),
        (b"\x00\x00", ["00 00 08 03", "got 00 00"]),
        (b"<!DOCTYPE html>", ["00 00 08 03", "3c 21 44 4f"]),
        (header(3, 4, 5, magic=(0, 0, 0x0D)) + bytes(240), ["unsigned bytes", "00 00 0d 03"]),
        (header(3, 4, 5, magic=(1, 0, 8)) + bytes(60), ["01 00 08 03"]),
        (header(60) + bytes(60), ["3 dimension", "00 00 08 01"]),
        (GOOD[:10], ["truncated", "requires a buffer of 12 bytes"]),
        (header(0, 28, 28), ["0 x 28 x 28", "1 to 1,073,741,824 bytes"]),
        (GOOD + b"\x00", ["goes on", "3 x 4 x 5 bytes"]),
        (GOOD[:-1], ["truncated", "59 of the 3 x 4 x 5 bytes"]),
    ],
)
def test_damage_is_named(file, pack, data, words):
    message = refused(file, pack(data))
    for word in words:
        assert word in message


@pytest.mark.parametrize("length", range(2, len(gzip.compress(GOOD))))
def test_a_gzip_file_cut_anywhere_is_refused(file, length):
    refused(file, gzip.compress(GOOD)[:length])


def test_a_corrupt_gzip_file_is_refused(file):
    packed = gzip.compress(GOOD)
    wrong_checksum = bytearray(packed)
    wrong_checksum[-5] ^= 1
    assert "corrupt: CRC check failed" in refused(file, bytes(wrong_checksum))
    broken_stream = packed[:10] + b"\xff" * 20 + packed[30:]
    assert "corrupt" in refused(file, broken_stream)
    assert "corrupt" in refused(file, packed + b"trailing bytes")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "shape", [(10_000, 10_000, 10_000), (2**32 - 1,) * 3, (2**30 - 1, 1, 1), (10**6, 28, 28)]
)
def test_an_absurd_promise_allocates_nothing(file, pack, shape):
    data = pack(header(*shape) + bytes(4))
    refused(file, data)  # once before: pytest and re allocate at their first use
    tracemalloc.start()
    try:
        message = refused(file, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"{shape[0]:,}" in message
    assert peak < 2**20


def test_a_gzip_bomb_is_read_no_further_than_its_promise(file):
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=9) as stream:
        stream.write(header(1000, 28, 28))
        for _ in range(64):
            stream.write(bytes(2**20))
    data = bomb.getvalue()
    refused(file, data)
    tracemalloc.start()
    try:
        assert "goes on" in refused(file, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_no_more_is_read_than_the_bound_allows(file, monkeypatch):
    monkeypatch.setattr(idx, "MAX_BYTES", 59)
    assert "1 to 59 bytes" in refused(file, GOOD)
    monkeypatch.setattr(idx, "MAX_BYTES", 60)
    file.write_bytes(GOOD)
    assert read_idx(file, ndim=3).size == 60


def test_a_missing_file_is_not_found(file):
    with pytest.raises(FileNotFoundError):
        read_idx(file, ndim=3)
