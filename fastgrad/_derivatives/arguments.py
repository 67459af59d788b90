"""Arguments that all public functions take: checked, and made an evaluator of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastgrad._derivatives.engine import Found, Options, differentiate
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls, Errors
from fastgrad._evaluation.compiled import CompiledCalls, drivable, is_compiled, refuse_frozen
from fastgrad._evaluation.proof import check_captured
from fastgrad._evaluation.values import COMPLEX, REAL, Reader, precision
from fastgrad._formulas.bounds import Bounds
from fastgrad._formulas.complex_step import ComplexSteps, complex_steps
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes, first_steps
from fastgrad._formulas.steps import Steps
from fastgrad._parallel.team import Team, choose
from fastgrad._structures import Parameters
from fastgrad._typing import Array


@dataclass(frozen=True)
class Request:
    """What the caller asked for, whatever the derivative.

    Attributes
    ----------
    f : callable
    args : tuple
    parameters : Parameters
        x.
    team : Team
        Who may work.
    keep, progress, batched : bool
        Whether values that are not finite are kept, a bar is shown, and f takes many points.
    caught : tuple of exceptions
        After these f's value is NaN.
    """

    f: Any
    args: tuple[Any, ...]
    parameters: Parameters
    team: Team
    keep: bool
    progress: bool
    batched: bool
    caught: Errors

    def derivatives(self, make: Callable[[float], Any], *, numbers: bool = True) -> Found:
        """Return the derivatives by a formula.

        Parameters
        ----------
        make : callable
            Takes the relative precision of f, 0 where it is unknown, and returns the formula.
        numbers : bool
            Whether f returns one number.
        """
        formula = make(0.0)
        x = formula.x
        reader = Reader(numbers=numbers, kinds=COMPLEX if x.dtype.kind == "c" else REAL)
        calls, options, eps = evaluator(self, x, reader)
        found = differentiate(calls, formula, options, eps, formula_for=make)
        if len(found.rows):
            self.check_captured(found.rows)
        return found

    def check_captured(self, derivatives: Array) -> None:
        """Refuse derivatives of 0 by what f reads from outside, where it cannot be moved."""
        if not (all(self.parameters.movable) or is_compiled(self.f)):
            check_captured(self.f, self.parameters, derivatives)


def begin(
    f: Any,
    x: Any,
    args: tuple[Any, ...],
    *,
    workers: int | None = None,
    backend: str | None = None,
    nonfinite: str = "raise",
    errors: str = "raise",
    progress: bool = False,
    batched: bool = False,
) -> Request:
    """Refuse what cannot be called, passed on or understood; return the rest as a request."""
    check(f, args, nonfinite, errors)
    team = choose(workers, backend, compiled=is_compiled(f))
    parameters = Parameters(x)
    if is_compiled(f) and any(parameters.has_labels):
        raise TypeError(
            "x must hold arrays where f is compiled by numba, got a pandas object; pass "
            "x.to_numpy(), or f.py_func"
        )
    if batched:
        check_one_array(parameters, "batched=True")
    keep = nonfinite == "keep" or errors == "nan"
    caught = (Exception,) if errors == "nan" else ()
    return Request(f, args, parameters, team, keep, progress, batched, caught)


def check(f: object, args: object, nonfinite: object, errors: object = "raise") -> None:
    """Refuse what cannot be called, passed on or understood."""
    if not callable(f):
        raise TypeError(f"f must be callable, got {f!r}")
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, got {args!r}; for one argument pass (argument,)")
    for name, value, other in (("nonfinite", nonfinite, "keep"), ("errors", errors, "nan")):
        if not isinstance(value, str) or value not in ("raise", other):
            raise ValueError(f"{name} must be 'raise' or '{other}', got {value!r}")


def check_one_array(parameters: Parameters, option: str) -> None:
    """Refuse a structure of arrays, where x has to be one array."""
    if not parameters.is_array:
        got = type(parameters.x).__name__
        raise TypeError(
            f"x must be one array with {option}, got a {got}; join its arrays with np.concatenate"
        )


def make_steps(
    request: Request,
    stencil: str | Stencil,
    h: Any,
    relative_step: float | None,
    bounds: Bounds | None,
    eps: float = 0.0,
) -> Any:
    """Return the steps of first derivatives along all coordinates."""
    parameters = request.parameters
    if stencil == "complex":
        sizes = StepSizes(parameters, h, relative_step, complex_steps)
        return ComplexSteps(parameters, sizes)
    sizes = StepSizes(parameters, h, relative_step, first_steps, eps)
    return Steps(parameters, named(stencil, "complex"), sizes, bounds, keep_nan=request.keep)


def with_args(args: tuple[Any, ...], f: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return f as a function of x alone."""
    if not args:
        return f

    def of_x(x: Any) -> Any:
        return f(x, *args)

    of_x.__wrapped__ = f  # type: ignore[attr-defined]
    return of_x


def evaluator(request: Request, x: Array, reader: Reader) -> tuple[Calls, Options, float | None]:
    """Return what evaluates f, the options that suit it, and the precision of f if it is known.

    A function that numba has compiled is driven from compiled code where that is possible. It
    never sees x but by its argument.
    """
    f, args, parameters, keep = request.f, request.args, request.parameters, request.keep
    kind = Batches if request.batched else Calls
    plain = kind(with_args(args, f), parameters, x, reader, request.caught, keep=keep)
    options = Options(request.team, keep, request.progress)
    if not is_compiled(f):
        return plain, options, None
    refuse_frozen(f, parameters)
    if request.batched or request.caught or reader.kinds == COMPLEX:
        return plain, options, None
    if not drivable(parameters, args):
        return plain, options, None
    calls = CompiledCalls(f, parameters, x, reader, args=args, keep=keep)
    known = len(f.overloads)
    try:
        eps, pace, evaluated = _probe(calls)
    except Exception:  # f may be defined around x alone, or refuse this x everywhere.
        return plain, replace(options, evaluated=1), None
    driven = calls.compiles(new=len(f.overloads) > known)
    options = Options(request.team, keep, request.progress, driven, pace, evaluated)
    return calls if driven else plain, options, eps


def _probe(calls: CompiledCalls) -> tuple[float, float, int]:
    """Evaluate f at x; return its precision, its seconds, and how often it was evaluated.

    That is twice where f had to be compiled, which is no part of its seconds.
    """
    f: Any = calls.f
    nothing = np.empty(0, np.int64), np.empty(0)
    evaluated, known = 0, -1
    while evaluated < 2 and len(f.overloads) > known:
        evaluated, known = evaluated + 1, len(f.overloads)
        start = time.perf_counter()
        returned = calls.at(*nothing)
        pace = time.perf_counter() - start
        calls.reader.read(returned)
    return precision(returned), pace, evaluated
