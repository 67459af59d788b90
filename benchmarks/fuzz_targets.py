"""What is fuzzed: how inputs are drawn, what is called with them, and what it may raise.

A new reader of files needs one line in `TARGETS`.
"""

from __future__ import annotations

import decimal
import fractions
import gzip
import re
import struct
import tempfile
import warnings
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastgrad import STENCILS, Stencil, numerical_gradient
from fastgrad.datasets.idx import read_idx
from fastgrad.training import Checkpoint, read
from fastgrad.training.checkpoint_file import write


class Target(NamedTuple):
    """A strategy, the function that is called with what it draws, and what that may raise."""

    inputs: st.SearchStrategy[Any]
    call: Callable[[Any], object]
    documented: tuple[type[Exception], ...]


class OwnError(Exception):
    """What a function raises itself; it comes out as it is."""


# Files


def damaged(*good: bytes) -> st.SearchStrategy[bytes]:
    """Draw any bytes, and good files that are cut, overwritten, lengthened, packed or unpacked."""
    piece = st.sampled_from([b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"]) | st.binary(max_size=8)
    edits = st.lists(st.tuples(st.integers(0, 2**12), st.integers(0, 8), piece), max_size=4)
    files = st.builds(_edited, st.sampled_from(good), edits, st.integers(0, 2**12))
    anything = st.binary(max_size=64)
    pack = partial(gzip.compress, compresslevel=1, mtime=0)
    return files | files.map(pack) | anything | anything.map(pack)


def _edited(data: bytes, edits: list[tuple[int, int, bytes]], end: int) -> bytes:
    for at, length, piece in edits:
        at %= len(data) + 1
        data = data[:at] + piece + data[at + length :]
    return data[: end or None]


def from_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return the function that writes bytes to a file and has them read."""
    path = Path(tempfile.mkdtemp(prefix="fastgrad-fuzz-"), "file")

    def call(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return call


def checkpoint() -> bytes:
    """Return a checkpoint of two steps."""
    params = {"W1": np.ones((3, 2)), "b1": np.ones(2), "W2": np.ones((2, 2)), "b2": np.ones(2)}
    history = {"loss": np.array([0.7, 0.6]), "evaluated": np.array([0, 1])}
    state = np.random.Generator(np.random.PCG64(0)).bit_generator.state
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoint(2, params, history, dict(state), {"h": 1e-4}, 0.1)
        return write(folder, kept).read_bytes()


def idx(*shape: int) -> bytes:
    """Return an IDX file of that shape."""
    size = int(np.prod(shape))
    data = (np.arange(size) % 10).astype(np.uint8).tobytes()
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + data


def _read_both(path: Path) -> None:
    """Read a file as labels, and where it is none as images."""
    try:
        read_idx(path, ndim=1)
    except ValueError:
        read_idx(path, ndim=3)


# Arguments

Pair = namedtuple("Pair", "a b")
NAMES = r"\b(x|h|f|args|stencil|offsets|weights|order|workers|backend|bounds|nonfinite|errors)\b"


class Odd:
    """Something that is a number, an array and a sequence only until it is asked."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise OwnError

    def __bool__(self) -> bool:
        raise OwnError

    def __iter__(self) -> Any:
        raise OwnError

    __float__ = __index__ = __bool__  # type: ignore[assignment]


ODD: list[Callable[[], Any]] = [
    Odd, object, dict, list, tuple, set,
    lambda: Ellipsis, lambda: NotImplemented, lambda: int, lambda: iter([1.0]),
    lambda: range(3), lambda: memoryview(b"abc"), lambda: 10**400, lambda: -(10**400),
    lambda: fractions.Fraction(1, 10**400), lambda: decimal.Decimal("1e-4"),
    lambda: np.longdouble("1e-4000"), lambda: np.longdouble("1e4000"), lambda: np.float16(6e4),
    lambda: np.datetime64("2020-01-01"), lambda: np.array(["a"]), lambda: np.array([None, 1.0]),
    lambda: np.zeros(2, "f8,i4"), lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    lambda: np.ma.masked, lambda: np.ones((2, 2)).view(np.matrix), lambda: np.bool_(True),
    lambda: [[1.0], [1.0, 2.0]], lambda: Pair(np.ones(2), 3.0), lambda: {"a": [1.0], 2: 3.0},
    lambda: np.ones((2, 0)), lambda: np.frombuffer(bytes(16)), lambda: [np.ones(2), "a"],
    lambda: {"a": {"b": np.ones(1, "f4")}, "c": (1.0, np.ones(()))}, lambda: (0.0, 10**400),
]  # fmt: skip

numbers = st.integers() | st.floats() | st.booleans() | st.complex_numbers()
plain = st.none() | numbers | st.text(max_size=3) | st.binary(max_size=3)
odd = st.sampled_from(ODD).map(lambda make: make())
junk: st.SearchStrategy[Any] = st.deferred(
    lambda: plain | odd | st.lists(junk, max_size=2) | st.tuples(junk)
)
shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=3)
arrays = st.sampled_from(["f2", "f4", "f8", ">f8", "g", "i4", "?", "c16", "M8[s]", "S2"]).flatmap(
    lambda dtype: hnp.arrays(dtype, shapes)
)
tame = st.sampled_from(["f2", "f4", "f8", ">f8", "g"]).flatmap(
    lambda dtype: hnp.arrays(dtype, shapes, elements={"min_value": -4, "max_value": 4})
)
leaves = tame | tame | arrays
points = (
    leaves
    | st.lists(leaves, max_size=2)
    | st.tuples(leaves, leaves)
    | st.dictionaries(st.text(max_size=1), leaves, max_size=3)
)
sides = st.floats() | arrays | junk


def _total(x: Any, *args: Any) -> float:
    if isinstance(x, dict):
        return sum(_total(item) for item in x.values())
    if isinstance(x, list | tuple):
        return sum(_total(item) for item in x)
    return float(np.sum(np.asarray(x, float) ** 2))


def _sums(batch: Any, *args: Any) -> Any:
    return (batch.reshape(len(batch), -1) ** 2).sum(axis=1)


def _fail(x: Any, *args: Any) -> float:
    raise OwnError


def _returning(value: Any) -> Callable[..., Any]:
    return lambda x, *args: value


functions = (
    st.sampled_from([_total, _total, _sums, _fail, len, OwnError])
    | st.builds(_returning, junk | st.floats())
    | junk
)


def _stencil(offsets: Any, weights: Any, order: Any) -> Callable[[], Stencil]:
    return partial(Stencil, offsets, weights, order)


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw what is valid, and now and then what is not: one bad argument hides the others."""
    return st.integers(0, 9).flatmap(lambda k: valid if k else junk)


numbers_in_a_row = st.lists(st.floats() | st.integers(), max_size=3).map(tuple)
stencils = st.builds(
    _stencil, mostly(numbers_in_a_row), mostly(numbers_in_a_row), mostly(st.integers(-1, 5))
)
OPTIONS = {
    "h": mostly(st.none() | st.floats(0, 1, exclude_min=True) | st.floats()),
    "args": mostly(st.just(()) | st.tuples(junk)),
    "stencil": mostly(st.sampled_from(sorted(STENCILS)) | stencils),
    "workers": mostly(st.none() | st.integers()),
    "backend": mostly(st.sampled_from([None, "threads", "processes", "threading", "loky"])),
    "batched": st.booleans(),
    "bounds": mostly(st.none() | st.tuples(sides, sides)),
    "nonfinite": mostly(st.sampled_from(["raise", "keep"])),
    "errors": mostly(st.sampled_from(["raise", "nan"])),
    "full_output": st.booleans(),
}
calls = st.tuples(functions, mostly(points), st.fixed_dictionaries({}, optional=OPTIONS))


def differentiate(drawn: tuple[Any, Any, dict[str, Any]]) -> None:
    """Call `numerical_gradient`. x must hold the same bits afterwards, whatever is raised."""
    f, x, options = drawn
    before = _bits(x)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if isinstance(options.get("stencil"), partial):
                options = {**options, "stencil": options["stencil"]()}
            numerical_gradient(_own(f) if callable(f) else f, x, **options)
    except (TypeError, ValueError) as error:
        if not re.search(NAMES, str(error)):
            raise AssertionError(f"an error that names no argument: {error!r}") from error
        raise
    finally:
        assert _bits(x) == before, "x has changed"


def _own(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return `f` with every exception of its own as an `OwnError`."""

    def owned(*args: Any) -> Any:
        try:
            return f(*args)
        except Exception as error:
            raise OwnError from error

    return owned


def _bits(x: Any) -> object:
    if not isinstance(x, np.ndarray) or x.dtype == object:
        return None
    # An extended number has ten bytes of value, the rest is padding.
    used = 10 if x.dtype.char == "g" else None
    return np.ascontiguousarray(x).reshape(-1, 1).view(np.uint8)[:, :used].tobytes()


TARGETS = {
    "read_idx": Target(
        damaged(idx(3, 4, 5), idx(60), idx(1, 1, 1)), from_file(_read_both), (ValueError,)
    ),
    "checkpoint": Target(damaged(checkpoint()), from_file(read), (ValueError,)),
    "numerical_gradient": Target(
        calls, differentiate, (TypeError, ValueError, FloatingPointError, OwnError)
    ),
}
