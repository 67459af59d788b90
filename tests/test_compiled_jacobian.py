"""`jacobian` of compiled functions: driven from compiled code, with the bits of Python's."""

import sys

import numba
import numpy as np
import pytest

from fastgrad import jacobian
from fastgrad._evaluation import compiled as driving


def same(first, second):
    return first.shape == second.shape and first.tobytes() == second.tobytes()


def python(f, x, *options, args=(), **named):
    """Return the Jacobian of what is compiled, called from Python."""
    return jacobian(lambda x, *args: f(x, *args), x, *options, args=args, **named)


@pytest.fixture
def driven(monkeypatch):
    """Return a list of the functions that compiled code has moved x for."""
    found = []
    driver = driving.driver
    monkeypatch.setattr(driving, "driver", lambda f, *one: found.append(f) or driver(f, *one))
    return found


@numba.njit
def squares(x, a):
    products = np.empty((x.size, x.size))
    for i in range(x.size):
        for j in range(x.size):
            products[i, j] = a * x[i] * x[j]
    return products[:, ::-1].T  # memory and indices go different ways


def squares_jacobian(x, a):
    """Return d/dx_k of ``a x_j x_i`` at [n - 1 - i, j]."""
    eye = np.eye(len(x))
    J = a * (eye[:, None, :] * x[None, :, None] + x[:, None, None] * eye[None, :, :])
    return J[:, ::-1].transpose(1, 0, 2)


@pytest.mark.parametrize(
    "options",
    [{}, {"stencil": "forward"}, {"stencil": "five-point"}, {"bounds": (-2.0, 2.0)},
     {"h": 2.0 ** -np.arange(2.0, 8.0)}],
    ids=str,
)  # fmt: skip
def test_the_bits_are_those_of_calls_from_python(driven, options):
    x = np.array([0.5, -2.0, 2.0, 0.0, -0.75, 1.0])
    before = x.tobytes()
    options = {"h": 0.25, "args": (3.0,), **options}
    J, info = jacobian(squares, x, **options, full_output=True)
    assert driven
    assert same(J, python(squares, x, **options))
    assert same(info.value, squares(x, 3.0))
    assert x.tobytes() == before
    if options.get("stencil") != "forward":
        np.testing.assert_array_equal(J, squares_jacobian(x, 3.0))  # second degree, in halves


@numba.njit
def of_two(pair):
    return (pair[0] ** 2).sum() * pair[1].T


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_a_tuple_of_arrays_of_any_order_and_precision(driven, dtype):
    pair = (np.array([1.0, 2.0], dtype), np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    first, second = jacobian(of_two, pair, 0.5)
    assert bool(driven) == (dtype is float)  # one dtype, or called from Python
    assert (first.dtype, second.dtype) == (dtype, float)
    np.testing.assert_array_equal(first, 2 * pair[1].T[:, :, None] * pair[0])
    expected = 5 * np.einsum("ik,jl->jikl", np.eye(2), np.eye(3))
    np.testing.assert_array_equal(second, expected)
    swapped = jacobian(squares, np.array([1.0, 2.0], ">f8"), 0.5, args=(1.0,))
    assert swapped.dtype == ">f8"
    np.testing.assert_array_equal(swapped, squares_jacobian(np.array([1.0, 2.0]), 1.0))


@numba.njit
def number(x):
    return x[0] * x[1]


@numba.njit
def pair_of_numbers(x):
    return x[0] * x[1], x[0]


@numba.njit
def pair_of_arrays(x):
    return x[:1], x[1:]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (number, [2.0, 1.0]),
        (pair_of_numbers, [[2.0, 1.0], [1.0, 0.0]]),
        (pair_of_arrays, [[[1.0, 0.0]], [[0.0, 1.0]]]),
    ],
    ids=["number", "numbers", "arrays"],
)
def test_what_f_may_return(f, expected):
    x = np.array([1.0, 2.0])
    J, info = jacobian(f, x, 0.5, full_output=True)
    np.testing.assert_array_equal(J, expected)
    # f(x) for its shape, for its time without the compiler, and as the value.
    assert info.evaluations == 4 + 3


def test_an_argument_that_is_x_moves_with_it(driven):
    x = np.array([1.0, 2.0])
    times = numba.njit(lambda x, y: x * y)
    np.testing.assert_array_equal(jacobian(times, x, 0.5, args=(x,)), np.diag(2 * x))
    assert not driven


@pytest.mark.parametrize("stencil", ["central", "complex"])
def test_x_read_from_outside_is_refused(stencil):
    W = np.ones(3)
    frozen = numba.njit(lambda x: W * x)
    with pytest.raises(TypeError, match="reads x from outside, as W"):
        jacobian(frozen, W, stencil=stencil)


@numba.njit
def difficult(x, limit):
    if x[1] < limit:
        raise ValueError("too small")
    return np.log(x[: 2 + (x[2] > 3)] - 1)


def test_failures_name_the_place_and_leave_x_alone():
    x = np.array([3.0, 1.00005, 2.0])
    with pytest.raises(FloatingPointError, match=r"f\[1\] is nan at x\[1\] = 1.00005 - 0.0001"):
        jacobian(difficult, x, args=(0.0,))
    kept = jacobian(difficult, x, args=(0.0,), nonfinite="keep")
    assert np.argwhere(np.isnan(kept)).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="too small") as caught:
        jacobian(difficult, x, args=(1.0,), nonfinite="keep")
    x[2] = 3.0
    with pytest.raises(TypeError, match=r"was \(2,\) before, and now an array of 3") as other:
        jacobian(difficult, x, args=(0.0,), nonfinite="keep")
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["f was evaluated at x[1] = 1.00005 - 0.0001"]
        assert other.value.__notes__ == ["f was evaluated at x[2] = 3.0 + 0.0001"]
    assert x.tolist() == [3.0, 1.00005, 3.0]


@pytest.mark.usefixtures("always")
def test_the_bits_are_those_of_one_worker():
    x = np.linspace(-1, 1, 50)
    J, info = jacobian(squares, x, args=(0.3,), workers=2, full_output=True)
    assert (info.workers, info.backend) == (2, "threads")
    assert same(J, jacobian(squares, x, args=(0.3,)))
