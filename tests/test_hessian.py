"""`hessian` and `hessian_vector_product` against closed forms, and what they cost."""

import itertools
import sys

import functions_of_x
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.polynomial.polynomial import polyder, polyval3d
from scipy import optimize
from tolerances import SECOND, SECOND_BOUNDED, second_rounding

from fastgrad import STENCILS, directional_derivative, hessian, hessian_vector_product

ROSENBROCK = functions_of_x.rosenbrock
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)


@settings(max_examples=50)
@given(shape=SHAPES, seed=st.integers(0, 2**16), order=st.sampled_from("CF"))
def test_a_quadratic_form_is_its_own_hessian(shape, seed, order):
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    A = rng.integers(-9, 10, (n, n))
    x = np.asarray(rng.integers(-4, 5, shape).astype(float), order=order)
    H = hessian(lambda x: x.reshape(-1) @ A @ x.reshape(-1), x, 0.5)
    assert H.shape == shape + shape
    # Quarters of small integers: nothing is rounded, and nothing truncated.
    np.testing.assert_array_equal(H.reshape(n, n), A + A.T)


def test_the_truncation_is_that_of_the_formulas():
    # f(x + h) - 2 f(x) + f(x - h) of x**4 is 12 x² h² + 2 h**4; of x³ y the corners are 3 x² + h².
    x, h = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    H = hessian(lambda x: x[0] ** 4 + x[0] ** 3 * x[1], x, h)
    xx = 12 * x[0] ** 2 + 2 * h[0] ** 2 + 6 * x[0] * x[1]
    xy = 3 * x[0] ** 2 + h[0] ** 2
    np.testing.assert_array_equal(H, [[xx, xy], [xy, 0.0]])


@pytest.mark.parametrize("point", [(-1.2, 1.0), (1.0, 1.0), (0.5, -2.0, 3.0, 0.1, 7.0)])
def test_rosenbrock(point):
    x = np.array(point)
    H, info = hessian(ROSENBROCK, x, full_output=True)
    np.testing.assert_allclose(info.step, np.finfo(float).eps ** 0.25 * np.maximum(1, abs(x)))
    size = ROSENBROCK(np.abs(x) * -1.1) + 1
    # The fourth derivative is 2400, truncation h² / 12 times that.
    allowed = second_rounding(size, info.step) + 200 * np.max(info.step) ** 2
    np.testing.assert_allclose(H, optimize.rosen_hess(x), rtol=0, atol=allowed)
    assert (H == H.T).all()


def test_float32_takes_longer_steps():
    x = np.array([1.0, 2.0], np.float32)
    H, info = hessian(lambda x: float(x[0]) ** 2 * float(x[1]), x, full_output=True)
    assert H.dtype == np.float32
    assert (info.step > 0.015).all()
    allowed = second_rounding(2.0, info.step, np.float32) / 32
    np.testing.assert_allclose(H, [[4.0, 2.0], [2.0, 0.0]], rtol=0, atol=allowed)


@pytest.mark.parametrize("returned", [np.float32, float, np.longdouble])
def test_steps_suit_the_coarser_of_x_and_f(returned):
    x = np.array([0.5], np.longdouble)
    _, info = hessian(lambda x: returned(x[0] ** 2), x, full_output=True)
    eps = np.finfo(returned).eps
    assert info.step == pytest.approx(float(eps) ** 0.25, rel=1e-3)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_f_is_evaluated_as_often_as_documented(n):
    calls = []
    f = lambda x: calls.append(1) or float(x.sum())  # noqa: E731
    _, info = hessian(f, np.ones(n), full_output=True)
    # The last one tells that f does not read x from outside.
    assert len(calls) == info.evaluations == 1 + 2 * n + 2 * n * (n - 1) + 1
    assert info.value == n


def test_the_points_are_those_of_the_formulas():
    seen = []
    hessian(lambda x: seen.append(tuple(x)) or 0.0, np.array([1.0, 2.0]), 0.5)
    corners = itertools.product((1.5, 0.5), (2.5, 1.5))
    sides = [(1.5, 2.0), (0.5, 2.0), (1.0, 2.5), (1.0, 1.5)]
    # f(x) comes first, and the point where f is seen not to read x from outside.
    assert seen[0] == (1.0, 2.0)
    assert sorted(seen[1:]) == sorted([(1.0, 2.0), *sides, *corners])


