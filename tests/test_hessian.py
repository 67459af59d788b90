"""`hessian` and `hessian_vector_product` against closed forms, and what they cost."""

import itertools
import sys

import functions_of_x
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize
from tolerances import second_rounding

from fastgrad import hessian, hessian_vector_product

ROSENBROCK = functions_of_x.rosenbrock
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)


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


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_f_is_evaluated_as_often_as_documented(n):
    calls = []
    f = lambda x: calls.append(1) or float(x.sum())  # noqa: E731
    _, info = hessian(f, np.ones(n), full_output=True)
    assert len(calls) == info.evaluations == 1 + 2 * n + 2 * n * (n - 1)
    assert info.value == n


def test_the_points_are_those_of_the_formulas():
    seen = []
    hessian(lambda x: seen.append(tuple(x)) or 0.0, np.array([1.0, 2.0]), 0.5)
    corners = itertools.product((1.5, 0.5), (2.5, 1.5))
    sides = [(1.5, 2.0), (0.5, 2.0), (1.0, 2.5), (1.0, 1.5)]
    assert sorted(seen) == sorted([(1.0, 2.0), *sides, *corners])


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


def test_rows_are_weighted_by_what_they_cost():
    from fastgrad.objectives.second_order import SecondOrder
    from fastgrad.stencils import CENTRAL
    from fastgrad.steps import Steps
    from fastgrad.structures import Parameters

    calls = []
    parameters = Parameters(np.ones(5))
    steps = Steps(parameters, CENTRAL, None, None)
    rows = SecondOrder(lambda x: calls.append(1) or 0.0, parameters, steps, False)
    for i, weight in enumerate(rows.weights()):
        calls.clear()
        span = rows.span(range(i, i + 1))
        rows.partials(range(i, i + 1), np.empty(span.stop - span.start))
        assert len(calls) == weight


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


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"x": {"a": np.ones(2)}}, TypeError, "x must be one array, got a dict; .*concatenate"),
        ({"x": [np.ones(2)]}, TypeError, "x must be one array, got a list"),
        ({"h": [1.0, 0.0]}, ValueError, r"x\[1\] = 1.0 has the step 0.0"),
        ({"h": [1.0] * 3}, ValueError, "shape of x"),
        ({"h": -1.0}, ValueError, "above 0"),
        ({"h": 1e-20}, ValueError, r"x\[0\] = 1.0 does not move"),
        ({"x": np.array([1.0, np.nan])}, ValueError, r"x\[1\] must be finite"),
        ({"workers": 0}, ValueError, "workers must not be 0"),
        ({"nonfinite": "no"}, ValueError, "nonfinite must be"),
        ({"args": 1}, TypeError, "args must be a tuple"),
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


@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_the_hessian_of_a_quadratic_form_times_a_vector(shape, seed):
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    A = rng.integers(-9, 10, (n, n))
    x, v = rng.integers(-4, 5, (2, *shape)).astype(float)
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
    assert len(calls) == 4 * 5
    calls.clear()
    _, info = hessian_vector_product(f, x, v, full_output=True)
    assert len(calls) == info.evaluations == 4 * 5 + 1
    assert info.value == 5.0
    gradients = []
    g = lambda x: gradients.append(x.copy()) or 2 * x  # noqa: E731
    calls.clear()
    _, info = hessian_vector_product(f, x, v, 0.5, gradient=g, full_output=True)
    assert [point.tolist() for point in gradients] == [(x + v / 2).tolist(), (x - v / 2).tolist()]
    assert info.evaluations == 2
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
