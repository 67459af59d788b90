"""Sparse Jacobians: columns that share no row move together. It alone knows scipy.sparse."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from fastgrad._arrays import as_numbers
from fastgrad._formulas.coordinates import weighted_sums
from fastgrad._formulas.formula import Formula
from fastgrad._formulas.points import Points, joined
from fastgrad._formulas.steps import Steps
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


class Groups(Formula):
    """One item is a group of the columns of a pattern; all its coordinates move at once."""

    def __init__(self, steps: Steps, pattern: Pattern, with_value: bool) -> None:
        self.pattern, self.plan = pattern, steps.plan(range(steps.parameters.size))
        self._lengths = steps.counts[self.plan.which]
        groups = range(len(pattern.starts) - 1)
        counts = [int(self._lengths[self._columns(group)].max()) for group in groups]
        value_first = with_value or bool(counts and steps.centers.any())
        super().__init__(steps, [0, *accumulate(counts)], value_first)

    def _columns(self, item: int) -> Integers:
        """Return the coordinates of a group."""
        first, last = self.pattern.starts[item : item + 2]
        return self.pattern.order[first:last]

    def of_item(self, item: int, some: range) -> Points:
        """Return some of the points of a group."""
        parts = []
        for move in some:
            columns = self._columns(item)
            columns = columns[move < self._lengths[columns]]
            value = self.plan.value[columns, move]
            parts.append(Points(columns, value, np.array([0, len(columns)])))
        return joined(parts)

    def told_apart(self, point: Points, output: int) -> Points:
        """Return a point with the coordinate that an output depends on before the others."""
        pattern = self.pattern
        column = np.repeat(pattern.order, np.diff(pattern.ends))
        mine = np.isin(point.index, column[pattern.rows == output])
        first = np.argsort(~mine, kind="stable")
        return Points(point.index[first], point.value[first], point.start)

    def allocate(self, outputs: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for all derivatives that may differ from 0."""
        rows = self.pattern.shape[0]
        if outputs not in ((), (rows,)):
            raise ValueError(
                f"f returns {outputs[0]} numbers, but sparsity has the shape {self.pattern.shape}: "
                "it must have a row for each"
            )
        return np.empty(len(self.pattern.rows), dtype)

    def combine_item(self, out: Array, item: int, values: Array, value: Any) -> None:
        """Write the derivatives of a group: of the outputs `rows` by the coordinates `column`."""
        first, last = self.pattern.starts[item : item + 2]
        ends = self.pattern.ends[first : last + 1]
        rows = self.pattern.rows[ends[0] : ends[-1]]
        column = np.repeat(self._columns(item), np.diff(ends))
        used = np.arange(len(values)) < self._lengths[column][:, np.newaxis]
        out[ends[0] : ends[-1]] = weighted_sums(
            self.steps, self.plan.which[column], self.plan.divisor[column],
            values.T[rows][used], value[rows] if self.value_first else value,
        )  # fmt: skip
