"""`jacobian` with `sparsity`: groups of columns, each for the price of one."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fastgrad import STENCILS, jacobian


def chain(x):
    """Return the equations of a chain, whose Jacobian is tridiagonal (Broyden 1965)."""
    y = (3 - 2 * x) * x + 1
    y[1:] -= x[:-1]
    y[:-1] -= 2 * x[1:]
    return y


def chain_jacobian(x):
    n = len(x)
    return sparse.diags([-np.ones(n - 1), 3 - 4 * x, -2 * np.ones(n - 1)], [-1, 0, 1])


def band(n):
    return sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))


@pytest.mark.parametrize("stencil", STENCILS)
def test_a_tridiagonal_jacobian_of_any_size_costs_three_columns(stencil):
    n, calls = 10_000, []
    x = np.random.default_rng(1).integers(-4, 4, n).astype(float)
    before = x.tobytes()

    def f(x):
        calls.append(1)
        return chain(x)

    J = jacobian(f, x, 0.5, stencil=stencil, sparsity=band(n))
    moves = len(STENCILS[stencil].moves)
    # One more tells that f reads x nowhere else.
    assert len(calls) == 3 * moves + (0.0 in STENCILS[stencil].offsets) + 1
    assert x.tobytes() == before
    if stencil == "central":
        assert len(calls) == 7
        # Second degree, halves of small integers: neither truncated nor rounded.
        assert abs(J - chain_jacobian(x)).max() == 0
    calls.clear()
    J, info = jacobian(f, x, stencil=stencil, sparsity=band(n), full_output=True)
    assert len(calls) == info.evaluations == 3 * moves + 2
    np.testing.assert_array_equal(info.value, chain(x))


@settings(max_examples=60)
@given(data=st.data())
def test_any_pattern_gives_the_entries_of_the_dense_jacobian(data):
    m, n = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    pattern = rng.random((m, n)) < data.draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    A = pattern * rng.integers(1, 9, (m, n))
    x = rng.integers(-4, 5, n).astype(float)
    options = data.draw(
        st.sampled_from([{}, {"bounds": (-4.0, 4.0)}, {"stencil": "forward", "bounds": (-4, 4)}])
    )
    h = data.draw(st.sampled_from([0.5, "each"]))
    h = 2.0 ** rng.integers(-3, 0, n) if h == "each" else h
    J = jacobian(lambda x: A @ x**2, x, h, sparsity=pattern, **options)
    dense = jacobian(lambda x: A @ x**2, x, h, **options)
    assert J.shape == (m, n)
    assert J.nnz == pattern.sum()
    np.testing.assert_array_equal(J.toarray(), dense)
    if options.get("stencil") is None:
        np.testing.assert_array_equal(dense, 2 * A * x)  # exact for the second degree


def test_the_formulas_of_a_group_may_differ():
    # At the bounds 0 and 1 the formulas are one-sided, and so long that they need three points.
    x = np.array([0.0, 0.5, 1.0, 0.0])
    seen = []

    def f(x):
        seen.append(x.copy())
        return x**2

    J, info = jacobian(f, x, 0.25, bounds=(0, 1), sparsity=np.eye(4, dtype=bool), full_output=True)
    assert len(seen) == info.evaluations == 4
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1
    np.testing.assert_array_equal(J.toarray(), np.diag(2 * x))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (sparse.csr_array, sparse.csr_array),
        (sparse.coo_array, sparse.csr_array),
        (sparse.csc_matrix, sparse.csr_matrix),
        (sparse.lil_matrix, sparse.csr_matrix),
        (lambda A: A != 0, sparse.csr_array),
        (lambda A: (A != 0).tolist(), sparse.csr_array),
    ],
)
def test_arrays_give_arrays_and_matrices_matrices(make, kind):
    x = np.array([1.0, 2.0, 3.0])
    J = jacobian(chain, x, 0.5, sparsity=make(band(3).toarray()))
    assert type(J) is kind
    np.testing.assert_array_equal(J.toarray(), chain_jacobian(x).toarray())


def test_what_a_sparse_array_stores_counts_whatever_its_value():
    stored = sparse.csc_array((np.zeros(2), ([0, 1], [0, 1])), shape=(2, 2))
    given = stored.copy()
    J = jacobian(lambda x: 3 * x, np.ones(2), 0.5, sparsity=stored)
    np.testing.assert_array_equal(J.toarray(), 3 * np.eye(2))
    assert (stored.data == given.data).all()


def test_arrays_of_any_shape_are_flattened():
    x = np.asarray(np.arange(6.0).reshape(2, 3), order="F")
    J = jacobian(lambda x: x**2, x, 0.5, sparsity=np.eye(6, dtype=bool))
    np.testing.assert_array_equal(J.toarray(), np.diag(2 * np.arange(6.0)))
    x = np.ones(2, np.float32)
    J = jacobian(lambda x: x, x, 0.5, sparsity=np.eye(2, dtype=bool))
    assert J.dtype == np.float32
    empty = jacobian(lambda x: np.ones(2), np.empty(0), sparsity=np.empty((2, 0), bool))
    assert empty.shape == (2, 0)


def test_a_book_closure_and_args():
    x = np.array([1.0, 2.0, 3.0])
    J = jacobian(lambda _, a: a * chain(x), x, 0.5, args=(2.0,), sparsity=band(3))
    np.testing.assert_array_equal(J.toarray(), 2 * chain_jacobian(x).toarray())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("bounds", [None, (-1.0, 1.0)])
def test_the_bits_are_those_of_one_worker(rng, backend, bounds):
    x = np.append(rng.uniform(-1, 1, 99), 1.0)
    options = {"sparsity": band(100), "bounds": bounds, "full_output": True}
    expected, _ = jacobian(chain, x, **options)
    J, info = jacobian(chain, x, workers=2, backend=backend, **options)
    assert (info.workers, info.backend) == (2, backend)
    assert J.data.tobytes() == expected.data.tobytes()
    assert abs(J - expected).max() == 0


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_x_is_restored_when_f_raises(error):
    x = np.array([1.0, 2.0, 3.0, 4.0])

    def f(x):
        if x[3] > 4:
            raise error("mine")
        return x

    with pytest.raises(error, match="mine") as caught:
        jacobian(f, x, sparsity=band(4))
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0]
    if sys.version_info >= (3, 11) and error is LookupError:
        note = "f was evaluated at x[0] = 1.0 + 0.0001 and x[3] = 4.0 + 0.0001"
        assert caught.value.__notes__ == [note]


def test_a_value_that_is_not_finite_names_the_coordinate_that_it_depends_on():
    def f(x):
        with np.errstate(invalid="ignore"):
            return np.log(x - 1)

    x = np.array([3.0, 4.0, 1.00005])
    match = r"f\[2\] is nan at x\[2\] = 1.00005 - 0.0001, moved together with 2 others"
    with pytest.raises(FloatingPointError, match=match):
        jacobian(f, x, sparsity=np.eye(3, dtype=bool))
    J = jacobian(f, x, sparsity=np.eye(3, dtype=bool), nonfinite="keep")
    assert np.isnan(J.diagonal()).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("sparsity", "error", "match"),
    [
        (np.eye(3), TypeError, "boolean array; got ndarray of float64; pass A != 0"),
        (np.eye(3, dtype=int), TypeError, "got ndarray of int64"),
        ("band", TypeError, "got str"),
        (np.ones(3, bool), ValueError, r"\(m, 3\); got \(3,\)"),
        (np.eye(4, dtype=bool), ValueError, r"\(m, 3\); got \(4, 4\)"),
        (sparse.eye_array(4), ValueError, r"\(m, 3\); got \(4, 4\)"),
    ],
)
def test_what_is_no_pattern_is_refused_before_f_is_called(sparsity, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        jacobian(f, np.ones(3), sparsity=sparsity)


def test_a_row_too_many_is_refused_by_the_first_value():
    calls = []
    f = lambda x: calls.append(1) or x[:2]  # noqa: E731
    with pytest.raises(ValueError, match=r"f returns 2 numbers, .* sparsity has the shape \(3, 3"):
        jacobian(f, np.ones(3), sparsity=band(3))
    assert len(calls) == 2  # and one with x elsewhere


def test_scipy_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgrad\[sparse\]'"):
        jacobian(chain, np.ones(3), sparsity=np.eye(3, dtype=bool))
