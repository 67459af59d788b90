"""A step for each coordinate: `h` like x, and `relative_step`."""

import numba
import numpy as np
import pytest
from functions_of_x import never, rosenbrock, slow_sum_of_squares
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import FLOAT32, rounding

from fastgrad import STENCILS, grad, numerical_gradient, reference
from fastgrad._formulas import steps


@numba.njit
def cubes(x):
    total = 0.0
    for value in x.flat:
        total += value * value * value
    return total


WAYS = {
    "python": (lambda x: float((x**3).sum()), {}),
    "compiled": (cubes, {}),
    "batched": (lambda points: (points**3).reshape(len(points), -1).sum(axis=1), {"batched": True}),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def one_by_one(f, x, h):
    """Return the plain loop's derivatives, each with the step of its coordinate."""
    loops = [reference.numerical_gradient(f, x.copy(), h=step) for step in h.ravel().tolist()]
    return np.array([loop.flat[i] for i, loop in enumerate(loops)]).reshape(x.shape)


@given(
    x=hnp.arrays(float, (2, 3), elements=st.floats(-4, 4)),
    h=hnp.arrays(float, (2, 3), elements=st.floats(1e-3, 2)),
)
def test_every_coordinate_has_the_bits_of_the_plain_loop_with_its_own_step(x, h):
    def f(x):
        return np.sum(x**3) * x[0, 0] + 1

    given_steps, given_x = h.copy(), x.copy()
    gradient, info = numerical_gradient(f, x, h, full_output=True)
    # The loop divides by 2h, the stencil weighs by 1/2 and divides by h: the same bits, unless f is
    # as small as 1e-308, where halving rounds. The 1 in f keeps it away from there.
    assert gradient.tobytes() == one_by_one(f, x, h).tobytes()
    assert info.step.tobytes() == given_steps.tobytes() == h.tobytes()
    assert x.tobytes() == given_x.tobytes()
    assert info.evaluations == 14


@pytest.mark.parametrize("stencil", STENCILS)
def test_a_cube_shows_the_step_of_each_coordinate(way, stencil):
    # Orders above 3 are exact. Of (x ± h)³: forward 3x² + 3xh + h², central 3x² + h².
    f, options = way
    x, h = np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[0.5, 0.25], [1.0, 2.0]])
    side = {"forward": 1, "backward": -1}.get(stencil, 0)
    order = STENCILS[stencil].order
    truncation = 3 * side * x * h + h**2 if order < 3 else 0
    got = numerical_gradient(f, x, h, stencil=stencil, **options)
    allowed = rounding(stencil, float, 70, h.min())  # |x| + 3h is at most 6.5
    np.testing.assert_allclose(got, 3 * x**2 + truncation, rtol=0, atol=4 * allowed)


def test_relative_steps_are_relative_and_absolute_at_zero(way):
    f, options = way
    x = np.array([-200.0, 1.0, 0.0, 1e-3])
    gradient, info = numerical_gradient(f, x, relative_step=0.125, full_output=True, **options)
    h = np.array([25.0, 0.125, 0.125, 0.125e-3])
    np.testing.assert_array_equal(info.step, h)
    allowed = rounding("central", float, 225.0**3, h.min())
    np.testing.assert_allclose(gradient, 3 * x**2 + h**2, rtol=0, atol=allowed)


def test_x_over_ten_orders_of_magnitude_needs_them():
    # The coordinates do not disturb each other where f sees one at a time: f = exp(x / scale).
    for scale in (1e-8, 1.0, 1e8):
        x = np.array([0.7 * scale])
        gradient = numerical_gradient(lambda x, s=scale: np.exp(x[0] / s), x, relative_step=1e-5)
        truth = np.exp(0.7) / scale
        # Truncation h² / 6 with h = 0.7e-5, and rounding.
        allowed = (0.7e-5) ** 2 / 6 * 1.01 + rounding("central", float, 1.0, 0.7e-5)
        assert abs(gradient[0] / truth - 1) <= allowed


@pytest.mark.parametrize("x", [1e-18, -1e-30, 1e-300])
def test_relative_steps_are_seen_by_f_of_size_1(x):
    gradient, info = numerical_gradient(np.exp, x, relative_step=1e-5, full_output=True)
    assert info.step == np.finfo(float).eps
    assert abs(gradient - 1) <= 1e-15
    at = np.array([max(x, 1e-30)], np.float32)
    _, info = numerical_gradient(lambda x: float(x[0]), at, relative_step=1e-3, full_output=True)
    assert info.step[0] == np.finfo(np.float32).eps


