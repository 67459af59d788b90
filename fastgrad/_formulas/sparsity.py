"""Sparse Jacobians: which columns are found together. The only file that knows scipy.sparse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastgrad._arrays import as_numbers
from fastgrad._typing import Array, Integers


class Pattern(NamedTuple):
    """Where an (m, n) Jacobian may differ from 0, and its columns in groups.

    No two columns of a group share a row, so that one evaluation tells a group's columns apart.
    The columns stand group by group: group g has the columns ``order[starts[g]:starts[g + 1]]``,
    and the k-th of all columns the rows ``rows[ends[k]:ends[k + 1]]``.
    """

    shape: tuple[int, int]
    order: Integers
    starts: Integers
    ends: Integers
    rows: Integers
    matrix: bool

    def assemble(self, values: Array) -> Any:
        """Return the sparse Jacobian of these values, which stand as `rows` does."""
        from scipy import sparse

        columns = np.repeat(self.order, np.diff(self.ends))
        kind = sparse.csr_matrix if self.matrix else sparse.csr_array
        return kind((values, (self.rows, columns)), shape=self.shape)


def pattern(sparsity: Any, columns: int) -> Pattern:
    """Return the pattern that the caller gave, checked, with its columns in groups.

    A column joins the first group that it fits into, the columns in their order, which for a band
    of width w makes w groups (Curtis, Powell, Reid; see `jacobian`).
    """
    try:
        from scipy import sparse
        from scipy.optimize._numdiff import group_columns  # No public name leads to it.
    except ImportError as error:
        raise ImportError("sparsity needs SciPy: pip install 'fastgrad[sparse]'") from error
    if not sparse.issparse(sparsity):
        given, sparsity = type(sparsity).__name__, as_numbers(sparsity, "sparsity")
        if sparsity.dtype != bool:
            raise TypeError(
                "sparsity must be a scipy.sparse array or matrix, or a boolean array; got "
                f"{given} of {sparsity.dtype}; pass A != 0"
            )
    if sparsity.ndim != 2 or sparsity.shape[1] != columns:
        raise ValueError(
            f"sparsity must have a row for each output of f and a column for each coordinate of x, "
            f"(m, {columns}); got {sparsity.shape}"
        )
    stored = sparse.csc_matrix(sparsity, copy=True)
    stored.data = np.ones(stored.nnz)
    stored.sum_duplicates()
    groups = group_columns(stored, order=np.arange(columns))
    order = np.argsort(groups, kind="stable")
    ordered = stored[:, order]
    return Pattern(
        shape=stored.shape,
        order=order,
        starts=np.append(0, np.cumsum(np.bincount(groups))),
        ends=ordered.indptr.astype(np.int64),
        rows=ordered.indices.astype(np.int64),
        matrix=isinstance(sparsity, sparse.spmatrix),
    )
