"""`stencil="complex"`: exact to rounding, and never 0 without a word."""

import cmath
import doctest
import math
import sys

import numba
import numpy as np
import pytest
from functions_of_x import never
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import COMPLEX, FLOAT32

from fastgrad import grad, jacobian, numerical_gradient
from fastgrad._evaluation import values

# Analytic functions of one variable, with their derivatives; the first is Squire's and Trapp's.
PAIRS = {
    "power": (lambda x: x**4.5, lambda x: 4.5 * x**3.5),
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "sin of exp": (lambda x: np.sin(np.exp(x)), lambda x: np.cos(np.exp(x)) * np.exp(x)),
    "1 / x": (lambda x: 1 / x, lambda x: -1 / x**2),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "arctan": (np.arctan, lambda x: 1 / (1 + x**2)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=40)
@given(x=st.floats(0.25, 4))
def test_exact_to_rounding(name, x):
    f, derivative = PAIRS[name]
    gradient = numerical_gradient(lambda x: f(x[0]), np.array([x]), stencil="complex")
    # sin(exp(x)) near a zero of its derivative: the rounding of exp(x), up to 55, is inherited.
    absolute = 55 * 55 * COMPLEX if name == "sin of exp" else 0
    np.testing.assert_allclose(gradient[0], derivative(x), rtol=4 * COMPLEX, atol=absolute)


@pytest.mark.parametrize("scale", [1e-100, 1e-18, 1e-8, 1.0, 1e8, 1e18, 1e100])
@pytest.mark.parametrize("name", ["log", "1 / x", "sqrt"])
def test_at_any_scale_of_x(name, scale):
    f, derivative = PAIRS[name]
    x = np.array([1.5 * scale])
    gradient = numerical_gradient(lambda x: f(x).sum(), x, stencil="complex")
    np.testing.assert_allclose(gradient, derivative(x), rtol=4 * COMPLEX)


def test_a_step_is_never_so_small_that_digits_are_lost():
    gradient, info = numerical_gradient(
        lambda x: x.sum() / 3, np.array([1e-300]), stencil="complex", full_output=True
    )
    assert info.step.tolist() == [1e-292]
    np.testing.assert_allclose(gradient, 1 / 3, rtol=COMPLEX)


def test_a_sine_far_out_where_a_relative_step_would_be_too_long():
    x = np.array([1e15])
    gradient = numerical_gradient(lambda x: np.sin(x).sum(), x, stencil="complex")
    np.testing.assert_allclose(gradient, np.cos(x), rtol=4 * COMPLEX)


def test_an_array_a_structure_and_arguments():
    x = {"W": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": [np.array([0.5]), np.array(2.0)]}
    saved = x["W"].copy()
    gradient = numerical_gradient(
        lambda x, a: a * np.exp(x["W"] / 4).sum() * x["b"][0][0] + x["b"][1] ** 2,
        x,
        args=(3.0,),
        stencil="complex",
    )
    np.testing.assert_allclose(gradient["W"], 3 * 0.5 * np.exp(saved / 4) / 4, rtol=4 * COMPLEX)
    np.testing.assert_allclose(gradient["b"][0], 3 * np.exp(saved / 4).sum(), rtol=4 * COMPLEX)
    assert gradient["b"][1] == pytest.approx(4.0, rel=COMPLEX)
    assert x["W"].tobytes() == saved.tobytes()


@pytest.mark.parametrize("order", ["C", "F", "strided", "swapped"])
def test_memory_orders(order):
    x = np.arange(1.0, 7.0).reshape(2, 3)
    x = {"C": x, "F": np.asfortranarray(x), "strided": np.repeat(x, 2, axis=1)[:, ::2],
         "swapped": x.astype(">f8")}[order]  # fmt: skip
    weights = np.array([[1.0, -1.0, 2.0], [3.0, 5.0, -4.0]])
    gradient = numerical_gradient(lambda z: (weights * z**2).sum(), x, stencil="complex")
    np.testing.assert_allclose(gradient, 2 * weights * x.astype(float), rtol=4 * COMPLEX)
    assert gradient.dtype == x.dtype


def test_float32_is_computed_in_complex128():
    x = np.array([0.5, 1.5], np.float32)
    seen = set()

    def f(z):
        seen.add(z.dtype)
        return np.exp(z).sum()

    gradient = numerical_gradient(f, x, stencil="complex")
    assert seen == {np.dtype(complex)}
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, np.exp(x), rtol=FLOAT32)


def test_extended_precision_is_kept():
    x = np.array([1.5], np.longdouble)
    gradient = numerical_gradient(lambda z: np.exp(z).sum(), x, stencil="complex")
    np.testing.assert_allclose(gradient, np.exp(x), rtol=16 * np.finfo(np.longdouble).eps)


def test_a_step_of_ones_own_shows_its_truncation():
    # Im (x + ih)³ / h = 3x² - h², exactly.
    x, h = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    gradient, info = numerical_gradient(
        lambda z: (z**3).sum(), x, h, stencil="complex", full_output=True
    )
    np.testing.assert_allclose(gradient, [2.75, 11.0], rtol=4 * COMPLEX)
    assert info.step.tolist() == [0.5, 1.0]
    relative = numerical_gradient(lambda z: (z**3).sum(), x, relative_step=0.5, stencil="complex")
    np.testing.assert_allclose(relative, [2.75, 11.0], rtol=4 * COMPLEX)


def test_f_is_evaluated_as_often_as_documented():
    calls = []
    _, info = numerical_gradient(
        lambda z: calls.append(z.copy()) or (z**2).sum(),
        np.array([3.0, 0.0, 1e-5]),
        stencil="complex",
        full_output=True,
    )
    assert len(calls) == info.evaluations == 5  # one of them tells that f reads x nowhere else
    np.testing.assert_allclose(info.step, [1e-20, 1e-20, 1e-25], rtol=COMPLEX)
    assert info.value == pytest.approx(9 + 1e-10)
    # One coordinate at a time, by its step, and the real part never.
    np.testing.assert_array_equal(np.array(calls[1:]).imag, [[0, 0, 0], *np.diag(info.step)])
    np.testing.assert_array_equal(np.array(calls).real, [[3, 0, 1e-5]] * 5)


def test_many_points_at_once():
    x = np.linspace(0.5, 2, 300).reshape(3, 100)
    longest = []

    def f(points):
        longest.append(len(points))
        return np.exp(points / 4).sum(axis=(1, 2))

    gradient, info = numerical_gradient(
        f, x, stencil="complex", batched=True, full_output=True, h=1e-30
    )
    np.testing.assert_allclose(gradient, np.exp(x / 4) / 4, rtol=4 * COMPLEX)
    assert info.value == pytest.approx(np.exp(x / 4).sum(), rel=100 * COMPLEX)
    assert (sum(longest), max(longest), info.step) == (info.evaluations, 64, 1e-30)
    assert info.evaluations == 302
    with pytest.raises(
        TypeError, match="array of complex numbers where stencil='complex', got float64"
    ):
        numerical_gradient(lambda z: z.real.sum(axis=(1, 2)), x, stencil="complex", batched=True)
    with pytest.raises(TypeError, match="f reads x in another way"):
        numerical_gradient(lambda z: (z * x).sum(axis=(1, 2)), x, stencil="complex", batched=True)


def test_nothing_to_differentiate():
    assert numerical_gradient(never, np.empty((0, 3)), stencil="complex").shape == (0, 3)


@pytest.mark.parametrize("x", [2.0, [2.0], (np.array(2.0),)], ids=["number", "list", "tuple"])
def test_cmath_and_numbers(x):
    def f(z):
        return cmath.exp(complex(z if np.ndim(z) == 0 else z[0]))

    gradient = numerical_gradient(f, x, stencil="complex")
    value = gradient[0] if isinstance(gradient, tuple) else gradient
    np.testing.assert_allclose(value, np.exp(2.0), rtol=COMPLEX)


def test_the_doctests_hold():
    failed, attempted = doctest.testmod(values)
    assert attempted > 0
    assert failed == 0


# What is not complex is refused ----------------------------------------------------------------


def assigns_to_real(z):
    out = np.zeros(z.shape)
    out[:] = z.real
    return out.sum()


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.abs(z).sum(),
        lambda z: z.real.sum(),
        lambda z: float(z.real.sum()),
        lambda z: 3,
        lambda z: None,
        assigns_to_real,
    ],
)
def test_an_f_that_returns_no_complex_number_is_refused(f):
    with pytest.raises(TypeError, match="f must return a complex number where stencil='complex'"):
        numerical_gradient(f, np.ones(3), stencil="complex")