def test_relative_steps_in_float32_are_those_that_are_taken(way):
    f, options = way
    x = np.array([3.0, -0.7, 0.0], np.float32)
    gradient, info = numerical_gradient(f, x, relative_step=1e-2, full_output=True, **options)
    h = np.array([0.03, 0.007, 0.01])
    np.testing.assert_allclose(info.step, h, rtol=2e-5)  # x + h is rounded: eps / 1e-2
    taken = (x + info.step.astype(np.float32)) - x
    np.testing.assert_array_equal(taken, info.step.astype(np.float32))
    allowed = 1.001 * h**2 + FLOAT32 * 30 / h
    assert (np.abs(gradient - 3.0 * x.astype(float) ** 2) <= allowed).all()


def test_float32_takes_a_step_for_each_coordinate(way):
    f, options = way
    x, h = np.array([1.0, 2.0], np.float32), np.array([0.5, 0.25])
    gradient = numerical_gradient(f, x, h, **options)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, [3.25, 12.0625], rtol=FLOAT32)


def test_structures_take_a_step_for_each_array_or_for_each_coordinate():
    x = {"W": np.ones((2, 2)), "b": [np.array([2.0]), np.array(3.0)]}

    def f(x):
        return np.sum(x["W"] ** 3) + x["b"][0][0] ** 3 + float(x["b"][1]) ** 3

    h = {"W": np.array([[0.5, 1.0], [2.0, 0.25]]), "b": [0.5, np.array(1.0)]}
    gradient = numerical_gradient(f, x, h)
    np.testing.assert_array_equal(gradient["W"], 3 + h["W"] ** 2)
    assert gradient["b"][0].tolist() == [12.25]
    assert gradient["b"][1] == 28.0


def test_bounds_shorten_the_steps_of_their_coordinates_alone():
    seen = []

    def f(x):
        seen.append(x.copy())
        return float((x**2).sum())

    x, h = np.array([1.0, 0.5, 0.5]), np.array([0.25, 0.125, 2.0])
    gradient, info = numerical_gradient(f, x, h, bounds=(0.0, 1.0), full_output=True)
    assert info.step[:2].tolist() == [0.25, 0.125]
    assert 0.4 < info.step[2] < 0.5
    assert (np.array(seen) >= 0).all()
    assert (np.array(seen) <= 1).all()
    # All formulas of second order are exact on squares.
    allowed = rounding("central", float, 2.0, 0.125)
    np.testing.assert_allclose(gradient, 2 * x, rtol=0, atol=allowed)
    assert h.tolist() == [0.25, 0.125, 2.0]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("options", [{"h": np.linspace(1e-3, 1, 60)}, {"relative_step": 1e-3}])
def test_steps_travel(backend, options):
    x = np.linspace(-2, 2, 60)
    for f in (rosenbrock, slow_sum_of_squares):
        here = numerical_gradient(f, x, **options)
        there, info = numerical_gradient(
            f, x, workers=2, backend=backend, full_output=True, **options
        )
        assert info.workers == 2
        assert there.tobytes() == here.tobytes()


@pytest.mark.parametrize("bad", [0.0, -1e-4, np.nan, np.inf])
def test_a_step_that_is_none_names_its_coordinate(bad):
    x = {"a": np.ones(2), "W": np.full((2, 2), 3.0)}
    h = {"a": 1e-4, "W": np.array([[1e-4, 1e-4], [bad, 1e-4]])}
    with pytest.raises(ValueError, match=r"x\['W'\]\[1, 0\] = 3.0 has the step .* h must be"):
        numerical_gradient(never, x, h)
    with pytest.raises(ValueError, match="relative_step must be a finite number above 0"):
        grad(never, relative_step=bad)(x)


