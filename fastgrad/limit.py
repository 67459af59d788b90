"""The limit of finite differences as the step goes to 0, and whether a gradient agrees with it.

With a step that is halved k times, the terms of the truncation are taken away one after the other
(L. F. Richardson, Philosophical Transactions of the Royal Society A 226 (1927), 299-361). They are
multiples of ``h**p, h**(p + 2), h**(p + 4)`` for a formula of order p that is symmetric about x,
and of ``h**p, h**(p + 1), h**(p + 2)`` for any other, such as forward differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad.agreement import coarsest, total_weight
from fastgrad.stencils import Stencil

HALVINGS = 4
"""How often the step is halved, at most."""

NOISE = 8
"""Standard deviations that the noise of f may reach."""


class Look(NamedTuple):
    """What is known of an entry, or of several in arrays that share a formula.

    `sigma` is the noise of f, `allowed` what may differ, `size` the largest entry of either
    gradient, `eps` that of the coarsest dtype, `value` f(x), `span` the
    largest coordinate of the array.
    """

    gradient: Any
    numerical: Any
    h: Any
    stencil: Stencil
    sigma: float
    allowed: Any
    size: float
    eps: float
    value: float
    span: float

    @property
    def reach(self) -> Any:
        """How far the noise of f carries the derivative."""
        return NOISE * self.sigma * total_weight(self.stencil) / self.h

    @property
    def difference(self) -> Any:
        """Gradient minus numerical gradient."""
        return self.gradient - self.numerical


class Limit(NamedTuple):
    """The limit of the differences, and by how much it changed last, noise included.

    `halvings` tells how often the step was halved until the gradient agreed; 0 is never.
    """

    value: Any
    change: Any
    halvings: Any


def limit(look: Look, differences: Callable[[int], Any], most: int = HALVINGS) -> Limit:
    """Return the limit of the differences with h, h / 2, h / 4 ..., as far as they are needed.

    It ends when all entries agree with it, when twice it changed by less than is allowed, or when
    noise would be all that is seen.

    Parameters
    ----------
    look : Look
        What is compared.
    differences : callable
        Takes k, returns the differences with the step ``h / 2**k``.
    most : int
        Halvings, at most.
    """
    values, noise = [np.asarray(look.numerical)], [np.asarray(look.reach)]
    found = Limit(values[0], np.inf, np.zeros(np.shape(look.gradient), np.int64))
    largest = coarsest(look.eps) * look.size
    for k in range(1, most + 1):
        above, noise_above = values, noise
        values, noise = [np.asarray(differences(k))], [look.reach * 2.0**k]
        for value, sigma, power in zip(above, noise_above, _powers(look.stencil), strict=False):
            values.append(values[-1] + (values[-1] - value) / (power - 1))
            noise.append((power * noise[-1] + sigma) / (power - 1))
        # One term alone may be 0 by chance: the last two changes tell how large the next may be.
        change = np.abs(values[-1] - above[-1])
        rest = change if k == 1 else np.maximum(change, found.change / power)
        hidden = noise[-1] if k == 1 else np.minimum(noise[-1], largest)
        # As long as there is a finer step, it is taken, and the next term not allowed for.
        unknown = np.minimum(rest / power, largest) if k == most else 0.0
        certain = look.allowed + hidden + unknown
        agrees = np.abs(look.gradient - values[-1]) <= certain
        halvings = np.where((found.halvings == 0) & agrees, k, found.halvings)
        moving = np.maximum(change, found.change) > look.allowed + 2 * noise[-1]
        found = Limit(values[-1], noise[-1] + change, halvings)
        if not ((halvings == 0) & moving).any():
            break
    return found


def _powers(stencil: Stencil) -> list[float]:
    """Return by what the terms of the truncation fall when the step is halved."""
    weights = dict(zip(stencil.offsets, stencil.weights, strict=True))
    symmetric = all(weights.get(-offset) == -weight for offset, weight in weights.items() if weight)
    return [2.0 ** (stencil.order + (2 if symmetric else 1) * j) for j in range(HALVINGS)]