def test_a_book_closure_is_refused():
    x = np.array([1.0, 2.0])
    with pytest.raises(TypeError, match="it ignores its argument"):
        numerical_gradient(lambda _: np.sum(x**2), x, stencil="complex")
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda z, x: (z * x).sum(),  # half of the derivative would be missing
        lambda z, x: (x**2).sum() + 0j,
        lambda z, x: 1 / complex(x[0] <= 1) + z.sum(),  # raises while x is elsewhere
    ],
)
def test_an_f_that_also_reads_x_from_elsewhere_is_refused(f):
    x = np.array([1.0, 2.0])
    for options in ({"args": (x,)}, {}):
        with pytest.raises(TypeError, match="f reads x in another way than by its argument"):
            numerical_gradient(f if options else lambda z: f(z, x), x, stencil="complex", **options)
        assert x.tolist() == [1.0, 2.0]


def test_a_number_that_is_not_complex_at_one_point_only_is_refused():
    with pytest.raises(TypeError, match="f must return a complex number"):
        numerical_gradient(lambda z: 1.0 if z[1].imag else z.sum(), np.ones(3), stencil="complex")


def test_an_unknown_name_is_told_this_one():
    for call in (numerical_gradient, jacobian, lambda f, x, **options: grad(f, **options)(x)):
        with pytest.raises(ValueError, match=r"six-point, complex or a fastgrad\.Stencil, got 'i'"):
            call(never, np.ones(2), stencil="i")


