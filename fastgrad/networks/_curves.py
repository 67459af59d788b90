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
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.polynomial import chebyshev

from fastgrad._typing import Array, Floats, Integers
from fastgrad.networks._forward import ForwardPass
from fastgrad.networks._kernels import fit_kernel, quotients_kernel, read_kernel, relu_slopes_kernel

DEGREES = 2, 4, 6
"""Of the polynomials in d^2 that are tried. Beyond, powers of d would lose digits."""

ROWS = 512
"""Moved samples at a time: what is computed for them stays in the second-level cache."""


def layers_gradient(forward: ForwardPass, h: float) -> list[tuple[Floats, Floats]]:
    """Return the central differences for W and b of each layer, summed over the samples."""
    derivatives = forward.derivatives()
    return [layer_gradient(forward, k, h, derivative) for k, derivative in enumerate(derivatives)]


def layer_gradient(
    forward: ForwardPass, k: int, h: float, derivative: Floats
) -> tuple[Floats, Floats]:
    """Return them for layer `k`, by whose pre-activations the losses have that derivative."""
    z = forward.z[k]
    c, direct = curves(forward, k, h, derivative)
    if k == 0 and forward.skips_zeros and len(c) == 2:
        W = np.empty((z.shape[1], c.shape[2]))
        read_kernel(z, c[0], c[1], h, W)
    else:
        W = read(z, c, h)
    b = sum(h ** (2 * i) * c_i.sum(axis=0) for i, c_i in enumerate(c))  # of an input of 1
    for n, j in direct:
        i = np.flatnonzero(z[n])
        d = h * np.append(z[n, i], 1.0)
        found = differences(forward, k, n, j, d) / (2 * h)
        W[i, j] += found[:-1]
        b[j] += found[-1]
    return W, b


def read(z: Floats, c: Floats, h: float) -> Floats:
    """Return ``sum_k h^(2k) (z^(2k+1)).T @ c[k]``."""
    grad: Floats = z.T @ c[0]
    power = z
    for c_k in c[1:]:
        power = power * (h * z) ** 2
        grad += power.T @ c_k
    return grad


def curves(
    forward: ForwardPass, k: int, h: float, derivative: Floats
) -> tuple[Floats, Iterable[tuple[int, int]]]:
    """Return the c (terms, N, units) of the units of layer `k`, and which (n, j) have none.

    There the c are 0. A term that stays below the rounding of the difference is left out.
    """
    most = max(1.0, forward.z[k].max(), -forward.z[k].min())
    reach = h * most
    V, direct = ways(forward, k, reach)
    bent = np.empty_like(direct)
    for degree in DEGREES:
        u, to_chebyshev, to_powers = nodes(degree)
        q, c = np.empty((2, degree + 1, *derivative.shape))
        q[0] = derivative
        quotients(forward, k, V, reach * np.sqrt(u[1:]), q[1:])
        known = to_chebyshev[-1], to_powers, most, h, direct
        still_bent, others, terms = fit_kernel(q, *known, bent, c)
        if not still_bent:
            break
    scale = reach ** (2.0 * np.arange(terms))
    c = c[:terms] / scale[:, np.newaxis, np.newaxis]
    return c, np.argwhere(direct | bent) if others else ()


@functools.cache
def nodes(degree: int) -> tuple[Array, Array, Array]:
    """Return the nodes u = (d / reach)^2 of polynomials of that degree, 0 and 1 among them.

    And the matrices that make coefficients of Chebyshev polynomials, and of powers of u, of values
    at the nodes.
    """
    u = (1 - np.cos(np.pi * np.arange(degree + 1) / degree)) / 2
    to_chebyshev = np.linalg.inv(chebyshev.chebvander(2 * u - 1, degree))
    powers = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        power = chebyshev.Chebyshev.basis(k, [0, 1]).convert(kind=np.polynomial.Polynomial).coef
        powers[: k + 1, k] = np.round(power)  # They are whole numbers.
    return u, to_chebyshev, powers @ to_chebyshev


def ways(forward: ForwardPass, k: int, reach: float) -> tuple[Floats | None, Array]:
    """Return V (1 or N, C, units) if scores move by ``V m`` when outputs of layer `k` move by m.

    And the (N, units) in which they do not do so, since a ReLU crosses 0 within ``±reach``. Behind
    a ReLU, m is the move of its pre-activation.
    """
    a, layers = forward.a[k], forward.layers
    direct = np.zeros(a.shape, bool)
    if k == len(layers) - 1:
        return np.eye(a.shape[1])[np.newaxis], direct
    if forward.gain:
        V = layers[k + 1][0].T[np.newaxis] if k == len(layers) - 2 else None
        return None if V is None else np.ascontiguousarray(V), direct
    direct |= np.abs(a) <= reach
    V = np.zeros((len(a), forward.p.shape[1], a.shape[1]))
    for n, j in pairs(a > reach):
        slopes, crossed = layers[k + 1][0][j], np.zeros(len(n), bool)
        for behind in range(k + 1, len(layers) - 1):
            relu_slopes_kernel(forward.a[behind], reach, n, slopes, crossed)
            slopes = slopes @ layers[behind + 1][0]
        V[n, :, j] = slopes
        direct[n, j] |= crossed
    return V, direct


def quotients(forward: ForwardPass, k: int, V: Floats | None, shifts: Floats, out: Floats) -> None:
    """Write the central quotients of the curves of layer `k` at those shifts."""
    if V is not None:
        own = (forward.s[k], forward.slope[k]) if k < len(forward.s) else (forward.p, forward.p)
        gain = forward.gain if k < len(forward.s) else 0.0
        scores = forward.a[-1], forward.p, forward.r, forward.t
        quotients_kernel(gain, forward.a[k], *own, V, np.ptp(V), *scores, shifts, out)
        return
    for n, j in pairs(np.ones(forward.a[k].shape, bool), ROWS // (2 * len(shifts))):
        many, d = len(shifts), np.tile(shifts, len(n))
        found = differences(forward, k, np.repeat(n, many), np.repeat(j, many), d) / (2 * d)
        out[:, n, j] = found.reshape(-1, many).T


def differences(
    forward: ForwardPass, k: int, n: Integers | int, j: Integers | int, d: Floats
) -> Floats:
    """Return ``l(d) - l(-d)`` of samples n and units j of layer `k`."""
    both = np.concatenate([d, -d])
    n, j = (np.tile(np.broadcast_to(which, len(d)), 2) for which in (n, j))
    above, below = forward.unit_rises(k, n, j, both).reshape(2, -1)
    return above - below


def pairs(which: Array, rows: int = ROWS) -> Iterator[tuple[Integers, Integers]]:
    """Yield the samples and units where `which` (N, units) is true, some at a time."""
    n, j = np.nonzero(which)
    for start in range(0, len(n), rows):
        yield n[start : start + rows], j[start : start + rows]
