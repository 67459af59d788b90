"""What people bring: scipy's bounds, pandas, masked arrays, long integers, and what is wrong."""

import decimal
import fractions
import sys

import functions_of_x
import numba
import numpy as np
import pytest
from slow_functions import slow
from tolerances import TRUNCATION

from fastgrad import (
    check_gradient,
    directional_derivative,
    grad,
    hessian,
    hessian_vector_product,
    jacobian,
    numerical_gradient,
    step_sweep,
)

optimize = pytest.importorskip("scipy.optimize")
pd = pytest.importorskip("pandas")

X = np.array([1.0, 2.0, 3.0])
RULES = [None, "auto", "quick"]


def polynomial(x):
    """Have the gradient (2ab, a² + c³, 3bc²), 4, 28 and 54 at X."""
    return x[0] ** 2 * x[1] + x[1] * x[2] ** 3


SLOPES = np.array([4.0, 28.0, 54.0])
SECOND = np.array([[4.0, 2.0, 0.0], [2.0, 0.0, 27.0], [0.0, 27.0, 36.0]])


# Bounds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", RULES)
@pytest.mark.parametrize(
    "bounds",
    [
        [(1, None), (None, 2), (0, 5)],
        ((1, None), (None, 2), (0, 5)),
        np.array([[1, np.inf], [-np.inf, 2], [0, 5]]),
        optimize.Bounds([1, -np.inf, 0], [np.inf, 2, 5]),
        ([1, -np.inf, 0], [np.inf, 2, 5]),
        (np.array([1, -np.inf, 0]), np.array([np.inf, 2, 5])),
    ],
    ids=["list", "tuple", "array", "Bounds", "sides", "arrays"],
)
def test_bounds_mean_what_they_mean_in_scipy(bounds, h):
    seen = []
    gradient = numerical_gradient(
        lambda x: seen.append(x.copy()) or polynomial(x), X, h, bounds=bounds
    )
    np.testing.assert_allclose(gradient, SLOPES, rtol=TRUNCATION)
    seen = np.array(seen)
    assert (seen.min(axis=0) >= [1, -np.inf, 0]).all()
    assert (seen.max(axis=0) <= [np.inf, 2, 5]).all()
    assert seen[:, 0].max() > 1
    assert seen[:, 1].min() < 2


@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [
        ([(0, 1), (2, 3)], [0, 2], [1, 3]),
        (((0, 1), (2, None)), [0, 2], [1, np.inf]),
        (([-3, -2], [1, 2]), [-3, -2], [1, 2]),
        (((0.5, 1), (0, 2.5)), [0.5, 0], [1, 2.5]),  # x is not between (0.5, 1) and (0, 2.5)
        (((0.5, 1), (1, 2.5)), [0.5, 1], [1, 2.5]),  # both readings say the same
        (optimize.Bounds(0, 2), [0, 0], [2, 2]),
        ((None, 2), [-np.inf, -np.inf], [2, 2]),
    ],
)
def test_two_coordinates_have_two_pairs_or_a_lower_and_an_upper_side(bounds, low, high):
    x, seen = np.array([1.0, 2.0]), []
    numerical_gradient(lambda x: seen.append(x.copy()) or x.sum(), x, 1.0, bounds=bounds)
    assert (np.array(seen) >= low).all()
    assert (np.array(seen) <= high).all()


def test_none_is_no_bound():
    x = np.array([1e9, -1e9])
    for bounds in ([(0, None), (None, 0)], [(None, None), (None, None)], (None, None)):
        np.testing.assert_allclose(numerical_gradient(np.sum, x, bounds=bounds), 1.0)


def test_two_pairs_that_may_be_sides_are_refused():
    with pytest.raises(ValueError, match=r"may be \(lower, upper\) or a pair for each coordinate"):
        numerical_gradient(functions_of_x.never, np.array([0.5, 2.5]), bounds=((0, 1), (2, 3)))


