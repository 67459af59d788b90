"""The hidden units of samples whose inputs are whole numbers but for a scale, in integers.

The pixels of an image are: 0 to 255, or 0 to 1 in steps of 1/255. What the integers miss is
bounded in `fastgrad.objectives.pixels`.
"""

from __future__ import annotations

import numpy as np

from fastgrad._jit import inner, jit
from fastgrad.kernels.nonzero import TOGETHER, nonzero
from fastgrad.kernels.pairs import UNITS, multiply_pairs

MOST = 255
"""The largest number."""

OFF = np.float32(2.0**-13)
"""How far an input may be from a whole number: float32's rounding of 255, eight times over."""

SIGMOID_OFF = 2.0**-15
"""By how much `logistic` errs at most, see there."""

_LIMIT, _HALF, _ZERO, _ONE = (np.float32(number) for number in (MOST + 0.5, 0.5, 0.0, 1.0))
NONE = np.int64(0)
_FAR, _PART = np.float32(60.0), np.float32(1 / 256)


@inner
def whole_numbers(row, scale, q):
    """Write ``scale * row``, rounded, to `q`; tell whether it is whole numbers within ±MOST.

    Vectorised, eight inputs at a time with AVX2: nothing in it branches or leaves 32 bits.
    """
    bad = np.int32(0)
    for i in range(row.size):
        number = row[i] * scale
        whole = np.rint(number)
        good = (abs(number - whole) <= OFF) & (abs(number) < _LIMIT)
        q[i] = np.int16(np.int32(whole if good else _ZERO))  # NaN has no integer
        bad = np.int32(bad | np.int32(0 if good else 1))
    return bad == 0


@inner
def compress(numbers, columns, pairs, k):
    """Write the pairs that are not (0, 0), and which they are, from place k on; return the next."""
    stop = nonzero(numbers, columns, k)
    for entry in range(np.uint64(k), np.uint64(stop)):
        pairs[entry] = numbers[np.uint64(columns[entry])]  # Signed, it might count from the end.
    return stop


@inner
def logistic(minus, out):
    """Write the sigmoid of ``-minus``, within `SIGMOID_OFF`.

    With ``y = minus``, exp(y) is taken as ``(1 + w + w²/2)**256, w = y / 256``, in eight squarings,
    which a compiler vectorises. As ``log(1 + w + w²/2) = w - w³/6 + ...``, its relative error is
    near ``|y|³ / (6 * 256²)``, in the sigmoid times ``exp(-|y|)``, so 4e-6 at most; rounding adds
    four roundings 256 times over, times the sigmoid's slope of 1/4 at most: 2e-5.
    """
    for j in range(out.size):
        w = min(max(minus[j], -_FAR), _FAR) * _PART
        e = _ONE + w * (_ONE + w * _HALF)
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        out[j] = _ONE / (_ONE + e)


@inner
def hidden(columns, pairs, W, factors, minus_b, sums, minus, z):
    """Write the outputs of the hidden units for one sample to `z`; see `pixels_kernel`."""
    for first in range(0, sums.size, UNITS):
        multiply_pairs(columns, pairs, W, first, sums)
    for j in range(sums.size):
        minus[j] = np.float32(sums[j]) * factors[j] + minus_b[j]
    logistic(minus, z)


@jit
def pixels_kernel(x, scale, q, numbers, W, factors, minus_b, z, counts):
    """Write the outputs of the hidden units for each sample to `z` (N, H), float32.

    Parameters: the inputs `x` (N, D), float32, and the `scale` that makes whole numbers of them;
    room for one sample's, see `fastgrad.objectives.images.room_for_one`; the weights `W`, laid out
    for `multiply_pairs`, and the `factors` that make pre-activations of sums, with the sign changed
    as in `minus_b`. `counts` (N,) gets the number of pairs of inputs that are not both zero, and -1
    where a sample is not of whole numbers.
    """
    room = numbers.size + TOGETHER
    columns, pairs = np.empty(room, np.int32), np.empty(room, np.int32)
    sums, minus = np.empty(factors.size, np.int32), np.empty(factors.size, np.float32)
    for n in range(x.shape[0]):
        whole = whole_numbers(x[n], scale, q)
        count = compress(numbers, columns, pairs, NONE) if whole else NONE
        hidden(columns[:count], pairs[:count], W, factors, minus_b, sums, minus, z[n])
        counts[n] = count if whole else -1


@jit
def compress_pixels_kernel(x, scale, q, numbers, columns, pairs, starts, counts):
    """Write what of `x` `pixels_kernel` multiplies, one sample after the other, and where."""
    starts[0] = 0
    for n in range(x.shape[0]):
        k = starts[n]
        whole = whole_numbers(x[n], scale, q)
        starts[n + 1] = compress(numbers, columns, pairs, k) if whole else k
        counts[n] = starts[n + 1] - k if whole else -1


@jit
def compressed_kernel(columns, pairs, starts, W, factors, minus_b, z):
    """Write what `pixels_kernel` does, for samples from `compress_pixels_kernel`."""
    sums, minus = np.empty(factors.size, np.int32), np.empty(factors.size, np.float32)
    for n in range(z.shape[0]):
        mine = slice(starts[n], starts[n + 1])
        hidden(columns[mine], pairs[mine], W, factors, minus_b, sums, minus, z[n])