def watched(f, bounds, seen=None):
    """Return f, which refuses to be evaluated outside."""
    seen = [] if seen is None else seen

    def inside(x):
        assert (x >= bounds[0]).all()
        assert (x <= bounds[1]).all()
        seen.append(x.copy())
        return f(x)

    return inside


def box(rng, x):
    """Return bounds of which x touches some, is near others and far from the rest."""
    near, far = rng.choice([0.0, 0.25, 3.0], x.shape), rng.choice([3.0, 10.0, np.inf], x.shape)
    above = rng.random(x.shape) < 0.5
    return x - np.where(above, near, far), x + np.where(above, far, near)


@settings(max_examples=50)
@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_a_quadratic_form_within_bounds(shape, seed):
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    A = rng.integers(-9, 10, (n, n))
    x = rng.integers(-4, 5, shape).astype(float)
    bounds = box(rng, x)
    f = watched(lambda x: x.reshape(-1) @ A @ x.reshape(-1), bounds)
    np.testing.assert_array_equal(hessian(f, x, 0.5, bounds=bounds).reshape(n, n), A + A.T)
    v = rng.integers(-4, 5, n).astype(float)
    try:
        product = hessian_vector_product(f, x, v.reshape(shape), 0.25, bounds=bounds)
    except ValueError as error:
        # Where v leads out both ways there is nothing to evaluate.
        assert "v leads out of the bounds" in str(error)  # noqa: PT017
        ahead, behind = ((x + way * v.reshape(shape)) for way in (1e-9, -1e-9))
        for side in (ahead, behind):
            assert ((side < bounds[0]) | (side > bounds[1])).any()
    else:
        # Half of a room of 0.25, divided by a |v| of up to 4, is the shortest step but one.
        allowed = second_rounding(np.abs(A).sum() * 49, 1 / 64, weights=SECOND_BOUNDED[2])
        np.testing.assert_allclose(product.reshape(n), (A + A.T) @ v, rtol=0, atol=allowed)


def polynomial(rng, degree):
    """Return a polynomial of three variables of that degree, its Hessian, and its size."""
    powers = np.indices((degree + 1,) * 3)
    c = rng.integers(-3, 4, powers.shape[1:]) * (powers.sum(axis=0) <= degree)

    def second(x):
        pairs = itertools.product(range(3), repeat=2)
        return np.reshape(
            [polyval3d(*x, polyder(polyder(c, axis=i), axis=j)) for i, j in pairs], (3, 3)
        )

    return lambda x: float(polyval3d(*x, c)), second, lambda x: polyval3d(*np.abs(x), np.abs(c))


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("stencil", STENCILS)
def test_exact_on_polynomials_up_to_the_order(stencil, bounded, rng):
    order = STENCILS[stencil].order
    f, second, size = polynomial(rng, order + 1)
    x, v, h = np.array([0.5, -0.25, 1.0]), np.array([1.0, -0.5, -1.0]), 0.125
    # At a bound, near one, and far from any; the line has room to one side.
    bounds = (np.array([0.5, -9.0, -9.0]), np.array([9.0, -0.2, 9.0])) if bounded else None
    weights = (SECOND_BOUNDED if bounded else SECOND)[order]
    # Coordinate and line together go 7 + 6 steps at most.
    allowed = second_rounding(size(np.abs(x) + 13 * h), h, weights=weights)
    inside = watched(f, bounds) if bounded else f
    H = hessian(inside, x, h, stencil=stencil, bounds=bounds)
    np.testing.assert_allclose(H, second(x), rtol=0, atol=allowed)
    product = hessian_vector_product(inside, x, v, h, stencil=stencil, bounds=bounds)
    np.testing.assert_allclose(product, second(x) @ v, rtol=0, atol=allowed)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("stencil", STENCILS)
