"""Brings a formula, f and a schedule together, and returns the derivatives."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from fastgrad._derivatives.arguments import Request, evaluator
from fastgrad._derivatives.info import Found
from fastgrad._derivatives.ranges import Ranges
from fastgrad._derivatives.tasks import Witness, Work, differs_there
from fastgrad._evaluation.batched import Batches
from fastgrad._evaluation.callable import Calls
from fastgrad._evaluation.in_place import InPlace
from fastgrad._evaluation.outside import check_movable, without_memory
from fastgrad._evaluation.proof import Proof
from fastgrad._evaluation.values import COMPLEX, REAL, Reader
from fastgrad._parallel import cost
from fastgrad._parallel.schedule import Schedule, Source, Spent, Unwanted
from fastgrad._parallel.team import SERIAL

Make = Callable[[float], Any]
"""Takes the relative precision of f, 0 where it is unknown, and returns the formula for it."""

Update = Callable[[int], Any] | None
"""Told how many evaluations are done."""


class ReadsOutside(Unwanted):
    """f reads x from outside."""


def differentiate(request: Request, make: Make, *, numbers: bool = True) -> Found:
    """Return the derivatives by a formula, of an f that returns one number or an array."""
    formula, parameters = make(0.0), request.parameters
    x = formula.x
    reader = Reader(numbers=numbers, kinds=COMPLEX if x.dtype.kind == "c" else REAL)
    calls, eps, pace, evaluated = evaluator(request, x, reader)
    if eps is not None and eps > formula.eps:
        formula = make(eps)
    if isinstance(calls, Batches):
        calls.total = formula.total
    found = Found(calls, formula, eps or 0.0, pace, Spent(here=evaluated))
    with show_progress(request, formula.total) as update:
        if eps is not None or not formula.total:
            work = Work(calls, formula)
            source = Ranges(work, found, keep=request.keep)
            make_schedule(request, found, work, source, update).run()
        elif _prove_and_run(request, found, make, update):
            _run_in_place(request, found, update)
    if found.rows is None:
        found.rows = found.formula.allocate((), parameters.dtype)
    if len(found.rows):
        request.check_captured(found, found.rows)
    return found


def make_schedule(
    request: Request, found: Found, work: Work, source: Source, update: Update
) -> Schedule:
    """Return a schedule that has the tasks of a source done."""
    schedule = Schedule(
        work, source, request.team, found.spent,
        nogil=found.calls.nogil, shared=not isinstance(found.calls, InPlace), update=update,
    )  # fmt: skip
    schedule.pace = found.pace
    return schedule


def _prove_and_run(request: Request, found: Found, make: Make | None, update: Update) -> bool:
    """Evaluate f once while x is elsewhere, and the formula beside it or after it.

    Return whether f reads x from outside, so that all was in vain.
    """
    calls, formula = found.calls, found.formula
    work = Work(calls, formula, guarded=True)
    bare = without_memory(request.f, request.parameters)
    proof = Proof(calls if bare is None else calls.instead(bare), formula.points(range(1)))

    def judge(value: Any) -> None:
        with request.parameters.held():
            outside = proof.reads_outside(value)
        found.spent.here += proof.repeated
        if outside:
            raise ReadsOutside
        if proof.alone and found.spent.there:
            raise differs_there(calls, proof.elsewhere, value)

    source = Ranges(work, found, keep=request.keep, judge=judge)
    schedule = make_schedule(request, found, work, source, update)
    _evaluate_beside(request, schedule, proof, work)
    found.eps, found.pace = proof.eps, schedule.pace
    if make is not None and proof.eps > formula.eps:
        schedule.forget()  # f computes less precisely than x: other steps
        found.formula, found.pace = make(proof.eps), 0.0
        return _prove_and_run(request, found, None, update)
    if request.team is not SERIAL and schedule.pace < cost.SLOW:
        # The first point is evaluated here: it does not tell whether workers have the same f.
        work.target, found.expected = formula.target(), Witness(work, found.spent)
    try:
        schedule.run()
    except ReadsOutside:
        return True
    return False


def _evaluate_beside(request: Request, schedule: Schedule, proof: Proof, work: Work) -> None:
    """Make the evaluation of a proof, while workers begin with the others where that pays."""
    if request.team is SERIAL:
        with schedule.beside():
            proof.evaluate(work.formula.target())
        return
    parameters, code = request.parameters, _code(request.f)
    with parameters.held():
        work.originals = [(leaf, leaf.copy()) for leaf in parameters.leaves]
    schedule.pace = _paces.get(code, 0.0)  # unknown at first
    # What stands in a batch must not depend on time: the proof tells how large a value is.
    alone = isinstance(work.calls, Batches) or 0.0 < schedule.pace < cost.SLOW
    with schedule.beside(alone=alone):
        proof.evaluate(work.formula.target())
    _paces[code], work.originals = schedule.pace, []


_paces: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
"""Seconds that functions took when last called: slow ones are handed out at once, fast ones are not
watched."""


def _code(f: Any) -> Any:
    """Return the code of a function, which outlives lambdas that are made anew."""
    f = getattr(f, "__wrapped__", f)
    return getattr(getattr(f, "__func__", f), "__code__", type(f))


def _run_in_place(request: Request, found: Found, update: Update) -> None:
    """Move the caller's own x, which f reads from outside."""
    calls, parameters = found.calls, request.parameters
    if type(calls) is not Calls or calls.x.dtype.kind == "c":
        raise TypeError(
            "f reads x in another way than by its argument (from outside, or from args), where it "
            "stays as it is; let f use its argument alone, or pass one that takes one real point"
        )
    check_movable(parameters)
    if without_memory(request.f, parameters) is not None:
        raise TypeError(
            "f reads x from outside, but remembers its values by its argument: let f use its "
            "argument"
        )
    moving = InPlace(
        calls.f, parameters, calls.x, Reader(numbers=calls.reader.numbers), calls.caught,
        args=calls.args, keep=calls.keep,
    )  # fmt: skip
    work = Work(moving, found.formula, found.formula.target())
    found.failures.clear()
    found.calls, found.expected = moving, Witness(work, found.spent)
    source = Ranges(work, found, keep=request.keep)
    make_schedule(request, found, work, source, update).run()


def show_progress(request: Request, total: int | None) -> contextlib.AbstractContextManager[Update]:
    """Show a bar in evaluations, if that is wanted."""
    return _bar(total) if request.progress else contextlib.nullcontext()


@contextlib.contextmanager
def _bar(total: int | None) -> Iterator[Update]:
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="evaluation") as bar:
        yield bar.update