def test_pairs_go_by_coordinate_through_any_structure():
    x, seen = {"a": 1.0, "b": np.array([[2.0], [3.0]])}, []

    def f(x):
        seen.append([x["a"], *x["b"].reshape(-1)])
        return x["a"] ** 2 + (x["b"] ** 2).sum()

    gradient = numerical_gradient(f, x, bounds=[(1, 2), (None, 2), (3, 3)])
    assert gradient["a"] == pytest.approx(2.0)
    np.testing.assert_allclose(gradient["b"], [[4.0], [0.0]])
    assert min(a for a, _, _ in seen) == 1
    assert max(b for _, b, _ in seen) == 2
    assert {c for _, _, c in seen} == {3.0}


@pytest.mark.parametrize("h", RULES)
@pytest.mark.parametrize("workers", [None, 2])
def test_a_fixed_coordinate_is_no_variable(h, workers):
    seen = []
    gradient, info = numerical_gradient(
        lambda x: seen.append(x[1]) or polynomial(x), X, h,
        bounds=[(0, 9), (2, 2), (0, 9)], workers=workers, full_output=True,
    )  # fmt: skip
    np.testing.assert_allclose(gradient, [4.0, 0.0, 54.0], rtol=TRUNCATION)
    assert set(seen) <= {2.0}
    if h is not None:
        assert info.error[1] == 0


@pytest.mark.parametrize("options", [{}, {"workers": 2, "backend": "threads"}])
@pytest.mark.parametrize("fixed", [[2], [0, 1, 2]], ids=str)
def test_the_last_coordinates_of_a_slow_f_may_be_fixed(fixed, options):
    lower, upper = np.zeros(3), np.full(3, 9.0)
    lower[fixed] = upper[fixed] = X[fixed]
    gradient = numerical_gradient(
        slow(polynomial, 0.01), X, "auto", bounds=(lower, upper), **options
    )
    expected = np.where(lower == upper, 0.0, SLOPES)
    np.testing.assert_allclose(gradient, expected, rtol=TRUNCATION)


def test_by_fixed_coordinates_all_derivatives_are_zero():
    bounds, v = [(0, 9), (2, 2), (3, 9)], np.array([1.0, 5.0, 2.0])
    free = np.array([1.0, 0.0, 1.0])
    second = SECOND * np.outer(free, free)

    def vector(x):
        return np.array([polynomial(x), x[1]])

    near = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(jacobian(vector, X, bounds=bounds)[0], SLOPES * free, **near)
    np.testing.assert_array_equal(jacobian(vector, X, bounds=bounds)[1], 0.0)
    every = jacobian(vector, X, bounds=bounds, sparsity=np.ones((2, 3), bool))
    np.testing.assert_allclose(every.toarray()[0], SLOPES * free, **near)
    np.testing.assert_allclose(hessian(polynomial, X, bounds=bounds), second, **near)
    along = directional_derivative(polynomial, X, v, bounds=bounds)
    assert along == pytest.approx(SLOPES @ (free * v))
    product = hessian_vector_product(polynomial, X, v, bounds=bounds)
    np.testing.assert_allclose(product, second @ v, **near)
    product = hessian_vector_product(None, X, v, bounds=bounds, gradient=lambda x: SECOND @ x)
    np.testing.assert_allclose(product, second @ v, **near)


def test_where_all_is_fixed_all_is_zero():
    for h in RULES:
        np.testing.assert_array_equal(numerical_gradient(polynomial, X, h, bounds=(X, X)), 0.0)
    np.testing.assert_array_equal(hessian(polynomial, X, bounds=(X, X)), 0.0)


def test_a_compiled_f_has_fixed_coordinates_too():
    f = numba.njit(lambda x: x[0] ** 2 * x[1])
    gradient = numerical_gradient(f, np.array([1.0, 2.0]), bounds=[(1, 1), (2, None)])
    np.testing.assert_allclose(gradient, [0.0, 1.0], rtol=TRUNCATION)


