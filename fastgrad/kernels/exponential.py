"""The exponential function for a whole array: libm's takes its numbers one by one."""

from __future__ import annotations

import math

import numpy as np

from fastgrad._jit import inner

LEAST = -708.0
"""What is below counts as that: exp is 3e-308 there, and would soon be no normal number."""

PER_LOG2 = 1.0 / math.log(2.0)

LOG2_HIGH, LOG2_LOW = 0.6931471803691238, 1.9082149292705877e-10
"""Their sum is log 2; ``k * LOG2_HIGH`` is exact for whole numbers k up to 2**20."""

TERMS = tuple(1.0 / math.factorial(n) for n in range(13, -1, -1))
"""Of the Taylor series, the last first."""


@inner
def decay(a, out):
    """Write ``exp(-|a|)`` within two units in the last place; NaN stays NaN.

    As in W. J. Cody, W. Waite, Software Manual for the Elementary Functions (1980), chapter 6:
    ``exp(x) = 2**k exp(r)``, k the whole number next to ``x / log 2`` and ``|r| <= log(2) / 2``,
    where log 2 is subtracted in two parts. exp(r) is its Taylor series: the first term that is left
    out is below 5e-18. No branch, so that compilers vectorise: four numbers at a time with AVX2.
    """
    for j in range(a.size):
        x = -abs(a[j])
        x = LEAST if x < LEAST else x
        k = np.rint(x * PER_LOG2)
        r = (x - k * LOG2_HIGH) - k * LOG2_LOW
        sum_ = 0.0
        for term in TERMS:
            sum_ = sum_ * r + term
        whole = np.int32(k if k <= 0.0 else 0.0)  # NaN has no integer
        power = np.int64((np.int64(whole) + 1023) << 52).view(np.float64)  # 2**k, bit by bit
        out[j] = sum_ * power
