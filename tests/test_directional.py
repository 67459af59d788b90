"""`directional_derivative`: one direction for the price of one coordinate."""

import sys

import functions_of_x
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import rounding

from fastgrad import STENCILS, directional_derivative, jacobian, numerical_gradient

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)


@given(shape=SHAPES, outputs=SHAPES, seed=st.integers(0, 2**16), order=st.sampled_from("CF"))
def test_a_linear_map_sends_v_where_its_derivative_does(shape, outputs, seed, order):
    rng = np.random.default_rng(seed)
    x, v = rng.integers(-4, 5, (2, *shape)).astype(float)
    x = np.asarray(x, order=order)
    before = x.tobytes()
    A = rng.integers(-9, 10, (int(np.prod(outputs)), x.size)).astype(float)
    f = lambda x: (A @ x.reshape(-1)).reshape(outputs)  # noqa: E731
    derivative = directional_derivative(f, x, v, 0.5)
    assert derivative.shape == outputs
    np.testing.assert_array_equal(derivative, (A @ v.reshape(-1)).reshape(outputs))
    assert x.tobytes() == before


def test_along_a_coordinate_it_is_that_entry_of_the_gradient():
    x = np.array([-1.2, 1.0, 0.5])
    gradient = numerical_gradient(functions_of_x.rosenbrock, x)
    for entry, v in zip(gradient, np.eye(3), strict=True):
        assert directional_derivative(functions_of_x.rosenbrock, x, v) == entry
        # The step shrinks as v grows: the same points, a derivative twice as large.
        assert directional_derivative(functions_of_x.rosenbrock, x, 2 * v) == 2 * entry


@pytest.mark.parametrize("stencil", STENCILS)
def test_the_truncation_is_that_of_the_formula(stencil):
    # Along v the function is a cubic of t, for which only the low orders err.
    x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    # f(x + t v) = (1 + t)³ + (2 - t)² = 5 - t + 4 t² + t³
    second = float(stencil in ("forward", "backward", "central"))
    first = {"forward": 4.0, "backward": -4.0}.get(stencil, 0.0)
    derivative = directional_derivative(lambda x: x[0] ** 3 + x[1] ** 2, x, v, 0.5, stencil=stencil)
    assert derivative == pytest.approx(-1 + first * 0.5 + second * 0.25, abs=1e-13)


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("v", [(1.0, -2.0), (-1.0, 2.0), (0.5, 0.0), (0.0, 0.0)])
def test_nothing_outside_the_bounds_is_evaluated(stencil, v):
    # x is at a corner: v or -v leads out of it.
    x, bounds, order = np.array([0.1, 0.7]), ((0.1, -np.inf), (5.0, 0.7)), STENCILS[stencil].order

    def f(x):
        assert (x >= bounds[0]).all()
        assert (x <= bounds[1]).all()
        return (x[0] - 2 * x[1]) ** order

    options = {"stencil": stencil, "bounds": bounds}
    # Along v it is a polynomial of the degree that the formula is exact for.
    exact = order * (x[0] - 2 * x[1]) ** (order - 1) * (v[0] - 2 * v[1])
    size = (2 + 6 * 5 * 0.125) ** order
    allowed = rounding(stencil, float, 16 * size, 0.125)
    assert directional_derivative(f, x, v, 0.125, **options) == pytest.approx(exact, abs=allowed)
    derivative = directional_derivative(f, x, v, **options)
    assert derivative == pytest.approx(exact, abs=rounding(stencil, float, 16 * 2**order, 2e-5))


def test_along_a_coordinate_bounds_do_what_they_do_to_the_gradient():
    x = np.array([0.5, -1.0, 2.0, 3.0])
    bounds = (x - np.array([0, 9, 5e-5, 1e-4]), x + np.array([9, 0, 9, 1e-4]))
    gradient = numerical_gradient(functions_of_x.rosenbrock, x, bounds=bounds)
    for entry, v in zip(gradient, np.eye(4), strict=True):
        f = functions_of_x.rosenbrock
        assert directional_derivative(f, x, v, bounds=bounds) == entry
        assert directional_derivative(f, x, -v, bounds=bounds) == pytest.approx(-entry, rel=1e-6)