# pandas ------------------------------------------------------------------------------------------


SERIES = pd.Series(X, index=["a", "b", "c"], name="theta")
FRAME = pd.DataFrame({"u": [1.0, 2.0], "v": [3.0, 4.0]}, index=["r", "s"])


def of_series(s):
    return s.a**2 * s["b"] + s.b * s.c**3


@pytest.mark.parametrize(
    "options",
    [{}, {"h": "auto"}, {"h": "quick"}, {"stencil": "complex"}, {"workers": 2},
     {"bounds": (SERIES, np.inf)}, {"h": SERIES / 1e4}, {"full_output": True}],
)  # fmt: skip
def test_the_gradient_of_a_series_is_a_series(options):
    gradient = numerical_gradient(of_series, SERIES, **options)
    if "full_output" in options:
        gradient, _ = gradient
    pd.testing.assert_series_equal(gradient, SERIES * 0 + SLOPES, rtol=TRUNCATION)


def test_estimates_and_steps_have_the_labels_too():
    _, info = numerical_gradient(of_series, SERIES, "auto", full_output=True)
    assert info.error.index.equals(SERIES.index)
    assert info.step.index.equals(SERIES.index)


def test_a_frame_and_a_structure_of_series():
    gradient = numerical_gradient(lambda d: (d.u**2 * d["v"]).sum(), FRAME)
    expected = pd.DataFrame({"u": [6.0, 16.0], "v": [1.0, 4.0]}, index=["r", "s"])
    pd.testing.assert_frame_equal(gradient, expected)
    both = numerical_gradient(
        lambda p: p["s"].a * p["n"] + p["l"][0].b, {"s": SERIES, "n": 2.0, "l": [SERIES]}
    )
    pd.testing.assert_series_equal(both["s"], SERIES * 0 + [2.0, 0, 0])
    pd.testing.assert_series_equal(both["l"][0], SERIES * 0 + [0, 1.0, 0])
    assert both["n"] == pytest.approx(1.0)


def test_the_relatives_of_the_gradient_carry_labels_too():
    rows = pd.DataFrame(np.diag([2.0, 4.0, 6.0]), columns=SERIES.index)
    pd.testing.assert_frame_equal(jacobian(lambda s: s**2, SERIES), rows)
    second = pd.DataFrame(SECOND, SERIES.index, SERIES.index)
    pd.testing.assert_frame_equal(hessian(of_series, SERIES), second, rtol=1e-4, atol=1e-5)
    product = hessian_vector_product(of_series, SERIES, SERIES)
    pd.testing.assert_series_equal(product, SERIES * 0 + SECOND @ X, rtol=1e-4)
    assert directional_derivative(of_series, SERIES, SERIES) == pytest.approx(SLOPES @ X)
    assert step_sweep(of_series, SERIES, exact=SLOPES).names[1] == "x['b']"
    one = step_sweep(of_series, SERIES, [1e-4], exact=SLOPES, coordinate=1)
    assert one.derivatives == pytest.approx(28.0)


def test_a_sweep_along_one_number_of_a_list_moves_it():
    sweep = step_sweep(polynomial, X.tolist(), [1e-4], exact=SLOPES, coordinate=1)
    assert sweep.derivatives == pytest.approx(28.0)


def test_errors_name_the_label():
    with pytest.raises(FloatingPointError, match=r"x.loc\['r', 'v'\] = 3.0 \+ 0.0001"):
        numerical_gradient(lambda d: np.inf if d.v.r > 3 else 0.0, FRAME)
    counted = pd.Series(X, index=[7, 8, 9])
    with pytest.raises(FloatingPointError, match=r"x\[8\] = 2.0 \+"):
        numerical_gradient(lambda s: np.inf if s[8] > 2 else 0.0, counted)


