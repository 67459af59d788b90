"""Stencils: where a function is evaluated, and how the values make a derivative."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stencil:
    """A finite-difference formula ``f'(x) ~ sum_k weights[k] f(x + offsets[k] h) / h``.

    Parameters
    ----------
    offsets : tuple of float
        Where to evaluate, in units of the step.
    weights : tuple of float
        One for each offset.
    order : int
        The truncation error falls like ``h**order``.
    """

    offsets: tuple[float, ...]
    weights: tuple[float, ...]
    order: int


CENTRAL = Stencil(offsets=(1.0, -1.0), weights=(0.5, -0.5), order=2)
"""The book's formula, and in its order: f(x + h) first."""
