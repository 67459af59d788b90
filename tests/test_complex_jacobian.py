"""`jacobian` with `stencil="complex"`: exact to rounding, dense, sparse and batched."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from tolerances import COMPLEX, FLOAT32

from fastgrad import jacobian


def spherical(x):
    """Return Cartesian coordinates out of radius, inclination and azimuth."""
    r, a, b = x
    return r * np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])


def spherical_jacobian(x):
    r, a, b = x
    return np.array([
        [np.sin(a) * np.cos(b), r * np.cos(a) * np.cos(b), -r * np.sin(a) * np.sin(b)],
        [np.sin(a) * np.sin(b), r * np.cos(a) * np.sin(b), r * np.sin(a) * np.cos(b)],
        [np.cos(a), -r * np.sin(a), 0.0],
    ])  # fmt: skip


@given(x=st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 3), st.floats(-3, 3)))
def test_exact_to_rounding(x):
    x = np.array(x)
    before = x.tobytes()
    J = jacobian(spherical, x, stencil="complex")
    np.testing.assert_allclose(J, spherical_jacobian(x), rtol=0, atol=4 * COMPLEX * x[0] + COMPLEX)
    assert x.tobytes() == before


def test_structures_shapes_arguments_and_precisions():
    x = {"A": np.arange(1, 7, dtype=np.float32).reshape(2, 3), "b": np.array([0.5, 2.0])}

    def f(x, a):
        return a * np.exp(x["A"] / 8) * x["b"][:, None]

    J = jacobian(f, x, args=(3.0,), stencil="complex")
    assert (J["A"].shape, J["A"].dtype) == ((2, 3, 2, 3), np.float32)
    assert (J["b"].shape, J["b"].dtype) == ((2, 3, 2), float)
    value = 3 * np.exp(np.arange(1, 7).reshape(2, 3) / 8) * x["b"][:, None]
    eye, own = np.eye(6).reshape(2, 3, 2, 3), np.eye(2)[:, None, :]
    np.testing.assert_allclose(J["A"], eye * value / 8, rtol=FLOAT32)
    np.testing.assert_allclose(J["b"], own * (value / x["b"][:, None])[..., None], rtol=4 * COMPLEX)


def test_f_is_evaluated_once_a_coordinate_and_twice_more():
    calls = []
    J, info = jacobian(
        lambda z: calls.append(z.copy()) or z**2,
        np.array([3.0, -0.0, 1e-5]),
        stencil="complex",
        full_output=True,
    )
    assert len(calls) == info.evaluations == 5  # one of them tells that f reads x nowhere else
    assert np.array(calls).real.tobytes() == np.array([[3.0, -0.0, 1e-5]] * 5).tobytes()
    np.testing.assert_allclose(info.step, [1e-20, 1e-20, 1e-25], rtol=COMPLEX)
    np.testing.assert_allclose(info.value, [9.0, 0.0, 1e-10], rtol=COMPLEX)
    assert info.value.dtype == float
    np.testing.assert_allclose(J, np.diag([6.0, 0.0, 2e-5]), rtol=COMPLEX)


def chain(z):
    y = (3 - 2 * z) * z + 1
    y[1:] -= z[:-1]
    y[:-1] -= 2 * z[1:]
    return y


def test_a_tridiagonal_jacobian_costs_three_evaluations_and_two():
    n, calls = 10_000, []
    x = np.random.default_rng(1).integers(-4, 4, n).astype(float)
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))

    def f(z):
        calls.append(1)
        return chain(z)

    J, info = jacobian(f, x, stencil="complex", sparsity=band, full_output=True)
    assert len(calls) == info.evaluations == 5
    expected = sparse.diags([-np.ones(n - 1), 3 - 4 * x, -2 * np.ones(n - 1)], [-1, 0, 1])
    assert J.dtype == float
    assert abs(J - expected).max() <= 19 * COMPLEX


@settings(max_examples=30)
@given(seed=st.integers(0, 2**16), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_sparse_and_batched_are_the_dense_one(seed, share):
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 7, 2)
    A = (rng.random((m, n)) < share) * rng.integers(1, 9, (m, n))
    x = rng.uniform(0.5, 2, n).astype(rng.choice([np.float32, float]))
    dense = jacobian(lambda z: A @ z**2, x, stencil="complex")
    np.testing.assert_allclose(dense, 2 * A * x, rtol=FLOAT32 if x.itemsize == 4 else 4 * COMPLEX)
    there = jacobian(lambda z: A @ z**2, x, stencil="complex", sparsity=A != 0)
    np.testing.assert_allclose(there.toarray(), dense, rtol=FLOAT32 * (x.itemsize == 4) + COMPLEX)
    assert there.dtype == dense.dtype == x.dtype
    many = jacobian(lambda z: z**2 @ A.T, x, stencil="complex", batched=True)
    np.testing.assert_allclose(many, dense, rtol=FLOAT32 * (x.itemsize == 4) + COMPLEX)


@numba.njit
def compiled(z):
    return np.exp(z / 10) * z[0]


def test_a_compiled_f_is_compiled_for_complex_numbers():
    x = np.arange(1.0, 6.0)
    expected = np.diag(x[0] * np.exp(x / 10) / 10)
    expected[:, 0] += np.exp(x / 10)
    J = jacobian(compiled, x, stencil="complex")
    np.testing.assert_allclose(J, expected, rtol=4 * COMPLEX)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("options", [{}, {"batched": True}, {"sparsity": np.eye(50) > 0}], ids=str)
def test_the_bits_do_not_depend_on_the_workers(options):
    x = np.linspace(0.5, 3, 50)
    here = jacobian(np.exp, x, stencil="complex", **options)
    there, info = jacobian(
        np.exp, x, stencil="complex", workers=2, backend="threads", full_output=True, **options
    )
    assert info.workers == 2
    here, there = (J.toarray() if "sparsity" in options else J for J in (here, there))
    assert here.tobytes() == there.tobytes()
    np.testing.assert_allclose(here, np.diag(np.exp(x)), rtol=4 * COMPLEX)


@pytest.mark.parametrize("options", [{}, {"sparsity": np.eye(2) > 0}, {"batched": True}], ids=str)
def test_what_is_not_complex_or_reads_x_elsewhere_is_refused(options):
    x = np.array([1.0, 2.0])
    words = "f must return an array of complex numbers where stencil='complex', got float64: it"
    for f in (lambda z: np.abs(z), lambda z: z.real, lambda _: x**2):
        with pytest.raises(TypeError, match=words):
            jacobian(f, x, stencil="complex", **options)
    with pytest.raises(TypeError, match="f reads x in another way than by its argument"):
        jacobian(lambda z: z * x, x, stencil="complex", **options)
    half = lambda z: np.where([True, False], x, z)  # noqa: E731, one output of two
    with pytest.raises(TypeError, match="f reads x in another way than by its argument"):
        jacobian(half, x, stencil="complex", **options)
    assert x.tolist() == [1.0, 2.0]


def test_other_failures():
    x = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="bounds do not matter where stencil='complex'"):
        jacobian(np.exp, x, stencil="complex", bounds=(0, 1))
    with pytest.raises(FloatingPointError, match=r"f\[1\] is .*nan.* at x\[0\] = 1.0 \+ 1e-20j"):
        jacobian(lambda z: z + np.array([0, math.nan if z[0].imag else 0]), x, stencil="complex")
    with pytest.raises(ValueError, match="f returns 1 numbers"):
        jacobian(lambda z: z[:1], x, stencil="complex", sparsity=np.eye(2) > 0)