def test_the_error_falls_with_the_order(stencil, bounded):
    x, v = np.array([0.3, 0.7]), np.array([1.0, 0.5])
    bounds = (x, np.inf) if bounded else None
    f = lambda x: np.exp(x[0] + 2 * x[1])  # noqa: E731
    exact = f(x) * np.array([[1.0, 2.0], [2.0, 4.0]])

    def errors(h):
        options = {"stencil": stencil, "bounds": bounds}
        H = hessian(f, x, h, **options)
        return [*(H - exact)[[0, 0, 1], [0, 1, 1]],
                *(hessian_vector_product(f, x, v, h, **options) - exact @ v)]  # fmt: skip

    order = STENCILS[stencil].order
    slopes = np.log2(np.abs(errors(0.08)) / np.abs(errors(0.04)))
    assert slopes == pytest.approx(order, abs=0.4)


def test_longer_formulas_take_longer_steps():
    x = np.array([0.5, 2.0])
    for stencil, formula in STENCILS.items():
        _, info = hessian(ROSENBROCK, x, stencil=stencil, full_output=True)
        expected = np.finfo(float).eps ** (1 / (formula.order + 2)) * np.maximum(1, x)
        np.testing.assert_allclose(info.step, expected, rtol=1e-9)


def test_numdifftools_agrees():
    nd = pytest.importorskip("numdifftools")
    f = lambda x: np.exp(x[0] * x[1]) * np.sin(x[2]) + x[0] ** 3 / x[2]  # noqa: E731
    x = np.array([0.4, -1.1, 2.0])
    expected = nd.Hessian(f)(x)
    for options in ({}, {"bounds": (x, np.inf)}, {"bounds": (-np.inf, x)}):
        H, info = hessian(f, x, stencil="five-point", full_output=True, **options)
        weights = (SECOND_BOUNDED if options else SECOND)[4]
        # The sixth derivatives are below 10, the formulas' constants below 4.
        allowed = second_rounding(2.0, info.step, weights=weights) + 40 * info.step.max() ** 4
        np.testing.assert_allclose(H, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize(("derivative", "expected"), [
    (lambda f, x, **options: hessian(f, x, 0.5, **options), 2 * np.eye(2)),
    (lambda f, x, **options: hessian_vector_product(f, x, [1, 1], 0.5, **options), [2.0, 2.0]),
    (lambda f, x, **options: directional_derivative(f, x, [1, 1], 0.5, **options), 2.0),
])  # fmt: skip
def test_the_bounds_that_an_error_suggests_are_taken(derivative, expected):
    x, f = np.array([0.0, 1.0]), lambda x: float(x @ x) if (x >= 0).all() else np.nan
    with pytest.raises(FloatingPointError, match="set bounds"):
        derivative(f, x)
    np.testing.assert_array_equal(derivative(f, x, bounds=(0.0, np.inf)), expected)


def test_a_narrow_box_shortens_the_steps():
    x, h = np.array([0.5, 2.0]), 0.25
    bounds = (x - 1e-3, x + np.array([1e-3, 9.0]))
    f = watched(lambda x: x[0] ** 2 * x[1], bounds)
    H, info = hessian(f, x, h, bounds=bounds, full_output=True)
    assert info.step[0] == pytest.approx(1e-3, rel=1e-5)
    np.testing.assert_allclose(H, [[4.0, 1.0], [1.0, 0.0]], rtol=0, atol=second_rounding(3, 1e-3))
    for v in ([1.0, 0.0], [1.0, 1.0]):
        product, info = hessian_vector_product(f, x, v, h, bounds=bounds, full_output=True)
        assert info.step == pytest.approx(5e-4, rel=1e-5)
        allowed = second_rounding(3, 1e-4, weights=SECOND_BOUNDED[2])
        np.testing.assert_allclose(product, [[4.0, 1.0], [1.0, 0.0]] @ np.array(v), atol=allowed)


def test_bounds_of_float32_are_kept_in_double():
    # In float32 0.7 is less than the number 0.7, and 0.1 more than 0.1.
    x, v = np.array([0.75, 0.0], np.float32), np.array([-0.2, 0.4], np.float32)
    bounds = (np.array([0.7, -1e300]), np.array([0.8, 0.1]))
    f = watched(lambda x: float(x[0]) ** 2 * float(x[1]), bounds)
    allowed = second_rounding(0.1, 0.02, np.float32, SECOND_BOUNDED[2])
    H = np.array([[0.0, 1.5], [1.5, 0.0]])
    np.testing.assert_allclose(hessian(f, x, bounds=bounds), H, rtol=0, atol=allowed)
    product = hessian_vector_product(f, x, v, 0.125, bounds=bounds)
    np.testing.assert_allclose(product, H @ v, rtol=0, atol=allowed)


@pytest.mark.parametrize(("stencil", "alone", "pair"), [("forward", 2, 1), ("backward", 2, 1),
    ("central", 2, 4), ("five-point", 4, 16), ("six-point", 6, 36)])  # fmt: skip
def test_every_formula_costs_what_is_documented(stencil, alone, pair):
    calls, n = [], 6
    f = lambda x: calls.append(1) or float(x.sum())  # noqa: E731
    _, info = hessian(f, np.ones(n), stencil=stencil, full_output=True)
    assert len(calls) == info.evaluations == 2 + alone * n + pair * n * (n - 1) // 2
    calls.clear()
    _, info = hessian(f, np.ones(n), stencil=stencil, bounds=(1.0, 9.0), full_output=True)
    more = stencil in ("central", "five-point", "six-point")
    assert len(calls) == info.evaluations == 2 + (alone + more) * n + pair * n * (n - 1) // 2


@pytest.mark.parametrize("size", [2**26, 200])
@pytest.mark.parametrize("options", [{}, {"stencil": "forward"}, {"bounds": (0.0, np.inf)}])
def test_a_batched_function_has_the_bits_of_one_point_at_a_time(rng, monkeypatch, options, size):
    monkeypatch.setattr("fastgrad._evaluation.batched.BATCH_BYTES", size)
    x = rng.standard_normal((2, 3)) ** 2
    x[0, 0] = 0.0
    before, lengths = x.tobytes(), []
    f = lambda x: float(np.sin(x).sum() * x[0, 1] * x[1, 1])  # noqa: E731

    def batched(points):
        assert points.shape[1:] == x.shape
        lengths.append(len(points))
        return [f(point) for point in points]

    expected, one = hessian(f, x, full_output=True, **options)
    H, info = hessian(batched, x, batched=True, full_output=True, **options)
    assert H.tobytes() == expected.tobytes()
    assert sum(lengths) == info.evaluations == one.evaluations
    assert max(lengths) == 4 if size == 200 else len(lengths) == 1 + -(-sum(lengths) // 64)
    product = hessian_vector_product(batched, x, np.ones((2, 3)), batched=True, **options)
    expected = hessian_vector_product(f, x, np.ones((2, 3)), **options)
    assert product.tobytes() == expected.tobytes()
    assert x.tobytes() == before


def test_a_batched_function_that_fails_says_between_which_points():
    def f(points):
        if len(points) > 2:
            raise LookupError("mine")
        return np.zeros(len(points))

    with pytest.raises(LookupError) as caught:
        hessian(f, np.ones(2), 0.5, batched=True)
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["f was evaluated at 9 points, from x to x[1] = 1.0 - 0.5"]
    with pytest.raises(TypeError, match="one real number for each of the 9 points"):
        hessian(lambda points: 1.0, np.ones(2), batched=True)


@numba.njit
def compiled(x, scale):
    total = 0.0
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (scale - x[i]) ** 2
    if x[0] > 1.5:
        raise ValueError("mine")
    return total if x[1] < 1.5 else np.nan


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8"])
@pytest.mark.parametrize("options", [{}, {"stencil": "five-point"}, {"bounds": (-1.0, 1.0)}])
def test_a_compiled_function_has_the_bits_of_the_plain_loop(dtype, options):
    x = np.array([0.25, -0.5, 1.0, 0.75, -1.0], dtype)
    # Python's own power rounds otherwise.
    plain = lambda x, scale: compiled(x.astype("=" + dtype[-2:]), scale)  # noqa: E731
    expected = hessian(plain, x, args=(1.0,), **options)
    H, info = hessian(compiled, x, args=(1.0,), workers=2, full_output=True, **options)
    assert (info.backend, info.workers) == ("threads", 2)
    assert H.tobytes() == expected.tobytes()
    assert (info.value, H.dtype) == (plain(x, 1.0), dtype)
    if dtype == "f4":  # It would be compiled once more.
        return
    v = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    product = hessian_vector_product(compiled, x, v, args=(1.0,), **options)
    expected = hessian_vector_product(plain, x, v, args=(1.0,), **options)
    assert product.tobytes() == expected.tobytes()


@pytest.mark.parametrize("seconds", [0.1, 0.0])
def test_a_compiled_function_that_fails_says_where(monkeypatch, seconds):
    monkeypatch.setattr("fastgrad._parallel.schedule.PIECE", seconds)
    x = np.array([1.25, 0.0, 1.0])
    with pytest.raises(ValueError, match="mine") as caught:
        hessian(compiled, x, 0.5, args=(1.0,))
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["f was evaluated at x[0] = 1.25 + 0.5"]
    x[:2] = 0.0, 1.25
    with pytest.raises(
        FloatingPointError, match=r"nan at x\[0\] = 0.0 \+ 0.5 and x\[1\] = 1.25 \+"
    ):
        hessian(compiled, x, 0.5, args=(1.0,))
    assert x.tolist() == [0.0, 1.25, 1.0]
    frozen = numba.njit(lambda _: x[0])
    with pytest.raises(TypeError, match="reads x from outside"):
        hessian(frozen, x)


def test_book_closures_args_numbers_and_compiled_functions():
    x = np.array([[1.0, 2.0]])
    H = hessian(lambda _, a: a * x[0, 0] * x[0, 1], x, 0.5, args=(3.0,))
    np.testing.assert_array_equal(H.reshape(2, 2), [[0.0, 3.0], [3.0, 0.0]])
    assert hessian(lambda x: x**2, 3.0, 0.5) == 2.0
    compiled = numba.njit(lambda x: x[0] * x[1])
    np.testing.assert_array_equal(hessian(compiled, np.ones(2), 0.5), [[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_the_bits_are_those_of_one_worker(rng, backend):
    x = rng.standard_normal((3, 4))
    before = x.tobytes()
    f = lambda _: ROSENBROCK(x.reshape(-1))  # noqa: E731
    expected = hessian(f, x)
    H, info = hessian(f, x, workers=2, backend=backend, full_output=True)
    assert (info.workers, info.backend) == (2, backend)
    assert H.tobytes() == expected.tobytes()
    assert x.tobytes() == before


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_x_is_restored_when_f_raises(error):
    x = np.array([1.0, 2.0, 3.0])

    def f(x):
        if x[2] < 3 and x[0] < 1:
            raise error("mine")
        return 0.0

    with pytest.raises(error, match="mine") as caught:
        hessian(f, x, 0.5)
    assert x.tolist() == [1.0, 2.0, 3.0]
    if sys.version_info >= (3, 11) and error is LookupError:
        assert caught.value.__notes__ == [
            "f was evaluated at x[0] = 1.0 - 0.5 and x[2] = 3.0 - 0.5"
        ]


def test_a_value_that_is_not_finite_names_the_coordinates():
    f = lambda x: np.inf if x[0] > 1 and x[1] < 1 else 0.0  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"f is inf at x\[0\] = 1.0 \+ 0.5 and x\[1\] = 1"):
        hessian(f, np.ones(2), 0.5)
    kept = hessian(f, np.ones(2), 0.5, nonfinite="keep")
    assert np.isfinite(kept).tolist() == [[True, False], [False, True]]
    # Nor does what the formula off the diagonal has no use for reach it.
    f = lambda x: np.inf if x[0] > 1 and x[1] == 1 else 0.0  # noqa: E731
    kept = hessian(f, np.ones(2), 0.5, nonfinite="keep", bounds=(0.0, np.inf))
    assert kept.tolist() == [[np.inf, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"x": {"a": np.ones(2)}}, TypeError, "x must be one array .*, got a dict; .*concatenate"),
        ({"x": [np.ones(2)]}, TypeError, "x must be one array .*, got a list"),
        ({"h": [1.0, 0.0]}, ValueError, r"x\[1\] = 1.0 has the step 0.0"),
        ({"h": [1.0] * 3}, ValueError, "shape of x"),
        ({"h": 1e-20}, ValueError, r"x\[0\] = 1.0 does not move"),
        ({"args": 1}, TypeError, "args must be a tuple"),
        ({"stencil": "complex"}, ValueError, "one of .*, six-point or a fastgrad.Stencil, got 'co"),
        ({"bounds": (2.0, 3.0)}, ValueError, r"x\[0\] must lie within its bounds, got 1.0"),
        ({"bounds": (1, 1 + 1e-15)}, ValueError, r"x\[0\] = 1.0 does not move .* wider bounds"),
    ],
)
def test_bad_options_are_refused_before_f_is_called(options, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        hessian(f, **{"x": np.ones(2), **options})


def test_f_must_return_a_number():
    with pytest.raises(TypeError, match="one number"):
        hessian(lambda x: x, np.ones(2))


# Times a vector --------------------------------------------------------------------------------


@settings(max_examples=50)
@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_the_hessian_of_a_quadratic_form_times_a_vector(shape, seed):
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    A = rng.integers(-9, 10, (n, n))
    x, v = map(np.asarray, rng.integers(-4, 5, (2, *shape)).astype(float))
    f = lambda x: x.reshape(-1) @ A @ x.reshape(-1)  # noqa: E731
    expected = ((A + A.T) @ v.reshape(-1)).reshape(shape)
    np.testing.assert_array_equal(hessian_vector_product(f, x, v, 0.5), expected)
    g = lambda x: ((A + A.T) @ x.reshape(-1)).reshape(shape)  # noqa: E731
    product = hessian_vector_product(None, x, v, 0.5, gradient=g)
    np.testing.assert_array_equal(product, expected)


def test_rosenbrock_times_a_vector():
    x, v = np.array([-1.2, 1.0, 0.5, 2.0]), np.array([1.0, 2.0, -1.0, 0.5])
    expected = optimize.rosen_hess_prod(x, v)
    product, info = hessian_vector_product(ROSENBROCK, x, v, full_output=True)
    # By each of the two differences: h² / 6 times a fourth derivative of up to 2400, times v.
    h = np.finfo(float).eps ** 0.25 * 2
    allowed = 2 * 400 * h**2 * 2 + second_rounding(1e3, h / 2) * 2
    np.testing.assert_allclose(product, expected, rtol=0, atol=allowed)
    assert info.step == pytest.approx(np.finfo(float).eps ** 0.25 / 2)
    # Twice as long a v, the same points: the product is twice as large to the bit.
    assert (hessian_vector_product(ROSENBROCK, x, 2 * v) == 2 * product).all()


def test_a_product_costs_what_is_documented():
    x, v = np.ones(5), np.arange(5.0)
    calls = []
    f = lambda x: calls.append(1) or float(x @ x)  # noqa: E731
    hessian_vector_product(f, x, v)
    assert len(calls) == 4 * 5 + 1
    calls.clear()
    _, info = hessian_vector_product(f, x, v, full_output=True)
    assert len(calls) == info.evaluations == 4 * 5 + 1 + 1
    assert info.value == 5.0
    gradients = []
    g = lambda x: gradients.append(x.copy()) or 2 * x  # noqa: E731
    calls.clear()
    _, info = hessian_vector_product(f, x, v, 0.5, gradient=g, full_output=True)
    points = [x + v / 2, x + v / 2, x - v / 2]  # The first of them twice.
    np.testing.assert_array_equal(gradients, points)
    assert info.evaluations == 3
    assert np.isnan(info.value)
    assert not calls


def test_structures_closures_and_args():
    x = {"a": np.array([1.0, 2.0]), "b": 3.0}
    v = {"a": np.array([1.0, -1.0]), "b": 2.0}
    expected = {"a": np.array([2 * 3 * 1 + 2 * 1 * 2, 2 * 3 * -1 + 2 * 2 * 2.0]), "b": -2.0}
    f = lambda x, k: k * x["b"] * (x["a"] @ x["a"])  # noqa: E731
    g = lambda x, k: {"a": k * 2 * x["b"] * x["a"], "b": k * (x["a"] @ x["a"])}  # noqa: E731
    for product in (
        hessian_vector_product(f, x, v, 0.5, args=(1.0,)),
        hessian_vector_product(f, x, v, 0.5, args=(1.0,), gradient=g),
    ):
        np.testing.assert_array_equal(product["a"], expected["a"])
        assert product["b"] == expected["b"]
    x = np.array([1.0, 2.0])
    assert hessian_vector_product(lambda _: x @ x, x, [1, 1], 0.5).tolist() == [2.0, 2.0]
    product = hessian_vector_product(None, x, [1, 1], 0.5, gradient=lambda _: 2 * x)
    assert product.tolist() == [2.0, 2.0]
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_product_has_the_bits_of_one_worker(rng, backend):
    x, v = rng.standard_normal((2, 30))
    f = lambda _: ROSENBROCK(x)  # noqa: E731
    expected = hessian_vector_product(f, x, v)
    product, info = hessian_vector_product(f, x, v, workers=2, backend=backend, full_output=True)
    assert (info.workers, info.backend) == (2, backend)
    assert product.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("gradient", "error", "match"),
    [
        (
            lambda x: np.ones(3),
            ValueError,
            r"gradient must have the shape of x, \(2,\); got \(3,\)",
        ),
        (lambda x: 1.0, ValueError, r"got \(\)"),
        (lambda x: None, TypeError, "gradient must hold real numbers"),
        (3.0, TypeError, "gradient must be callable or None, got 3.0"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(gradient, error, match):
    x = np.ones(2)
    with pytest.raises(error, match=match):
        hessian_vector_product(None, x, x.copy(), gradient=gradient)
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="f must be callable"):
        hessian_vector_product(None, x, x)


def test_a_gradient_of_another_structure_is_refused():
    x = {"W": np.ones((2, 2)), "b": np.ones(2)}
    with pytest.raises(ValueError, match=r"gradient must have the structure of x, x\['W'\]"):
        hessian_vector_product(None, x, x, gradient=lambda x: {"W": x["W"]})
    g = lambda x: {"W": x["W"], "b": x["W"]}  # noqa: E731
    with pytest.raises(
        ValueError, match=r"gradient\['b'\] must have the shape of x\['b'\], \(2,\)"
    ):
        hessian_vector_product(None, x, x, gradient=g)


def test_a_gradient_is_not_evaluated_outside_the_bounds_either():
    x, v = np.array([0.0, 1.0]), np.array([1.0, 0.5])
    bounds, points = (0.0, np.inf), []
    g = watched(lambda x: np.array([3 * x[0] ** 2 + x[1], x[0]]), bounds, points)
    product, info = hessian_vector_product(
        None, x, v, 0.5, gradient=g, bounds=bounds, full_output=True
    )
    # To one side, but of second order: exact for these quadratics.
    np.testing.assert_allclose(product, [0.5, 1.0], atol=1e-14)
    assert info.evaluations == len(points) == 3 + 1
    with pytest.raises(ValueError, match="batched=True is for f, which is not called"):
        hessian_vector_product(None, x, v, gradient=g, batched=True)


def test_a_product_uses_one_formula_along_the_line():
    # The cubic is exact for "central" only if the truncation of both gradients is the same.
    x, v, h = np.array([0.5, 0.0]), np.array([1.0, 0.0]), 0.125
    bounds = (np.array([0.0, -9.0]), np.array([0.7, 9.0]))
    f = watched(lambda x: x[0] ** 3, bounds)
    product = hessian_vector_product(f, x, v, h, bounds=bounds)
    allowed = second_rounding(1, 0.05, weights=SECOND_BOUNDED[2])
    np.testing.assert_allclose(product, [3.0, 0.0], rtol=0, atol=allowed)


@pytest.mark.parametrize(("stencil", "gradients", "each"), [("forward", 2, 5 + 1),
    ("central", 2, 10), ("five-point", 4, 20), ("six-point", 6, 30)])  # fmt: skip
def test_a_product_costs_what_is_documented_for_its_formula(stencil, gradients, each):
    calls, x, v = [], np.ones(5), np.arange(5.0)
    f = lambda x: calls.append(1) or float(x @ x)  # noqa: E731
    _, info = hessian_vector_product(f, x, v, stencil=stencil, full_output=True)
    assert len(calls) == info.evaluations == gradients * each + 1 + 1
