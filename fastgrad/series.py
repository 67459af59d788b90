r"""How far the short series of `fastgrad.kernels.curves` may be trusted: a proven bound.

Let ``s = h max|x|`` be the largest shift of a pre-activation, and `w` the largest difference
between two classes in one column of V. Every curve l is analytic in the disc ``|d| < R`` with
``R = min(1, 1 / (2 k w))``, where a unit's output moves by at most ``k |d|``: k = 1 for a score,
and for a sigmoid, whose slope at imaginary part v is at most ``1 / (4 cos²(v / 2))``,
k = 0.325 up to \|d\| = 1. There ``|T| <= tau = exp(1/2) - 1``, and since
``l(d) - l(0) = log(1 + T) - log(1 + (1 - r) T)``, ``|l(d) - l(0)| <= B = -2 log(1 - tau) < 2.1``.

By Cauchy's estimate the coefficients of ``q(d) = sum_k a_k d^2k`` satisfy
``|a_k| <= B / R^(2k+1)``. Interpolating ``y^k`` on [0, Y] at two Chebyshev nodes errs by at most
``k (k-1) / 2 * Y^k / 8``, so the line errs by at most ``(B / 8R) rho^4 / (1 - rho²)³`` with
``rho = s / R``. The series for expm1, T and log1p, cut after four or five terms, add less than
``0.005 rho^4 / R``. Together, for rho <= 0.1, below ``0.3 rho^4 / R``.
"""

from __future__ import annotations

import sys

EPS = sys.float_info.epsilon

SCORE, SIGMOID = 1.0, 0.325
"""The constant k of the module's proof, for the two kinds of unit."""


def curves_are_exact(h: float, largest: float, spread: float, gain: float) -> bool:
    """Tell whether the curves' truncation stays below the rounding of any float64 evaluation.

    Two losses near 1 carry rounding of ``eps / 2h`` into their central difference; the bound has
    to stay under a quarter of that. A NaN anywhere answers False.

    Parameters
    ----------
    h : float
        Step.
    largest : float
        ``max |x|`` over the inputs of the layer.
    spread : float
        `w`: the largest difference between two classes in one column of V.
    gain : float
        `k`: `SCORE` or `SIGMOID`.

    Examples
    --------
    >>> curves_are_exact(1e-4, 1.0, 1.0, SIGMOID), curves_are_exact(0.5, 1.0, 1.0, SIGMOID)
    (True, False)
    """
    steep = 2.0 * gain * spread  # 1 / R
    steep = 1.0 if steep <= 1.0 else steep  # which keeps a NaN
    rho = h * largest * steep
    bound = largest * 0.3 * (rho * rho) * (rho * rho) * steep  # a power would overflow loudly
    return rho <= 0.1 and 8.0 * h * bound <= EPS
