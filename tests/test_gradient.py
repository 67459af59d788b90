"""`numerical_gradient` on one worker: every kind of x, of f, of step and of failure."""

import copy
import math
import sys

import functions_of_x
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import BOUNDED, FLOAT32, MINIMUM, MINIMUM_SCALED, TRUNCATION, rounding

import fastgrad
from fastgrad import STENCILS, grad, numerical_gradient, reference


@numba.njit
def cubes(x):
    total = 0.0
    for value in x.flat:
        total += value * value * value
    return total


def cubes_of_points(points):
    return (points.reshape(len(points), -1) ** 3).sum(axis=1)


def python_cubes(x):
    total = 0.0
    for value in x.flat:
        total += value**3
    return total


WAYS = {
    "python": (python_cubes, {}),
    "compiled": (cubes, {}),
    "batched": (cubes_of_points, {"batched": True}),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)
arrays = hnp.arrays(float, shapes, elements=st.floats(-4, 4))


def laid_out(x, layout):
    """Return the same numbers in another memory order."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1])) if x.ndim else np.zeros(())
        view = wide[..., ::-2] if x.ndim else wide
        view[...] = x
        return view
    if layout == "swapped":
        return x.astype(">f8")
    return x.copy()


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25)
@given(x=arrays, layout=st.sampled_from("CF") | st.sampled_from(["strided", "swapped"]))
def test_every_shape_and_layout_gives_the_reference_loop(way, x, layout):
    f, options = WAYS[way]
    if way == "compiled":  # Anew for every number of axes.
        x = x.reshape(-1)
    x = laid_out(x, layout)
    before = x.tobytes()
    gradient = numerical_gradient(f, x, 0.5, **options)
    expected = reference.numerical_gradient(python_cubes, x.astype(float), h=0.5)
    assert gradient.shape == x.shape
    assert gradient.dtype == x.dtype
    assert x.tobytes() == before
    allowed = rounding("central", float, (np.abs(x) ** 3).sum() + 1, 0.5)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=allowed)
    if way == "python":
        assert gradient.astype(float).tobytes() == expected.tobytes()


def as_item(x):
    """Make an array of a number, which with its neighbours would be one array."""
    return np.array(x) if isinstance(x, float) else x


leaves = arrays | st.floats(-4, 4)
structures = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
        | st.lists(inner.map(as_item), min_size=1, max_size=3)
        | st.tuples(inner, hnp.arrays(float, 2, elements=st.floats(-4, 4)))
    ),
    max_leaves=5,
)


def total(x, power=3, of=np.positive):
    if isinstance(x, dict):
        return sum(total(item, power + k, of) for k, item in enumerate(x.values()))
    if isinstance(x, list | tuple):
        return sum(total(item, power + k, of) for k, item in enumerate(x))
    return float(np.sum(of(np.asarray(x, float)) ** power))


def check(gradient, x, size, power=3):
    if isinstance(x, dict):
        assert list(gradient) == list(x)
        for k, name in enumerate(x):
            check(gradient[name], x[name], size, power + k)
    elif isinstance(x, list | tuple):
        assert type(gradient) is type(x)
        assert len(gradient) == len(x)
        for k, (g, item) in enumerate(zip(gradient, x, strict=True)):
            check(g, item, size, power + k)
    else:
        expected = reference.numerical_gradient(
            lambda a: np.sum(a**power), np.array(x, float), h=0.25
        )
        allowed = rounding("central", float, size, 0.25)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=allowed)


@settings(max_examples=60)
@given(x=structures)
def test_every_structure_gives_a_gradient_of_the_same_structure(x):
    before = copy.deepcopy(x)
    check(numerical_gradient(total, x, 0.25), x, 1 + total(x, of=np.abs))
    assert repr(x) == repr(before)


def test_a_list_of_numbers_is_an_array():
    np.testing.assert_allclose(numerical_gradient(np.sum, [1.0, 2.0]), [1.0, 1.0])
    assert numerical_gradient(np.sum, [[1.0], [2.0]]).shape == (2, 1)


def test_nothing_to_differentiate():
    assert numerical_gradient(np.sum, np.empty((0, 3))).shape == (0, 3)
    assert numerical_gradient(total, {}) == {}


def test_points_are_f_s_own_as_well():
    x = np.ones(3)

    def f(points):
        points **= 2
        return points.sum(axis=1)

    np.testing.assert_allclose(numerical_gradient(f, x, batched=True), 2.0, rtol=TRUNCATION)
    assert x.tolist() == [1.0] * 3


def test_x_may_have_the_other_order_of_bytes(way):
    f, options = way
    for x in (np.array([1.0, 2.0]), np.array([1.0, 2.0], np.float32)):
        swapped = x.astype(x.dtype.newbyteorder())
        gradient = numerical_gradient(f, swapped, 0.5, **options)
        assert gradient.dtype == swapped.dtype
        assert gradient.tolist() == numerical_gradient(f, x, 0.5, **options).tolist()


@pytest.mark.parametrize("options", [{}, {"errors": "nan"}])
def test_a_closure_need_not_be_defined_at_x(options):
    # Central differences do not ask for f(x), although that is what its first call here returns.
    x = np.zeros(1)
    assert numerical_gradient(lambda _: 1 / x[0].item(), x, 0.5, **options) == [4.0]
    with np.errstate(divide="ignore"):
        assert numerical_gradient(lambda _: np.log(abs(x[0])), x, **options) == [0.0]


def test_a_random_function_is_no_closure(rng):
    x = np.ones(3)
    f = lambda y: float(y @ y + 1e-9 * rng.random())  # noqa: E731
    gradient, info = numerical_gradient(f, x, 0.5, full_output=True)
    np.testing.assert_allclose(gradient, 2.0, rtol=0, atol=2e-9)
    # One evaluation elsewhere differs, and three more differ among themselves.
    assert info.evaluations == 2 * 3 + 1 + 1 + 3


@pytest.mark.parametrize("way", ["python", "batched"])
def test_args_are_passed_on(way):
    f, options = WAYS[way]
    x = np.array([1.0, 2.0])
    got = numerical_gradient(lambda x, a, b: a * f(x) + b[0], x, args=(2.0, np.ones(3)), **options)
    np.testing.assert_allclose(got, 6 * x**2, rtol=TRUNCATION)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.empty(0), r"shape \(0,\)"),
        (1j, "complex128"),
        (None, "NoneType"),
        ("1", "str|<U1"),
        (True, "bool"),
        (np.bool_(1), "bool"),
        (object(), "object"),
        ((v for v in "1"), "generator"),
    ],
)
def test_anything_but_a_number_is_refused(value, match):
    x = np.ones(2)
    with pytest.raises(TypeError, match=match):
        numerical_gradient(lambda x: value, x)
    assert (x == 1).all()


def test_a_compiled_f_of_many_forms():
    @numba.njit
    def whole(x):
        return 3

    @numba.njit
    def one_element(x):
        return x[:1]

    @numba.njit
    def of_two(arrays):
        return arrays[0][0, 1] * arrays[1][0]

    @numba.njit
    def writes(x):
        x[0] *= x[0]
        return x[0] + x[1]

    assert numerical_gradient(whole, np.ones(2)).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(numerical_gradient(one_element, np.ones(2)), [1.0, 0.0])
    first, second = numerical_gradient(of_two, (np.ones((2, 2)), np.array([3.0])))
    np.testing.assert_allclose(first, [[0.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(second, 1.0)
    x = np.array([3.0, 4.0])
    assert numerical_gradient(writes, x, 0.5).tolist() == [6.0, 1.0]
    assert x.tolist() == [3.0, 4.0]


def test_a_compiled_f_need_not_be_defined_at_x():
    f = numba.njit(lambda x: 1 / x[0])
    assert numerical_gradient(f, np.zeros(1), 0.5).tolist() == [4.0]
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(f, np.zeros(1), 0.5, stencil="forward")


def test_a_compiled_f_that_reads_x_from_outside_is_refused():
    W = np.ones((2, 3))
    loss = numba.njit(lambda _: W.sum())
    with pytest.raises(TypeError, match=r"reads x from outside, as W, .* pass f.py_func"):
        numerical_gradient(loss, W)
    np.testing.assert_allclose(numerical_gradient(loss.py_func, W), 1.0)
    other = numba.njit(lambda x: (W[0] * x).sum())  # an array that is not x may be read
    np.testing.assert_allclose(numerical_gradient(other, np.ones(3)), 1.0)


@pytest.mark.parametrize("options", [{"stencil": "complex"}, {"batched": True}, {"h": "auto"}])
def test_so_it_is_whoever_calls_it(options):
    W = np.ones(3)
    half = numba.njit(lambda x: (W * x).sum(axis=-1))  # half of the derivative would be missing
    with pytest.raises(TypeError, match="reads x from outside, as W"):
        numerical_gradient(half, W, **options)


# float32 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_float32_means_something(way, size):
    f, options = way
    x = (size * np.linspace(0.5, 1.5, 7)).astype(np.float32)
    gradient = numerical_gradient(f, x, **options)
    assert gradient.dtype == np.float32
    # f'' is of size 6x, f''' = 6: truncation h² where x is small, rounding eps f / h where not.
    h = np.cbrt(np.finfo(np.float32).eps) * np.maximum(1, x)
    allowed = 1.001 * h**2 + FLOAT32 * (np.abs(x) ** 3).sum() / h
    assert (np.abs(gradient - 3.0 * x.astype(float) ** 2) <= allowed).all()


def test_the_step_of_float32_is_the_documented_one():
    x = np.array([0.0, -0.5, 3.0, 1000.0], np.float32)
    _, info = numerical_gradient(lambda x: float(x.sum()), x, full_output=True)
    h = np.float32(np.cbrt(2.0**-23))
    # What x + h leaves of it, and beyond 1 the nearest power of 2.
    assert info.step.tolist() == [h, (x[1] + h) - x[1], 2.0**-6, 4.0]


def test_the_step_of_float64_is_the_book_s_up_to_10():
    x = np.array([0.0, -10.0, 11.0, 100.0, -1e12])
    _, info = numerical_gradient(lambda x: float(x.sum()), x, full_output=True)
    # Beyond, 1e-4 |x| / 10 to the nearest power of 2.
    assert info.step.tolist() == [1e-4, 1e-4, 2.0**-13, 2.0**-10, 2.0**23]


def test_what_rounding_leaves_of_a_step_divides():
    # At 1e12 numbers are 2**-13 apart: a step of 1e-4 is one of 2**-13.
    f = lambda x: float(x[0] - 1e12)  # noqa: E731
    assert numerical_gradient(f, np.array([1e12]), 1e-4).tolist() == [1.0]


# Steps and bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0, -1e-4, math.nan, math.inf])
def test_a_step_that_is_none_is_refused(h):
    with pytest.raises(ValueError, match="h must be a finite number above 0"):
        numerical_gradient(np.sum, np.ones(2), h)


@pytest.mark.parametrize("h", ["1e-4", True, 1j])
def test_a_step_that_is_no_number_is_refused(h):
    with pytest.raises(TypeError, match="h must be a"):
        numerical_gradient(np.sum, np.ones(2), h)


def test_a_lost_step_names_the_coordinate():
    x = {"b": np.ones(3), "W": np.array([[1.0, 2.0], [1e20, 0.0]])}
    with pytest.raises(ValueError, match=r"x\['W'\]\[1, 0\] = 1e\+20 does not move"):
        numerical_gradient(total, x, 1e-4)
    with pytest.raises(ValueError, match=r"x\[2\] = 1.0 does not move .* float32"):
        numerical_gradient(np.sum, np.array([0, 1e-3, 1], np.float32), 1e-8)


@pytest.mark.parametrize("x", [{}, [], (), {"a": []}, {"a": {}}], ids=repr)
def test_nothing_is_evaluated_where_there_is_nothing_to_move(x):
    assert numerical_gradient(functions_of_x.never, x, bounds=(0.0, 1.0)) is not None


@pytest.mark.parametrize("h", [1e-50, 1e300])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_numpy_s_errors_are_not_set_off_by_what_is_refused(dtype, h):
    with np.errstate(all="raise"), pytest.raises(ValueError, match=r"x\[1\] must be finite"):
        numerical_gradient(functions_of_x.never, np.array([0.0, np.nan], dtype), h)


@pytest.mark.parametrize("name", STENCILS)
@settings(max_examples=30)
@given(data=st.data())
def test_nothing_outside_the_bounds_is_evaluated(name, data):
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    n = 4
    lower = data.draw(hnp.arrays(dtype, n, elements=st.floats(-3, 3, width=32)))
    width = data.draw(hnp.arrays(dtype, n, elements=st.floats(2.0**-6, 2, width=32)))
    upper = lower + width
    part = data.draw(hnp.arrays(dtype, n, elements=st.floats(0, 1, width=32)))
    x = np.clip(lower + part * width, lower, upper).astype(dtype)
    h = data.draw(st.sampled_from([None, 2.0**-10, 0.1, 1.0]))
    order = STENCILS[name].order
    coefficients = np.arange(1.0, order + 2)
    calls = []

    def f(x):
        assert ((x >= lower) & (x <= upper)).all()
        calls.append(1)
        return float(np.polynomial.polynomial.polyval(x.astype(float), coefficients).sum())

    gradient, info = numerical_gradient(
        f, x, h, stencil=name, bounds=(lower, upper), full_output=True
    )
    assert info.evaluations == len(calls)
    smallest = np.min(info.step)
    slope = np.polynomial.Polynomial(coefficients).deriv()(x.astype(float))
    # A polynomial of the order's degree: exact but for the rounding of x, of f and over h.
    size = n * np.polynomial.polynomial.polyval(5.0 + order, coefficients)
    allowed = BOUNDED * np.finfo(dtype).eps * size / smallest
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=allowed)


def test_the_formula_is_kept_where_it_fits():
    x = np.array([0.0, 0.5, 1.0])
    f = functions_of_x.rosenbrock
    inside = numerical_gradient(f, x, 0.25)
    bounded = numerical_gradient(f, x, 0.25, bounds=(0.0, 1.0))
    free = numerical_gradient(f, x, 0.25, bounds=(-np.inf, np.inf))
    assert free.tobytes() == inside.tobytes()
    assert bounded[1] == inside[1]
    assert bounded[0] != inside[0]


def test_bounds_for_structures():
    x = {"a": np.array([0.0]), "b": np.array([1.0, 2.0])}
    lower = {"a": 0.0, "b": np.array([0.0, 2.0])}
    gradient = numerical_gradient(total, x, bounds=(lower, np.inf))
    np.testing.assert_allclose(gradient["b"], [4.0, 32.0], rtol=10 * TRUNCATION)
    with pytest.raises(ValueError, match="structure of x"):
        numerical_gradient(total, x, bounds=({"a": 0.0}, 9.0))


# Counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "each", "once"), [("forward", 1, 1), ("backward", 1, 1),
                         ("central", 2, 0), ("five-point", 4, 0), ("six-point", 6, 0)])  # fmt: skip
def test_f_is_evaluated_as_often_as_documented(name, each, once):
    calls, x = [], np.ones(7)
    f = lambda x: calls.append(1) or float(x.sum())  # noqa: E731
    _, info = numerical_gradient(f, x, stencil=name, full_output=True)
    # One tells that f does not read x from outside, one is f(x).
    assert len(calls) == info.evaluations == 7 * each + 1 + 1
    calls.clear()
    numerical_gradient(f, x, stencil=name)
    assert len(calls) == 7 * each + once + 1
    calls.clear()
    _, info = numerical_gradient(lambda _: f(x), x, stencil=name, full_output=True)
    assert len(calls) == info.evaluations == 7 * each + 1 + 3


def test_a_compiled_f_is_compiled_once_and_every_evaluation_counted():
    @numba.njit
    def f(x, calls):
        calls[0] += 1
        return x[0] * x[-1]

    # One at x, and one more for its time where f had to be compiled.
    for n, once in ((7, 2), (7, 1), (4, 1)):
        calls = np.zeros(1)
        _, info = numerical_gradient(f, np.ones(n), args=(calls,), full_output=True)
        assert calls[0] == info.evaluations == n * 2 + 1 + once
    assert len(f.signatures) == 1


def test_full_output(way):
    f, options = way
    x = np.array([1.0, 2.0])
    gradient, info = numerical_gradient(f, x, 1e-3, full_output=True, **options)
    assert info.value == 9.0
    assert info.step == 1e-3
    assert info.evaluations >= 5
    assert 0 < info.seconds < 60
    assert (info.backend, info.workers) == ("serial", 1)
    assert isinstance(gradient, np.ndarray)


def test_progress_is_shown(way, capsys):
    f, options = way
    numerical_gradient(f, np.ones(5), progress=True, **options)
    assert "10/10" in capsys.readouterr().err


# Failures --------------------------------------------------------------------------------------


def test_an_exception_names_the_coordinate_and_x_is_restored():
    x = {"W": np.array([[1.0, 2.0]])}

    def f(x):
        if x["W"][0, 1] > 2:
            raise KeyError("mine")
        return 0.0

    with pytest.raises(KeyError, match="mine") as caught:
        numerical_gradient(f, x)
    assert x["W"].tolist() == [[1.0, 2.0]]
    told = caught.value.__notes__ if sys.version_info >= (3, 11) else [str(caught.value.__cause__)]
    assert told == ["f was evaluated at x['W'][0, 1] = 2.0 + 0.0001"]


def test_an_exception_in_a_compiled_or_batched_f_names_the_coordinate(way):
    f, options = way

    def fails(x):
        if x.min() < 2:
            raise ValueError("too small")
        return f(x)

    if f is cubes:
        fails = numba.njit(lambda x: 1 / (x[1] >= 2))
    x = np.array([3.0, 2.0])
    with pytest.raises((ValueError, ZeroDivisionError)) as caught:
        numerical_gradient(fails, x, **options)
    assert x.tolist() == [3.0, 2.0]
    if sys.version_info >= (3, 11):
        assert "x[1] = 2.0 - 0.0001" in caught.value.__notes__[0]


@numba.njit
def logarithms(x):
    return np.log(x[0] - 1) + np.log(x[1] - 1) + np.log(x[2] - 1)


@pytest.mark.parametrize("stencil", ["central", "backward"])
def test_a_value_that_is_not_finite_names_the_coordinate_and_the_side(way, stencil):
    f, options = way

    def logarithm(x):
        with np.errstate(all="ignore"):
            return logarithms.py_func(x.T)

    if f is cubes:
        logarithm = logarithms
    x = np.array([3.0, 1.00005, 2.0])
    with pytest.raises(FloatingPointError, match=r"f is nan at x\[1\] = 1.00005 - 0.0001"):
        numerical_gradient(logarithm, x, stencil=stencil, **options)
    assert x.tolist() == [3.0, 1.00005, 2.0]
    kept = numerical_gradient(logarithm, x, nonfinite="keep", stencil=stencil, **options)
    assert np.isnan(kept).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("returns", "stencil"),
    [(float, "central"), (np.float64, "central"), (np.atleast_1d, "central"), (complex, "complex")],
)
def test_after_a_value_that_is_not_finite_f_is_not_called_again(returns, stencil):
    calls = []

    def f(x):
        calls.append(x.copy())
        return returns(x[0] if x[1] == 1.0 else math.inf)

    x = np.ones(3000)
    with pytest.raises(FloatingPointError, match=r"f is .*inf.* at x\[1\] = 1.0 \+ "):
        numerical_gradient(f, x, stencil=stencil)
    assert calls[-1][1] != 1.0
    assert (np.array(calls[:-1])[:, 1] == 1.0).all()
    assert (x == 1.0).all()


def test_numbers_beyond_the_range_of_float64_are_finite_in_their_own_precision():
    x = np.ones(2, np.longdouble)
    large = x[0] * 2 * np.finfo(float).max
    if not np.isfinite(large):
        pytest.skip("longdouble has the range of float64 here")
    gradient = numerical_gradient(lambda x: np.atleast_1d(large * x.sum()), x, h=2.0**-8)
    assert gradient.tolist() == [large, large]


def test_f_of_x_itself_must_be_finite_where_it_is_used():
    with pytest.raises(FloatingPointError, match="f is inf at x"):
        numerical_gradient(lambda x: math.inf, np.ones(2), stencil="forward")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"args": 3.0}, TypeError, "args must be a tuple"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite must be"),
        ({"workers": 0}, ValueError, "workers must not be 0"),
        ({"workers": 1.5}, TypeError, "workers must be a whole number"),
        ({"workers": 2, "backend": "gpu"}, ValueError, "backend must be one of"),
        ({"stencil": "centre"}, ValueError, "stencil must be one of"),
    ],
)
def test_bad_options_are_refused_before_f_is_called(options, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        numerical_gradient(f, np.ones(2), **options)
    if "args" not in options:
        with pytest.raises(error, match=match):
            grad(f, **options)(np.ones(2))


def test_f_must_be_callable():
    with pytest.raises(TypeError, match="f must be callable"):
        numerical_gradient(3.0, np.ones(2))
    with pytest.raises(TypeError, match="f must be callable"):
        grad(3.0)


def test_the_points_of_one_batch_are_not_seen_by_the_next():
    x = np.random.default_rng(9).standard_normal(200)

    def products(points):
        return (points[:, 1:] * points[:, :-1]).sum(axis=1)

    gradient = numerical_gradient(products, x, 0.5, batched=True)
    expected = numerical_gradient(lambda x: float(x[1:] @ x[:-1]), x, 0.5)
    allowed = rounding("central", float, (x**2).sum(), 0.5)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=allowed)


def test_a_batched_f_must_return_one_number_a_point():
    with pytest.raises(TypeError, match=r"each of the .* points, .* got float64 of shape \(\)"):
        numerical_gradient(lambda points: points.sum(), np.ones(3), batched=True)
    with pytest.raises(TypeError, match="one array"):
        numerical_gradient(total, {"a": np.ones(2)}, batched=True)


# grad ------------------------------------------------------------------------------------------


def test_grad_is_the_gradient_as_a_function():
    g = grad(python_cubes, 0.5, stencil="five-point")
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(
        g(x), numerical_gradient(python_cubes, x, 0.5, stencil="five-point")
    )


def test_scipy_minimises_with_it():
    optimize = pytest.importorskip("scipy.optimize")
    f = functions_of_x.rosenbrock
    found = optimize.minimize(f, np.zeros(6), jac=grad(f), method="BFGS")
    np.testing.assert_allclose(found.x, 1.0, atol=MINIMUM)
    scaled = optimize.minimize(
        lambda x, a: a * f(x), np.zeros(4), args=(2.0,), jac=grad(lambda x, a: a * f(x))
    )
    np.testing.assert_allclose(scaled.x, 1.0, atol=MINIMUM_SCALED)


def test_the_public_names():
    assert all(hasattr(fastgrad, name) for name in fastgrad.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gradient_descent'"):
        _ = fastgrad.gradient_descent