@pytest.mark.parametrize("x", [SERIES, {"w": SERIES}])
def test_a_closure_over_a_series_is_refused_and_leaves_it_alone(x):
    with pytest.raises(TypeError, match=r"reads x from outside, but x.* cannot be changed"):
        numerical_gradient(lambda _: of_series(SERIES), x)
    np.testing.assert_array_equal(SERIES, X)


def test_pandas_and_scipy_are_not_imported():
    import subprocess

    code = (
        "import sys, numpy, fastgrad\n"
        "fastgrad.numerical_gradient(numpy.sum, numpy.ones(2), 'auto', bounds=[(0, 1), (1, 1)])\n"
        "print([name for name in ('pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# Numbers and optimizers --------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [np.ma.masked, np.ma.array([1.0], mask=[True])])
def test_a_masked_value_is_refused(masked):
    for derivative in (numerical_gradient, jacobian, hessian):
        with pytest.raises(TypeError, match="f must return plain numbers, got a masked array"):
            derivative(lambda x: masked, X)
    with pytest.raises(TypeError, match="got a masked array"):
        numerical_gradient(lambda x: np.ma.array(x[:, 0]), X, batched=True)


def test_integers_beyond_64_bits_are_numbers():
    x, huge = np.array([1.0, 2.0]), 2**70
    np.testing.assert_array_equal(numerical_gradient(lambda x: huge, x), 0.0)
    np.testing.assert_array_equal(jacobian(lambda x: [huge, 1], x), 0.0)
    np.testing.assert_array_equal(numerical_gradient(np.sum, x, [huge, 1]), 1.0)
    options = {"bounds": ([0, 0], [huge, 1e30])}
    np.testing.assert_allclose(numerical_gradient(np.sum, x, **options), 1.0)
    assert directional_derivative(np.sum, x, [huge, 0]) == pytest.approx(huge)
    np.testing.assert_allclose(numerical_gradient(lambda x: x[1], [huge, 1.0]), [0.0, 1.0])
    assert len(step_sweep(np.sum, x, [1, huge], exact=1.0).steps) == 2


OVERFLOWING = {
    "exp(exp)": lambda x: np.exp(np.exp(x[0])) + x[1] ** 2,
    "log": lambda x: -np.log(x[0]) + x[0] + x[1] ** 2,
    "cosh": lambda x: np.cosh(50 * x[0]) + x[1] ** 2,
    "power": lambda x: (x[0] ** 40 + x[1] ** 2 - 1) ** 2,
    "exp(square)": lambda x: np.exp(x[0] ** 2 + x[1] ** 2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("x", [[-1.2, 1.0], [3.0, 5.0], [7.0, 1.0], [0.5, 0.5]])
@pytest.mark.parametrize("name", OVERFLOWING)
@pytest.mark.parametrize("h", ["auto", "quick"])
def test_bfgs_ends_where_f_overflows(name, x, h):
    if x[0] == 7 and name in ("cosh", "power"):
        pytest.skip("a long way without an overflow")
    f = OVERFLOWING[name]
    found = optimize.minimize(f, x, method="BFGS", jac=grad(f, h))
    alone = optimize.minimize(f, x, method="BFGS")
    # As well as by scipy's own differences: it may stop where f has no value to compare.
    assert found.success or not alone.success
    if found.success and alone.success:
        assert found.fun == pytest.approx(alone.fun, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("h", RULES)
def test_at_nan_the_gradient_is_nan(h):
    gradient = grad(lambda x: x[1] ** 2 if np.isnan(x[0]) else 0.0, h)(np.array([np.nan, 3.0]))
    assert np.isnan(gradient[0])
    assert gradient[1] == pytest.approx(6.0)


@pytest.mark.parametrize("h", RULES)
def test_f_may_use_the_number_that_x_is(h):
    x = 2.0
    assert numerical_gradient(lambda t: x * t**2, x, h) == pytest.approx(8.0)
    with pytest.raises(TypeError, match="f reads x from outside, as x"):
        numerical_gradient(lambda t: x**2, x, h)


def test_grad_raises_where_it_is_told_to():
    with pytest.raises(FloatingPointError, match="f is inf"):
        grad(lambda x: np.inf, "auto", nonfinite="raise")(X)
    assert np.isnan(grad(lambda x: np.inf, "auto")(X)).all()


# What is wrong -----------------------------------------------------------------------------------


def sweep(f, x, **options):
    return step_sweep(f, x, options.pop("steps", [1e-4]), exact=1.0, **options)


def check(f, x, **options):
    return check_gradient(f, x, functions_of_x.never, **options)


V = {"v": X}
RAGGED = [[1.0], [1.0, 2.0]]
BAD = [
    # x
    (numerical_gradient, None, {}, "x must hold real numbers, got None; pass a float or an array"),
    (numerical_gradient, [3, 4], {}, r"x must be floating point, got int64.* pass np.array\(x, fl"),
    (numerical_gradient, 2**70, {}, r"x must be floating point, got int.* pass float\(x\)"),
    (numerical_gradient, {"w": 3}, {}, r"x\['w'\] must be floating point.* float\(x\['w'\]\)"),
    (numerical_gradient, pd.Series([1, 2]), {}, r"x must be floating.* pass x.astype\(float\)"),
    (numerical_gradient, {1.0, 2.0}, {}, r"x must hold real numbers.* np.array\(list\(x\), float"),
    (numerical_gradient, np.array([1j]), {}, "x must be real, got complex128"),
    (hessian, fractions.Fraction(1, 3), {}, r"x must hold real numbers, got Frac.* pass float\(x"),
    (jacobian, np.array([1.0, None]), {}, "got dtype object; pass an array of floats, without N"),
    (jacobian, np.ma.ones(2), {}, r"x must be a plain array, got MaskedArray; pass x.filled"),
    (jacobian, RAGGED, {}, r"x must be an array of numbers, got \[\[1.0\].* differ in length"),
    (directional_derivative, ["1"], V, r"x must hold real numbers, got \['1'\]; pass np.array"),
    (hessian_vector_product, {"a": X}, V, r"v must have the structure of x, x\['a'\]; got x"),
    # bounds
    (numerical_gradient, X, {"bounds": 3}, r"bounds must be a pair \(lower, upper\), a list of"),
    (numerical_gradient, X, {"bounds": "ab"}, r"bounds must be a pair .* got 'ab'"),
    (jacobian, X, {"bounds": [(0, 9)] * 4}, r"bounds must be a pair .* for x of 3"),
    (hessian, X, {"bounds": [(5, 0), (0, 9), (0, 9)]}, r"lower <= upper, got 5.0 and 0.0 for x\[0"),
    (hessian, X, {"bounds": [(0, np.nan), (0, 9), (0, 9)]}, r"lower <= upper, got 0.0 and nan"),
    (hessian, X, {"bounds": [(0, 9), (0, 1), (0, 9)]}, r"x\[1\] must lie within its bounds, got 2"),
    (hessian, X, {"bounds": optimize.Bounds([0, 0], [9, 9])}, "bounds must be .* shape of x, .3,"),
    (jacobian, X, {"bounds": (RAGGED, 9)}, "bounds must be an array of numbers, got"),
    (directional_derivative, X, V | {"bounds": ("a", "b")}, "bounds must hold real numbers"),
    (numerical_gradient, SERIES, {"bounds": (SERIES[::-1], 9)}, "bounds must have the labels of x"),
    # h, v, the rest
    (numerical_gradient, X, {"h": None, "relative_step": "a"}, "relative_step must be a finite n"),
    (numerical_gradient, X, {"h": [1e-4, 1e-4]}, r"h must be a number or have the shape of x, \(3"),
    (numerical_gradient, X, {"h": [1e-4, None, 1e-4]}, "h must hold real numbers, got dtype"),
    (numerical_gradient, X, {"h": [10**400, 1, 1]}, "h must be an array of numbers.* too large"),
    (numerical_gradient, SERIES, {"h": SERIES[::-1]}, "h must have the labels of x .*index_like"),
    (directional_derivative, X, {"v": None}, "v must hold real numbers, got None"),
    (directional_derivative, X, {"v": [1, 2, np.inf]}, r"v\[2\] must be finite, got inf"),
    (directional_derivative, X, {"v": X[:, None].T}, r"v must have the shape of x, \(3,\); got"),
    (hessian_vector_product, X, V | {"gradient": 3}, "gradient must be callable or None, got 3"),
    (jacobian, X, {"sparsity": [[True], [True, False]]}, "sparsity must be an array of numbers, g"),
    (jacobian, X, {"sparsity": np.eye(3)}, "sparsity must be a .* boolean array; got .* A != 0"),
    (sweep, X, {"steps": [[1e-3], [1e-4, 1e-5]]}, "steps must be an array of numbers.* differ"),
    (sweep, X, {"steps": None}, "steps must be a list or 1-D array of numbers, got None"),
    (sweep, X, {"coordinate": 7}, "coordinate must be a place below 3"),
    (numerical_gradient, X, {"h": 10**400}, r"h must be a finite number above 0, got 10*\.\.\.0*"),
    (numerical_gradient, X, {"workers": 10**400}, r"workers must .*, got 10*\.\.\.0*; -1 means"),
    (numerical_gradient, X, {"bounds": optimize.LinearConstraint(np.eye(3), 0, 9)}, "must be a p"),
    (hessian, X, {"bounds": optimize.NonlinearConstraint(np.sum, 0, 9)}, "bounds must be a pair"),
    # True or False
    (numerical_gradient, X, {"full_output": "no"}, "full_output must be True or False, got 'no'"),
    (numerical_gradient, X, {"batched": "no"}, "batched must be True or False, got 'no'"),
    (numerical_gradient, X, {"batched": 1}, "batched must be True or False, got 1"),
    (numerical_gradient, X, {"progress": "yes", "h": "auto"}, "progress must be True or False"),
    (jacobian, X, {"full_output": 0}, "full_output must be True or False, got 0"),
    (hessian, X, {"progress": None}, "progress must be True or False, got None"),
    (directional_derivative, X, V | {"full_output": "a"}, "full_output must be True or False"),
    (hessian_vector_product, X, V | {"full_output": []}, r"full_output must be .*, got \[\]"),
    (check, X, {"batched": 1}, "batched must be True or False, got 1"),
    (check, X, {"progress": "yes"}, "progress must be True or False, got 'yes'"),
]  # fmt: skip


@pytest.mark.parametrize(("derivative", "x", "options", "words"), BAD)
def test_what_is_wrong_is_said_before_f_is_evaluated(derivative, x, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        derivative(functions_of_x.never, x, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"h": -1}, "h must be a finite number above 0, got -1"),
        ({"h": True}, "h must be a finite number above 0, got True"),
        ({"relative_step": 0}, "relative_step must be a finite number above 0, got 0"),
        ({"h": 1e-3, "relative_step": 1e-3}, "pass h or relative_step, not both"),
        ({"batched": "no"}, "batched must be True or False, got 'no'"),
        ({"progress": 2}, "progress must be True or False, got 2"),
    ],
)
def test_grad_is_refused_before_it_is_called(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        grad(functions_of_x.never, **options)


@pytest.mark.parametrize("value", [fractions.Fraction(1, 3), decimal.Decimal(1)])
def test_other_numbers_that_f_returns_become_floats(value):
    words = f"f must return a real number, got {type(value).__name__}; let f return float"
    with pytest.raises(TypeError, match=words):
        numerical_gradient(lambda x: value, X)