@pytest.mark.parametrize(
    ("h", "error", "match"),
    [
        (np.full(3, 1e-4), ValueError, r"h must .* shape of x, \(2,\); got \(3,\)"),
        (np.full((2, 2), 1e-4), ValueError, r"shape of x, \(2,\); got \(2, 2\)"),
        ([[1e-4, 1e-4], 1e-4], ValueError, "h must be an array of numbers"),
        ([True, True], TypeError, "h must hold real numbers, got dtype bool"),
        (["1e-4", "1e-4"], TypeError, "h must hold real numbers"),
        ({"a": 1e-4}, ValueError, r"structure of x, one array; got x\['a'\]"),
        ([1e-4j, 1], TypeError, "h must hold real numbers, got dtype complex"),
    ],
)
def test_steps_of_the_wrong_shape_are_refused(h, error, match):
    with pytest.raises(error, match=match):
        numerical_gradient(never, np.ones(2), h)


def test_steps_of_the_wrong_structure_are_refused():
    with pytest.raises(ValueError, match=r"h must .* structure of x, x\['a'\]; got x\['b'\]"):
        numerical_gradient(never, {"a": np.ones(2)}, {"b": np.ones(2)})


@pytest.mark.parametrize("relative", ["1", True, 1j, [0.1, 0.1]])
def test_a_relative_step_that_is_no_number_is_refused(relative):
    with pytest.raises(TypeError, match="relative_step must be a finite number"):
        numerical_gradient(never, np.ones(2), relative_step=relative)


def test_two_kinds_of_step_at_once_are_refused():
    with pytest.raises(ValueError, match="pass h or relative_step, not both"):
        numerical_gradient(never, np.ones(2), 1e-4, relative_step=1e-4)


def test_a_step_that_is_lost_names_its_coordinate():
    with pytest.raises(ValueError, match=r"x\[1\] = 1.0 does not move by the step 1e-17"):
        numerical_gradient(never, np.ones(2), np.array([1e-4, 1e-17]))
    with pytest.raises(ValueError, match=r"x\[1\] = 1.0 does not .* step 1e-09: .* in float32"):
        numerical_gradient(never, np.array([0, 1], np.float32), relative_step=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_steps_are_refused_exactly_where_they_are_lost(dtype):
    h = 0.25
    for exponent in range(-1, np.finfo(dtype).nmant + 4):
        x = np.array([0, -(dtype(2) ** exponent)])
        if x.dtype == np.float16 and not np.isfinite(x).all():
            continue
        if (x + dtype(h) == x).any():
            with pytest.raises(ValueError, match="does not move by the step"):
                numerical_gradient(never, x, h)
        else:
            numerical_gradient(lambda x: 0.0, x, h)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(("bad", "h"), [(np.inf, 1e-4), (-np.inf, 1e30), (np.nan, 1e30)])
def test_what_is_not_finite_is_refused_whatever_the_step(dtype, bad, h):
    x = np.ones((2, 2), dtype)
    x[1, 0] = bad
    with pytest.raises(ValueError, match=r"x\[1, 0\] must be finite"):
        numerical_gradient(never, x, h)


def test_a_step_that_is_zero_in_the_precision_of_x_is_refused():
    with pytest.raises(ValueError, match="does not move by the step"):
        numerical_gradient(never, np.zeros(2, np.float32), 1e-60)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_steps_planned_in_blocks_are_those_of_the_whole(monkeypatch, bounds):
    x = np.linspace(0.0, 1.0, 8)

    def of_closure(_):
        return float((x**3).sum())

    calls = [(of_closure, {}), *WAYS.values()]
    whole = [numerical_gradient(f, x, bounds=bounds, **options) for f, options in calls]
    monkeypatch.setattr(steps, "BLOCK", 3)
    for (f, options), expected in zip(calls, whole, strict=True):
        assert np.array_equal(numerical_gradient(f, x, bounds=bounds, **options), expected)
    with pytest.raises(ValueError, match=r"^x\[6\] must be finite"):
        numerical_gradient(never, np.where(x == x[6], np.nan, x))


@pytest.mark.parametrize("h", [None, 1e-3, "auto"])
def test_by_fixed_coordinates_the_step_is_0(h):
    x, bounds = np.ones(2), ([1, 0], [1, 3])
    _, info = numerical_gradient(lambda x: x[0] * x[1], x, h, bounds=bounds, full_output=True)
    assert info.step[0] == 0
    assert info.step[1] > 0
    _, info = numerical_gradient(lambda x: x[0] * x[1], x, h, bounds=(1, 1), full_output=True)
    assert not np.any(info.step)
