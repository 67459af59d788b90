"""Every tolerance of the tests that compare derivatives, and why it is what it is."""

import numpy as np

# Two float64 losses near 2.3 differ by rounding of a few 1e-16; over 2h = 2e-4 that is 1e-12, and
# a sum over a batch adds to it.
REFERENCE = {1e-4: 5e-11, 1e-2: 1e-12, 0.5: 1e-12}

# The oracle in extended precision carries no such rounding: what is left is our own. The
# truncation of the curves may reach a quarter of eps / 2h, 2.8e-13 at h = 1e-4.
EXTENDED = {1e-4: 3e-13, 1e-2: 1e-13, 0.5: 1e-14}

# Losses of two programs that take the same steps from gradients within REFERENCE[1e-4].
TRAJECTORY = 1e-8

# Two forward passes that add up in another order: some hundred roundings, relative to the loss.
FORWARD = 2e-14

# A float32 function of a few operations: its rounding, relative to its size.
FLOAT32 = 4e-7

# Rounding of a finite difference, in units of eps * (sum of the absolute terms of f) / h: the sum
# of the formula's absolute weights, 1 to 2, times some 32 roundings within f.
STENCIL = {
    ("forward", "float64"): 64, ("forward", "float32"): 64,
    ("backward", "float64"): 64, ("backward", "float32"): 64,
    ("central", "float64"): 32, ("central", "float32"): 32,
    ("five-point", "float64"): 48, ("five-point", "float32"): 48,
    ("six-point", "float64"): 60, ("six-point", "float32"): 60,
}  # fmt: skip
# The same near a bound, where any of the formulas may stand; the size is counted generously there.
BOUNDED = 64


def rounding(stencil, dtype, size, h):
    """Return what rounding may do to a difference of values of that size."""
    return STENCIL[stencil, np.dtype(dtype).name] * np.finfo(dtype).eps * size / h


# The complex step subtracts nothing: some roundings of f and one of the division by h, relative.
COMPLEX = 1e-15

# The six-point formula at h = 1e-3, of functions of about 1: some roundings, divided by the step.
SIX_POINT = 5e-12

# Truncation of the central difference at h = 1e-4, of functions whose third derivative is about
# as large as the first: h² / 6 = 2e-9, with a margin for those that are not so tame.
TRUNCATION = 1e-7

# The step of half precision is 0.1: two digits.
HALF = 1e-2

# A sine at a step of 1e-5, relative to the length over which it changes: (1e-5)² / 6 of truncation
# and eps / 1e-5 of rounding, each times a few.
RELATIVE_STEP = 1e-10

# How near to the minimum BFGS stops, asked for gradients of 1e-5; and with f twice as large.
MINIMUM, MINIMUM_SCALED = 1e-5, 1e-4


def second_rounding(size, h, dtype=float, weights=4):
    """Return what rounding may do to a second difference of values of that size.

    The absolute weights of the formulas sum to `weights`, for "central" to 4 / h² on the diagonal
    and 1 / h² off it; times 32 roundings within f.
    """
    return 32 * weights * np.finfo(dtype).eps * size / np.min(h) ** 2


# These sums, by the order of the formula: the larger of that of the formula for the second
# derivative, and the square of that for the first. And the same for the formulas to one side.
SECOND = {1: 4, 2: 4, 4: 5.5, 6: 6.1}
SECOND_BOUNDED = {1: 4, 2: 16, 4: 114, 6: 770}


# Extrapolation at steps of 1/128 or more of the length L over which f changes: 128 times some two
# roundings of f, relative to |f| / L, enlarged twofold by the columns of the table.
EXTRAPOLATED = 512 * np.finfo(float).eps

# The balanced central difference: about eps**(2/3) of |f| / L, a third of it truncation; the third
# derivative may be off tenfold.
BALANCED = 10 * np.finfo(float).eps ** (2 / 3)
