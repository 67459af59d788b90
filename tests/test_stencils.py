from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import rounding

from fastgrad import STENCILS, Stencil, grad, numerical_gradient, step_sweep
from fastgrad._formulas.second_order import second
from fastgrad._formulas.stencils import named, one_sided

ALL = [*STENCILS.values(), *(one_sided(order, side) for order in range(1, 9) for side in (1, -1))]


@pytest.mark.parametrize("stencil", [*ALL, *map(second, ALL)], ids=lambda s: str(s.offsets))
def test_the_weights_are_the_rational_numbers_that_make_the_formula_exact(stencil):
    # One unknown weight a point, exact for as many powers: solved over the fractions.
    offsets = [Fraction(offset) for offset in stencil.offsets]
    n = len(offsets)
    # Of the d-th power, the k-th derivative at 0 is k! where d is k, and 0 elsewhere.
    wanted = [Fraction(stencil.derivative * (d == stencil.derivative)) for d in range(n)]
    rows = [[o**d for o in offsets] + [wanted[d]] for d in range(n)]
    for k in range(n):
        pivot = next(r for r in range(k, n) if rows[r][k] != 0)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for r in range(n):
            if r != k:
                rows[r] = [a - rows[r][k] * b for a, b in zip(rows[r], rows[k], strict=True)]
    exact = [float(row[-1]) for row in rows]
    np.testing.assert_allclose(stencil.weights, exact, rtol=0, atol=2e-13 * max(map(abs, exact)))


@pytest.mark.parametrize(("first", "offsets", "weights"), [
    (STENCILS["central"], (1, -1, 0), (1, 1, -2)),
    (STENCILS["five-point"], (1, -1, 2, -2, 0), (16 / 12, 16 / 12, -1 / 12, -1 / 12, -30 / 12)),
    (one_sided(2, +1), (1, 2, 3, 0), (-5, 4, -1, 2)),
    (one_sided(4, -1), (-1, -2, -3, -4, -5, 0), (-77 / 6, 107 / 6, -13, 61 / 12, -5 / 6, 15 / 4)),
])  # fmt: skip
def test_second_derivatives_are_those_of_the_literature(first, offsets, weights):
    # B. Fornberg, Mathematics of Computation 51 (1988), 699-706, tables 1 and 3.
    formula = second(first)
    assert formula.offsets == offsets
    np.testing.assert_allclose(formula.weights, weights, rtol=1e-15)
    assert formula.order == first.order


def test_points_of_ones_own_get_one_more_where_they_are_too_few():
    uneven = Stencil(offsets=(0.0, 0.25, 0.5), weights=(-6.0, 8.0, -2.0), order=2)
    assert second(uneven).offsets == (0.25, 0.5, 0.75, 0.0)
    enough = Stencil(offsets=(0.0, 1.0, 2.0, -1.0), weights=(0.0, 0.5, 0.0, -0.5), order=2)
    assert second(enough).offsets == (1.0, 2.0, -1.0, 0.0)


@pytest.mark.parametrize("name", STENCILS)
@settings(max_examples=40)
@given(data=st.data())
def test_exact_on_polynomials_up_to_the_order(name, data):
    order = STENCILS[name].order
    coefficients = data.draw(st.lists(st.integers(-9, 9), min_size=1, max_size=order + 1))
    x = data.draw(st.integers(-16, 16)) / 8
    p = np.polynomial.Polynomial(coefficients)
    gradient = numerical_gradient(lambda x: p(x[0]), np.array([x]), 0.25, stencil=name)
    size = sum(abs(c) * 4.0**k for k, c in enumerate(coefficients))
    assert abs(gradient[0] - p.deriv()(x)) <= rounding(name, float, max(1.0, size), 0.25)


@pytest.mark.parametrize(("name", "order"), [("forward", 1), ("backward", 1), ("central", 2),
                                             ("five-point", 4), ("six-point", 6)])  # fmt: skip
def test_the_error_falls_with_the_order(name, order):
    def error(h):
        gradient = numerical_gradient(lambda x: np.exp(x[0]), np.array([0.3]), h, stencil=name)
        return abs(gradient[0] - np.exp(0.3))

    assert np.log2(error(0.2) / error(0.1)) == pytest.approx(order, abs=0.15)


def test_a_stencil_of_ones_own():
    three_point = Stencil(offsets=(0.0, 1.0, 2.0), weights=(-1.5, 2.0, -0.5), order=2)
    gradient = numerical_gradient(lambda x: x[0] ** 2, np.array([3.0]), 0.5, stencil=three_point)
    assert gradient[0] == pytest.approx(6.0, abs=1e-13)


@pytest.mark.parametrize(
    ("offsets", "weights", "order", "match"),
    [
        ((1.0, -1.0), (0.5, 0.5), 2, r"offsets\*\*0 must be 0"),
        ((1.0, -1.0), (1.0, -1.0), 2, r"offsets\*\*1 must be 1"),
        ((1.0, 0.0), (1.0, -1.0), 2, "not of order 2"),
        ((1.0, 1.0), (0.5, 0.5), 1, "distinct offsets"),
        ((1.0, -1.0), (0.5,), 2, "as many weights"),
        ((1.0, -1.0), (0.5, -0.5), 0, "order must be"),
        ((1.0, -1.0), (np.nan, -0.5), 2, "must be 0"),
        ((1.0, 2.0), (np.inf, np.inf), 1, "must be 0"),
    ],
)
def test_a_wrong_stencil_is_refused(offsets, weights, order, match):
    with pytest.raises(ValueError, match=match):
        Stencil(offsets, weights, order)


@pytest.mark.parametrize("wrong", ["central ", "", 3, None, (1, -1)])
def test_an_unknown_name_is_refused(wrong):
    with pytest.raises(ValueError, match=r"stencil must be one of .*, six-point or a fastgrad"):
        named(wrong)


@pytest.mark.parametrize("call", [
    numerical_gradient, lambda f, x, **options: grad(f, **options)(x),
    lambda f, x, **options: step_sweep(f, x, **options),
])  # fmt: skip
def test_complex_is_named_where_it_is_known(call):
    with pytest.raises(ValueError, match=r"one of forward, .*, six-point, complex or a fastgrad"):
        call(np.sum, np.ones(2), stencil="centre")