def test_more_than_one_number_is_refused():
    with pytest.raises(TypeError, match=r"one number, got an array of shape \(3,\)"):
        numerical_gradient(lambda z: z, np.ones(3), stencil="complex")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bounds": (0, 1)}, r"bounds do not matter where stencil='complex', got \(0, 1\)"),
        ({"h": np.array([1e-20, 0.0])}, r"x\[1\] = 1.0 has the step 0.0"),
        ({"h": 0.0}, "h must be a finite number"),
        ({"h": 1e-20, "relative_step": 1e-20}, "not both"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        numerical_gradient(never, np.ones(2), stencil="complex", **options)
    with pytest.raises(ValueError, match=match):
        grad(never, stencil="complex", **options)(np.ones(2))


def test_x_must_be_finite():
    with pytest.raises(ValueError, match=r"x\[1\] must be finite, got nan"):
        numerical_gradient(never, np.array([1.0, math.nan]), stencil="complex")


def test_an_exception_names_the_coordinate_and_x_is_restored():
    x = np.array([1.0, 2.0])

    def f(z):
        if z[1].imag:
            raise KeyError("mine")
        return z.sum()

    with pytest.raises(KeyError, match="mine") as caught:
        numerical_gradient(f, x, stencil="complex")
    assert x.tolist() == [1.0, 2.0]
    told = caught.value.__notes__ if sys.version_info >= (3, 11) else [str(caught.value.__cause__)]
    assert told == ["f was evaluated at x[1] = 2.0 + 1e-20j"]


def test_an_interrupt_while_x_is_elsewhere_gives_it_back():
    x = np.array([1.0, -0.0, 2.0])
    before = x.tobytes()

    def f(z):
        assert (x != [1.0, 0.0, 2.0]).all()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        numerical_gradient(f, x, stencil="complex")
    assert x.tobytes() == before


def test_values_that_are_not_finite():
    def f(z):
        return z.sum() + (complex(math.nan) if z[1].imag else 0)

    x = np.ones(3)
    with pytest.raises(FloatingPointError, match=r"f is .*nan.* at x\[1\] = 1.0 \+ 1e-20j"):
        numerical_gradient(f, x, stencil="complex")
    with pytest.raises(FloatingPointError, match=r"f is .*nan.* at x\[0\] = 1.0 \+ 1e-20j"):
        numerical_gradient(lambda z: z.sum() * math.nan, x, stencil="complex")
    kept = numerical_gradient(f, x, stencil="complex", nonfinite="keep")
    assert kept[[0, 2]].tolist() == [1.0, 1.0]


# Compiled, and on workers ----------------------------------------------------------------------


@numba.njit
def compiled(x):
    return np.exp(x / 10).sum() * x[0]


def exact(x):
    derivative = x[0] * np.exp(x / 10) / 10
    derivative[0] += np.exp(x / 10).sum()
    return derivative


def test_a_compiled_f_is_compiled_for_complex_numbers():
    x = np.arange(1.0, 6.0)
    gradient = numerical_gradient(compiled, x, stencil="complex")
    np.testing.assert_allclose(gradient, exact(x), rtol=4 * COMPLEX)
    only_real = numba.njit("float64(float64[:])")(lambda x: x.sum())
    with pytest.raises(TypeError, match="No matching definition"):
        numerical_gradient(only_real, x, stencil="complex")


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("f", "backend"),
    [(compiled, "threads"), (compiled.py_func, "threads"), (compiled.py_func, "processes")],
)
def test_the_bits_do_not_depend_on_the_workers(backend, f):
    x = np.linspace(0.5, 3, 40)
    here = numerical_gradient(f, x, stencil="complex")
    there, info = numerical_gradient(
        f, x, stencil="complex", workers=2, backend=backend, full_output=True
    )
    assert (info.backend, info.workers) == (backend, 2)
    assert there.tobytes() == here.tobytes()
    np.testing.assert_allclose(there, exact(x), rtol=4 * COMPLEX)


def test_grad_takes_it():
    x = np.array([1.0, 2.0])
    g = grad(lambda z, a: (a * z**2).sum(), stencil="complex")
    np.testing.assert_allclose(g(x, 3.0), 6 * x, rtol=4 * COMPLEX)