def test_the_step_that_bounds_leave():
    x, calls = {"a": np.array([1.0, 2.0]), "b": 0.0}, []
    f = lambda x: calls.append(1) or x["a"][0] ** 2 + x["a"][1]  # noqa: E731
    bounds = ({"a": [1.0 - 1e-3, 1.0], "b": 0.0}, {"a": [1.0 + 2e-3, 3.0], "b": 0.0})
    v = {"a": np.array([-1.0, 0.5]), "b": 0.0}
    derivative, info = directional_derivative(f, x, v, 0.5, bounds=bounds, full_output=True)
    # "central" keeps 1e-3 of the step, and what looks one way with two steps 2e-3 / 2.
    assert info.step == pytest.approx(1e-3, rel=1e-5)
    assert info.evaluations == len(calls) == 3 + 1
    assert derivative == pytest.approx(-1.5, abs=rounding("central", float, 4, 1e-3))


@given(seed=st.integers(0, 2**16))
def test_rounding_crosses_no_bound(seed):
    rng = np.random.default_rng(seed)
    dtype = rng.choice(["f4", "f8"])
    x, v = (rng.standard_normal(3) * 10.0 ** rng.integers(-3, 4, (2, 3))).astype(dtype)
    room = np.abs(v * rng.uniform(0.0, 1.0, 3)) + 1e-6 * np.abs(x)
    bounds = (x - room, x + room * rng.integers(1, 3, 3))
    points = []
    directional_derivative(lambda x: points.append(x.copy()) or 0.0, x, v, 1.0, bounds=bounds)
    assert ((points >= bounds[0]) & (points <= bounds[1])).all()


def test_structures_args_closures_and_compiled_functions():
    x = {"W": np.arange(4.0).reshape(2, 2), "b": 3.0}
    v = {"W": np.ones((2, 2)), "b": 2.0}
    derivative = directional_derivative(lambda x, k: k * x["b"] * x["W"], x, v, 0.5, args=(2.0,))
    np.testing.assert_array_equal(derivative, 2 * (2.0 * x["W"] + 3.0 * v["W"]))
    x = np.array([1.0, 2.0])
    assert directional_derivative(lambda _: x @ x, x, [1, 1], 0.5) == 6.0
    assert directional_derivative(numba.njit(lambda x: x[0] * x[1]), x, [1, 1], 0.5) == 3.0
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="reads x from outside"):
        directional_derivative(numba.njit(lambda _: x[0]), x, [1, 1])


@pytest.mark.parametrize("stencil", ["central", "forward"])
def test_what_f_returns_may_be_x_itself_or_a_list_of_its_parts(stencil):
    x = np.array([1.0, 2.0])
    for f in (lambda x: x, lambda x: [x[:1], x[1:]]):
        derivative = directional_derivative(f, x, [3.0, 4.0], 0.5, stencil=stencil)
        assert derivative.reshape(-1).tolist() == [3.0, 4.0]


# The one that tells that f does not read x from outside counts as well.
@pytest.mark.parametrize(("stencil", "count", "more"), [("central", 3, 1), ("forward", 3, 0),
    ("backward", 3, 0), ("five-point", 5, 1), ("six-point", 7, 1)])  # fmt: skip
def test_f_is_evaluated_as_often_as_documented(stencil, count, more):
    calls = []
    f = lambda x: calls.append(1) or x * x  # noqa: E731
    x, v = np.ones(50), np.ones(50)
    directional_derivative(f, x, v, stencil=stencil)
    assert len(calls) == count
    calls.clear()
    _, info = directional_derivative(f, x, 2 * v, stencil=stencil, full_output=True)
    assert len(calls) == info.evaluations == count + more
    np.testing.assert_array_equal(info.value, np.ones(50))
    assert info.step == 1e-4 / 2
    assert (info.backend, info.workers) == ("serial", 1)


def test_along_nothing_the_derivative_is_nothing():
    x = np.array([1.0, 2.0])
    assert directional_derivative(lambda x: x @ x, x, [0, 0]) == 0.0
    assert directional_derivative(lambda x: x, x, [0, 0]).tolist() == [0.0, 0.0]
    assert directional_derivative(lambda x: 1.0, np.empty(0), []) == 0.0


def test_it_is_the_jacobian_times_v(rng):
    x, v = rng.integers(-3, 3, (2, 6)).astype(float)
    f = lambda x: x[1:] * x[:-1]  # noqa: E731
    product = jacobian(f, x, 0.5) @ v
    np.testing.assert_array_equal(directional_derivative(f, x, v, 0.5), product)


