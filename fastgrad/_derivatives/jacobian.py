"""The Jacobian of any function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastgrad._derivatives.arguments import Request, check_one_array, make_steps
from fastgrad._derivatives.engine import differentiate
from fastgrad._formulas.coordinates import Coordinates
from fastgrad._formulas.groups import Groups, Pattern, pattern
from fastgrad._formulas.stencils import Stencil
from fastgrad._structures import Parameters


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
    bounds: Any = None,
    nonfinite: Literal["raise", "keep"] = "raise",
    errors: Literal["raise", "nan"] = "raise",
    progress: bool = False,
    full_output: bool = False,
    sparsity: Any = None,
) -> Any:
    """Return all derivatives of all numbers that `f` returns, by finite differences.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns an array of real numbers, always of the same shape, or of complex
        ones where ``stencil="complex"``; else as in `numerical_gradient`. A compiled f may return
        an array, a number, or numbers of one type; with `sparsity` it is called from Python.
    x, h, relative_step, args, stencil, workers, backend, bounds, nonfinite, errors, progress
        As in `numerical_gradient`, without "auto" and "quick".
    batched, full_output
        As in `numerical_gradient`; a batch of k points returns an array of shape
        ``(k, *f.shape)``. `batched` cannot be combined with `sparsity`.
    sparsity : scipy.sparse array or matrix, or array_like of bool, shape (f.size, x.size), optional
        Where the Jacobian may differ from 0; entries that a sparse array stores count, whatever
        their value. Columns that share no row are moved together [1]_. What f does elsewhere adds
        to the derivatives within. Needs SciPy (``fastgrad[sparse]``), and x that is one array.

    Returns
    -------
    ndarray, DataFrame, or dict, list or tuple of them
        Of shape ``f.shape + x.shape``, where x is a structure one such array for each of its
        arrays, with the dtype of x. The derivatives by one coordinate lie side by side in memory:
        the array of a 1-D f and x is in Fortran order. For a 1-D f and a Series x it is a
        DataFrame, whose columns have the labels of x.
    csr_array or csr_matrix, shape (f.size, x.size)
        With `sparsity`, a matrix where that is one; f and x are flattened in C order.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, RuntimeError, Exception
        As in `numerical_gradient`; also if f returns no array of real numbers, arrays of different
        shapes, or not one number for each row of `sparsity`.
    ImportError
        If `sparsity` is given and SciPy is missing.

    See Also
    --------
    directional_derivative : one direction alone, three evaluations.

    Notes
    -----
    Costs what `numerical_gradient` does. With `sparsity` it is a group of columns that costs what a
    coordinate does: seven evaluations for "central" and a tridiagonal Jacobian of any size. Beside
    the result it takes about 2 MiB and a few times f(x), where x is float64.

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
    >>> band = [[True, True, False], [False, True, True]]
    >>> jacobian(lambda x: x[1:] * x[:-1], x, sparsity=band).nnz
    4
    """
    request = Request(
        f, x, args, stencil=stencil, workers=workers, backend=backend, batched=batched,
        bounds=bounds, nonfinite=nonfinite, errors=errors, progress=progress,
        full_output=full_output,
    )  # fmt: skip
    parameters = request.parameters
    columns = None if sparsity is None else _columns(parameters, sparsity, batched)

    def make(eps: float) -> Coordinates | Groups:
        steps = make_steps(request, stencil, h, relative_step, eps)
        if columns is not None:
            return Groups(steps, columns, full_output)
        # Without a coordinate f(x) alone tells the shape.
        return Coordinates(steps, full_output or not parameters.size)

    found = differentiate(request, make, numbers=False)
    if columns is not None:
        matrix = columns.assemble(found.rows.astype(parameters.dtypes[0], copy=False))
        return request.answer(matrix, found)
    # f's shape before x's: a view where dtypes allow.
    rows = found.rows.T.reshape(*(found.shape or ()), parameters.size)
    return request.answer(parameters.assemble(rows), found)


def _columns(parameters: Parameters, sparsity: Any, batched: bool) -> Pattern:
    """Return the columns of a sparse Jacobian in groups."""
    check_one_array(parameters, "sparsity")
    if batched:
        raise ValueError("pass either batched=True or sparsity: a group is evaluated at one point")
    return pattern(sparsity, parameters.size)
