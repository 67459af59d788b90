"""Arguments that all public functions take: checked, and made an objective of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastgrad.steps import Steps
from fastgrad.structures import Parameters


def check(f: object, args: object, nonfinite: object) -> None:
    """Refuse what cannot be called, passed on or understood."""
    if not callable(f):
        raise TypeError(f"f must be callable, got {f!r}")
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, got {args!r}; for one argument pass (argument,)")
    if not isinstance(nonfinite, str) or nonfinite not in ("raise", "keep"):
        raise ValueError(f"nonfinite must be 'raise' or 'keep', got {nonfinite!r}")


def with_args(args: tuple[Any, ...], f: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return f as a function of x alone."""
    return (lambda x: f(x, *args)) if args else f


def compiled(f: object) -> bool:
    """Tell whether `f` was compiled by numba, without importing it for functions that are not."""
    dispatcher = sys.modules.get("numba.core.dispatcher")
    return dispatcher is not None and dispatcher.Dispatcher in type(f).__mro__


def one_array(parameters: Parameters) -> None:
    """Refuse a structure of arrays, where a batch of points has to be one array."""
    if not isinstance(parameters.x, np.ndarray):
        got = type(parameters.x).__name__
        raise TypeError(f"x must be one array where batched=True, got a {got}")


def point_by_point(f: Any, args: tuple[Any, ...], parameters: Parameters) -> Callable[[Any], Any]:
    """Return f as a function of x alone that Python calls, also where numba has compiled it."""
    if compiled(f):
        from fastgrad.objectives.jitted import refuse_frozen

        refuse_frozen(f, parameters.leaves)
    return with_args(args, f)


class Kinds(NamedTuple):
    """The objectives for f as it is called.

    `compiled` imports the one for compiled code, and numba with it, and returns what makes it, or
    makes None where only Python can call f.
    """

    plain: Callable[..., Any]
    batched: Callable[..., Any]
    compiled: Callable[[], Callable[..., Any]]


def by_steps(
    kinds: Kinds,
    f: Any,
    parameters: Parameters,
    args: tuple[Any, ...],
    steps: Steps,
    keep: bool,
    batched: bool,
) -> Any:
    """Return the objective for steps that are known."""
    if compiled(f) and not batched:
        objective = kinds.compiled()(f, parameters, args, steps, keep)
        if objective is not None:
            return objective
    kind = kinds.batched if batched else kinds.plain
    return kind(point_by_point(f, args, parameters), parameters, steps, keep)
