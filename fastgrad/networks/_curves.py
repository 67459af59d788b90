"""The numerical gradient of a dense network, one curve a unit.

All weights into unit j of a layer move the same pre-activation. So the loss of sample n has one
curve l(d) for each unit, and ``W[i, j] ± h`` reads it at ``d = ±h z[n, i]``, where z is the
layer's input. Its central quotient is even and smooth,

    (l(d) - l(-d)) / 2d = c_0 + c_1 d^2 + c_2 d^4 + ...,

so that a few shifts give the c_k, and these the central difference for every weight:

    grad = sum_k h^(2k) (z^(2k+1)).T @ c_k

Where a curve has a kink (ReLU), or bends too much for polynomials, it is evaluated at every d.
"""

from __future__ import annotations

import functools

import numpy as np

from fastgrad._parallel.threads import partition
from fastgrad._typing import Array, Floats
from fastgrad.networks._forward import ForwardPass
from fastgrad.networks._kernels import LARGE, SMALL, quotients_kernel

EPS = 2.0**-52

DEGREES = 1, 2, 4, 6  # Of the polynomials in d^2. Beyond, powers of d would lose digits.

ROWS = 512  # Moved samples at a time: they stay in the second-level cache.


def layer_gradient(forward: ForwardPass, k: int, h: float, d: Floats) -> Floats:
    """Return the central differences for W, and in a last row b, of layer `k`, summed over samples.

    `d` are the derivatives of the losses by the layer's pre-activations.
    """
    c, direct = curves(forward, k, h, d)
    grad = read(forward.z[k], c, h)
    for n, j in np.argwhere(direct) if direct.any() else ():
        i = np.flatnonzero(forward.z[k][n])
        grad[i, j] += differences(forward, k, n, j, h * forward.z[k][n, i]) / (2 * h)
    return grad


def largest_of(array: Floats) -> float:
    """Return the largest absolute value."""
    return max(float(array.max()), -float(array.min()))  # As floats: -min may wrap around.


def read(z: Floats, c: Floats, h: float) -> Floats:
    """Return ``sum_k h^(2k) (z^(2k+1)).T @ c[k]``."""
    powers = np.empty((len(c), *z.shape))  # One product of all sums over k as well.
    powers[0] = z
    for k in range(1, len(c)):
        np.multiply(powers[k - 1], (h * z) ** 2, out=powers[k])
    product: Floats = powers.reshape(-1, z.shape[1]).T @ c.reshape(-1, c.shape[2])
    return product


def curves(forward: ForwardPass, k: int, h: float, derivative: Floats) -> tuple[Floats, Array]:
    """Return the c (terms, N, units) of the units of layer `k`, and which (n, j) have none.

    There the c are 0. Of rising degrees the first is taken whose polynomials hold to the rounding
    of the differences.
    """
    most = largest_of(forward.z[k])
    reach = h * most
    V, direct = ways(forward, k, reach)
    for degree in DEGREES:
        u, to_powers = nodes(degree)
        q = np.empty((degree + 1, *direct.shape))
        q[0] = derivative
        quotients(forward, k, V, reach * np.sqrt(u[1:]), q[1:])
        if direct.any():
            q[:, direct] = 0.0
        to_c = to_powers / reach ** np.arange(0.0, 2 * degree + 1, 2)[:, np.newaxis]
        c = np.dot(to_c, q.reshape(degree + 1, -1)).reshape(q.shape)
        # What the last Chebyshev polynomial adds; of degree 1 what the next one would, which is
        # smaller by as much again.
        largest, last = largest_of(q), 2 * (reach / 2) ** (2 * degree) * np.abs(c[-1])
        if degree == 1:
            last *= max(last.max() / max(largest, EPS), reach**2)
        bent = last > (1 / (8 * reach) + 4 * largest) * EPS
        if not bent.any():
            break
    else:
        c[:, bent] = 0.0
    return c, direct | bent


@functools.cache
def nodes(degree: int) -> tuple[Array, Array]:
    """Return the nodes u = (d / reach)^2 of polynomials of that degree, 0 and 1 among them.

    And what makes the coefficients of powers of u of the values there.
    """
    u = (1 - np.cos(np.pi * np.arange(degree + 1) / degree)) / 2
    return u, np.linalg.inv(np.vander(u, increasing=True))


def ways(forward: ForwardPass, k: int, reach: float) -> tuple[Floats | None, Array]:
    """Return V (1 or N, C, units) if scores move by ``V m`` when outputs of layer `k` move by m.

    And the (N, units) in which they do not do so, since a ReLU crosses 0 within ``±reach``. Behind
    a ReLU, m is the move of its pre-activation.
    """
    a, layers, last = forward.a[k], forward.layers, len(forward.layers) - 1
    direct = np.zeros(a.shape, bool)
    if k == last:
        return np.eye(a.shape[1])[np.newaxis], direct
    if forward.gain:
        return np.ascontiguousarray(layers[-1][:-1].T)[
            np.newaxis
        ] if k == last - 1 else None, direct
    direct |= np.abs(a) <= reach
    V = np.zeros((len(a), forward.p.shape[1], a.shape[1]))
    for n in range(len(a)):
        j = np.flatnonzero(a[n] > reach)
        slopes = layers[k + 1][j]
        for behind in range(k + 1, last):
            at = forward.a[behind][n]
            direct[n, j] |= (np.abs(slopes) * reach > np.abs(at)).any(axis=1)
            slopes = slopes * (at > 0) @ layers[behind + 1][:-1]
        V[n][:, j] = slopes.T
    return V, direct


def quotients(forward: ForwardPass, k: int, V: Floats | None, shifts: Floats, out: Floats) -> None:
    """Write the central quotients of the curves of layer `k` at those shifts."""
    a = forward.a[k]
    if V is not None and shifts[-1] <= LARGE / 2 and shifts[-1] * np.ptp(V) <= SMALL:
        smooth = forward.gain and k < len(forward.s)
        unit = (forward.gain, forward.s[k], forward.slope[k]) if smooth else (0.0, a, a)
        quotients_kernel(*unit, V, forward.p, forward.r, forward.t, shifts, out)
        return
    many = len(shifts)
    for n in range(len(a)):
        for units in partition(range(a.shape[1]), -(-2 * many * a.shape[1] // ROWS)):
            d = np.tile(shifts, len(units))
            found = differences(forward, k, n, np.repeat(units, many), d) / (2 * d)
            out[:, n, units.start : units.stop] = found.reshape(-1, many).T


def differences(forward: ForwardPass, k: int, n: int, j: Array | int, d: Floats) -> Floats:
    """Return ``l(d) - l(-d)`` of sample n and units j of layer `k`."""
    units = np.tile(np.broadcast_to(j, len(d)), 2)
    above, below = forward.unit_rises(k, n, units, np.concatenate([d, -d])).reshape(2, -1)
    return above - below
