"""The Jacobian of any function."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastgrad import executors
from fastgrad.arguments import check, compiled, point_by_point
from fastgrad.complex_step import ComplexSteps
from fastgrad.engine import differentiate
from fastgrad.info import told
from fastgrad.objectives.groups import Groups
from fastgrad.objectives.outputs import BatchedOutputs, Outputs
from fastgrad.sparsity import pattern
from fastgrad.stencils import Stencil, named
from fastgrad.steps import Steps
from fastgrad.structures import Parameters


def jacobian(
    f: Callable[..., Any],
    x: Any,
    h: Any = None,
    *,
    relative_step: float | None = None,
    args: tuple[Any, ...] = (),
    stencil: str | Stencil = "central",
    workers: int | None = None,
    backend: str | None = None,
    batched: bool = False,
    bounds: tuple[Any, Any] | None = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    progress: bool = False,
    full_output: bool = False,
    sparsity: Any = None,
) -> Any:
    """Return all derivatives of all numbers that `f` returns, by finite differences.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns an array of real numbers, always of the same shape, or of complex
        ones where ``stencil="complex"``. Otherwise it may ignore its argument and read x from its
        closure: x is moved in place and put back. A function compiled by ``numba.njit`` that
        returns an array, a number, or numbers of one type is driven from a compiled loop, at a copy
        of x; with `sparsity` and the complex step it is called from Python.
    x : ndarray of float, number, or dict, list or tuple of arrays
        Where. Any shape, memory order and structure. It holds the same bits after the call as
        before, also after an exception in f, Ctrl-C, or the loss of a worker.
    h, relative_step, args, stencil, bounds, progress
        As for `numerical_gradient`.
    workers, backend : int and str, optional
        As for `numerical_gradient`.
    batched : bool, default False
        `f` takes many points at once, a read-only array of shape ``(k, *x.shape)``, and returns an
        array of shape ``(k, *f.shape)``. Not together with `sparsity`.
    nonfinite : {"raise", "keep"}
        What to do when a number that f returns is not finite: raise, or carry on with it.
    full_output : bool, default False
        Return ``(jacobian, info)`` with a `fastgrad.Info`; its value is f(x).
    sparsity : scipy.sparse array or matrix, or array_like of bool, shape (f.size, x.size), optional
        Where the Jacobian may differ from 0; entries that a sparse array stores count, whatever
        their value. Columns that share no row are found together [1]_. It is not checked: what f
        does elsewhere adds to the derivatives within. Needs SciPy (``fastgrad[sparse]``), and x
        that is one array.

    Returns
    -------
    ndarray, or dict, list or tuple of ndarray
        Of shape ``f.shape + x.shape``, where x is a structure one such array for each of its
        arrays, with the dtype of x. The derivatives by one coordinate lie side by side in memory:
        the array of a 1-D f and x is in Fortran order.
    csr_array or csr_matrix, shape (f.size, x.size)
        With `sparsity`, a matrix where that is one; f and x are flattened in C order.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, before f is evaluated; if f returns no array of real numbers,
        arrays of different shapes, or not one number for each row of `sparsity`.
    FloatingPointError
        If f is not finite somewhere; the message names the output, the coordinate and the side.
    ImportError
        If `sparsity` is given and SciPy is missing.
    RuntimeError, Exception
        As for `numerical_gradient`.

    See Also
    --------
    numerical_gradient : for a function that returns one number.
    directional_derivative : one direction alone, two evaluations.

    Notes
    -----
    Costs two evaluations of f a coordinate for "central", one for "forward", "backward" and
    "complex", four and six for "five-point" and "six-point"; and one more for f(x), which tells the
    shape, or two for a compiled f. With `sparsity` the same for each group of columns instead of
    each coordinate, and f(x) only where the formula, `bounds` or `full_output` need it: six
    evaluations for "central" and a tridiagonal Jacobian of any size. Where work is spread, one more
    here and one in each worker.

    Beside the result it takes about 2 MiB and a few times f(x), where x is float64.

    References
    ----------
    .. [1] A. R. Curtis, M. J. D. Powell, J. K. Reid, On the estimation of sparse Jacobian
       matrices, IMA Journal of Applied Mathematics 13 (1974), 117-119.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> jacobian(lambda x: x[1:] * x[:-1], x).round(6)
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> jacobian(lambda x: x[1:] * x[:-1], x, stencil="complex")
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> band = [[True, True, False], [False, True, True]]
    >>> jacobian(lambda x: x[1:] * x[:-1], x, sparsity=band).nnz
    4
    """
    start = time.perf_counter()
    check(f, args, nonfinite)
    driven = compiled(f) and not batched and sparsity is None and stencil != "complex"
    executor = executors.choose(workers, backend, compiled=driven)
    parameters = Parameters(x)
    single = isinstance(parameters.x, np.ndarray)
    for option, given in (("batched", batched), ("sparsity", sparsity is not None)):
        if given and not single:
            raise TypeError(f"x must be one array with {option}, got a {type(x).__name__}")
    if batched and sparsity is not None:
        raise ValueError("pass either batched=True or sparsity: a group is evaluated at one point")
    of_x = point_by_point(f, args, parameters)
    if stencil == "complex":
        steps: Steps = ComplexSteps(parameters, h, relative_step, bounds)
        parameters = parameters.complex_copy()
    else:
        steps = Steps(parameters, named(stencil, "complex"), h, bounds, relative_step)
    arguments = of_x, parameters, steps, nonfinite == "keep"
    objective: Outputs
    if sparsity is None:
        outputs = BatchedOutputs if batched else Outputs
        objective = _driven(f, args, *arguments) if driven else outputs(*arguments)
        planned = steps.evaluations(parameters) if full_output else 0
    else:
        objective = Groups(*arguments, pattern(sparsity, parameters.size))
        planned = objective.total() if full_output else 0
    vector, used = differentiate(objective, executor, progress=progress)
    result = objective.assemble(vector)
    if not full_output:
        return result
    value = objective.at_x()
    evaluations = objective.evaluations + planned
    step = steps.used(parameters)
    return result, told(start, used, value=value, evaluations=evaluations, step=step)


def _driven(
    f: Any,
    args: tuple[Any, ...],
    of_x: Callable[[Any], Any],
    parameters: Parameters,
    steps: Steps,
    keep: bool,
) -> Outputs:
    """Return the objective for a compiled `f`, driven from compiled code where that can be."""
    from fastgrad.objectives.jitted import drivable
    from fastgrad.objectives.jitted_outputs import JittedOutputs

    tried = 0
    if drivable(parameters.x, args):
        objective = JittedOutputs(of_x, parameters, steps, keep, f, args)
        if objective.drivable:
            return objective
        tried = objective.evaluations
    plain = Outputs(of_x, parameters, steps, keep)
    plain.evaluations += tried
    return plain