def test_float32_moves_by_its_own_steps():
    x = np.array([1.0, 2.0], np.float32)
    _, info = directional_derivative(lambda x: x[0], x, [1.0, 0.0], full_output=True)
    assert info.step == pytest.approx(np.cbrt(np.finfo(np.float32).eps), rel=1e-4)


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_x_is_restored_when_f_raises(error):
    x = {"a": np.array([1.0, -0.0]), "b": np.array([3.0])}
    before = {name: array.tobytes() for name, array in x.items()}

    def f(x):
        if x["b"] < 3:
            raise error("mine")
        return 0.0

    with pytest.raises(error, match="mine") as caught:
        directional_derivative(f, x, x, 0.5)
    assert {name: array.tobytes() for name, array in x.items()} == before
    if sys.version_info >= (3, 11) and error is LookupError:
        assert caught.value.__notes__ == [
            "f was evaluated at x['a'][0] = 1.0 - 0.5, moved together with 2 others"
        ]


def test_a_value_that_is_not_finite_says_where():
    f = lambda x: [0.0, np.inf if x[0] < 1 else 0.0]  # noqa: E731
    with pytest.raises(
        FloatingPointError, match=r"f\[1\] is inf at x\[0\] = 1.0 - 0.5 and x\[1\] "
    ):
        directional_derivative(f, np.ones(2), [1, 1], 0.5)
    kept = directional_derivative(f, np.ones(2), [1, 1], 0.5, nonfinite="keep")
    assert kept.tolist() == [0.0, -np.inf]


def test_an_f_that_changes_its_shape_is_refused():
    with pytest.raises(TypeError, match=r"it was \(2,\) before, and now \(1,\)"):
        directional_derivative(lambda x: x[: 1 + (x[0] > 1)], np.ones(2), [1, 1])


ONE = np.ones(2)
TWO = {"W": np.ones((2, 2)), "b": np.ones(2)}


@pytest.mark.parametrize(
    ("x", "v", "error", "match"),
    [
        (ONE, np.ones(3), ValueError, r"v must have the shape of x, \(2,\); got \(3,\)"),
        (ONE, 1.0, ValueError, r"v must have the shape of x, \(2,\); got \(\)"),
        (ONE, {"a": 1.0}, ValueError, r"v must have the structure of x, one array; got x\['a'\]"),
        (ONE, [1j, 1], TypeError, "v must hold real numbers, got dtype complex128"),
        (ONE, [1.0, np.nan], ValueError, r"v\[1\] must be finite, got nan"),
        (ONE, [np.inf, 1.0], ValueError, r"v\[0\] must be finite, got inf"),
        (np.array([1.0, np.nan]), ONE, ValueError, r"x\[1\] must be finite, got nan"),
        (TWO, ONE, ValueError, r"v must have the structure of x, x\['W'\], x\['b'\]; got x"),
        (TWO, {"W": ONE}, ValueError, r"got x\['W'\]"),
        (
            TWO,
            {"W": ONE, "b": ONE},
            ValueError,
            r"v\['W'\] must have the shape of x\['W'\], \(2, 2",
        ),
        (TWO, {**TWO, "b": [1, np.inf]}, ValueError, r"v\['b'\]\[1\] must be finite"),
        (ONE, [1e-30, 0.0], ValueError, "v does not move x by the step 0.5: .* larger h$"),
    ],
)
def test_a_direction_that_does_not_fit_is_refused_before_f_is_called(x, v, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        directional_derivative(f, x, v, 0.5)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"h": 0.0}, ValueError, "above 0"),
        ({"stencil": "complex"}, ValueError, "one of .*, six-point or a fastgrad.Stencil, got 'co"),
        ({"bounds": (0, [1, 0.5])}, ValueError, r"x\[1\] must lie within its bounds, got 1.0"),
        (
            {"bounds": ([-9, 1], [1, 9]), "v": [1, 1]},
            ValueError,
            r"v leads out of the bounds at once, x\[0\] forwards and x\[1\] backwards; pass wider",
        ),
        ({"bounds": (1, 1 + 1e-15), "h": 1e-17}, ValueError, "larger h or wider bounds"),
        ({"args": 1}, TypeError, "args must be a tuple"),
    ],
)
def test_bad_options_are_refused_before_f_is_called(options, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        directional_derivative(f, ONE, **{"v": ONE, **options})
