"""Arguments that all public functions take: checked, and made an evaluator of."""

from __future__ import annotations

import time
from typing import Any

from fastgrad._checks import check_flags
from fastgrad._derivatives.info import Found
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls, Errors
from fastgrad._evaluation.compiled import CompiledCalls, drivable, is_compiled, refuse_frozen
from fastgrad._evaluation.outside import check_captured
from fastgrad._evaluation.values import COMPLEX, Reader
from fastgrad._formulas.bounds import read_bounds
from fastgrad._formulas.complex_step import ComplexSteps, complex_steps, refuse_bounds
from fastgrad._formulas.stencils import Stencil, named
from fastgrad._formulas.step_sizes import StepSizes, first_steps
from fastgrad._formulas.steps import Steps
from fastgrad._parallel.team import choose
from fastgrad._structures import Parameters
from fastgrad._typing import Array


class Request:
    """What the caller asked for, whatever the derivative, and what does not fit refused."""

    def __init__(
        self,
        f: Any,
        x: Any,
        args: tuple[Any, ...],
        *,
        stencil: str | Stencil = "central",
        workers: int | None = None,
        backend: str | None = None,
        batched: bool = False,
        bounds: Any = None,
        nonfinite: str = "raise",
        errors: str = "raise",
        progress: bool = False,
        full_output: bool = False,
    ) -> None:
        self._start = time.perf_counter()
        check(f, args, nonfinite, errors)
        check_flags(batched=batched, progress=progress, full_output=full_output)
        self.f, self.args, self.compiled = f, args, is_compiled(f)
        self.team = choose(workers, backend, compiled=self.compiled)
        self.parameters = Parameters(x)
        if self.compiled and any(self.parameters.has_labels):
            raise TypeError(
                "x must hold arrays where f is compiled by numba, got a pandas object; pass "
                "x.to_numpy(), or f.py_func"
            )
        if batched:
            check_one_array(self.parameters, "batched=True")
        if stencil == "complex":
            refuse_bounds(bounds)
        self.bounds = read_bounds(self.parameters, bounds)
        self.keep = nonfinite == "keep" or errors == "nan"
        self.caught: Errors = (Exception,) if errors == "nan" else ()  # then f's value is NaN
        self.batched, self.progress, self.full_output = batched, progress, full_output

    def check_captured(self, found: Found, derivatives: Array) -> None:
        """Refuse derivatives of 0 by what f reads from outside, where it cannot be moved."""
        if not (all(self.parameters.movable) or self.compiled):
            target = found.formula.target()
            found.spent.here += check_captured(found.calls, target, derivatives)

    def answer(self, derivative: Any, found: Found) -> Any:
        """Return what the caller gets."""
        if not self.full_output:
            return derivative
        return derivative, found.info(self._start, self.parameters)


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
    eps: float = 0.0,
) -> Any:
    """Return the steps of first derivatives along all coordinates, for f of that precision."""
    parameters = request.parameters
    if stencil == "complex":
        return ComplexSteps(parameters, StepSizes(parameters, h, relative_step, complex_steps))
    sizes = StepSizes(parameters, h, relative_step, first_steps, eps)
    formula = named(stencil, "complex")
    return Steps(parameters, formula, sizes, request.bounds, keep_nan=request.keep)


def evaluator(request: Request, x: Array, reader: Reader) -> tuple[Calls, float | None, float, int]:
    """Return what evaluates f, and its precision, its seconds and how often it was evaluated.

    A function that numba has compiled is driven from compiled code where that is possible. It
    never sees x but by its argument. For others the precision is None and the seconds are 0.
    """
    f, args, parameters = request.f, request.args, request.parameters
    kind = Batches if request.batched else Calls
    plain = kind(f, parameters, x, reader, request.caught, args=args, keep=request.keep)
    if not request.compiled:
        return plain, None, 0.0, 0
    refuse_frozen(f, parameters)
    called = request.batched or request.caught or reader.kinds == COMPLEX
    if called or not drivable(parameters, args):
        return plain, None, 0.0, 0
    calls = CompiledCalls(f, parameters, x, reader, args=args, keep=request.keep)
    known = len(f.overloads)
    try:
        probed = calls.probe()
    except Exception:  # f may be defined around x alone, or refuse this x everywhere.
        return plain, None, 0.0, 1
    driven = calls.compiles(new=len(f.overloads) > known)
    return calls if driven else plain, *probed
