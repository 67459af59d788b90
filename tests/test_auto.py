"""The algorithms of `h="auto"` and `h="quick"`: right derivatives and honest errors."""

import math
import random
import zlib
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.deceivers import SMOOTH
from fastgrad import numerical_gradient
from fastgrad._derivatives.lines import RULES
from fastgrad._formulas.line import Line

EPS = 2.0**-52
SINGLE = 2.0**-23
INF = math.inf


class Found(NamedTuple):
    derivative: float
    error: float
    evaluations: int


def differentiate(f, x, rule="auto", lower=-INF, upper=INF, eps=EPS, grid=EPS):
    """Drive the rule; check what it asks for."""
    kind = np.float32 if grid > EPS else np.float64
    largest = float(np.finfo(kind).max)
    search = RULES[rule](Line(x, f(x), eps, grid, max(lower, -largest), min(upper, largest)))
    asked, values = 0, None
    try:
        while True:
            points = [x + move for move in search.send(values)]
            asked += len(points)
            assert all(lower <= point <= upper and kind(point) == point for point in points)
            values = [_value(f, point) for point in points]
    except StopIteration as stop:
        return Found(stop.value.value, stop.value.error, asked)


def _value(f, x):
    try:
        return f(x)
    except (ValueError, ArithmeticError):
        return math.nan


def check(found, truth, tolerance=1e-5):
    """Right, or an error that says so."""
    error = abs(found.derivative - truth)
    assert error <= tolerance * max(1, abs(truth)) or error <= 10 * found.error


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions(name, rule):
    f, derivative = SMOOTH[name]
    rng = random.Random(name)
    for _ in range(30):
        x = rng.uniform(-3, 3)
        found = differentiate(f, x, rule)
        size = max(1, abs(f(x)), abs(derivative(x)))
        assert abs(found.derivative - derivative(x)) <= (1e-12 if rule == "auto" else 1e-10) * size
        assert found.evaluations <= 30


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("gap", [0.0, 1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("name", SMOOTH)
def test_near_a_bound(name, gap, rule):
    f, derivative = SMOOTH[name]
    rng = random.Random(f"{name} {gap}")
    for _ in range(20):
        x = rng.uniform(-3, 3)
        for bounds in ((x - gap, INF), (-INF, x + gap)):
            found = differentiate(f, x, rule, *bounds)
            assert abs(found.derivative - derivative(x)) <= 1e-8 * max(1, abs(derivative(x)))


def rastrigin(x):
    return 10 + x * x - 10 * math.cos(2 * math.pi * x)


def rastrigin_slope(x):
    return 2 * x + 20 * math.pi * math.sin(2 * math.pi * x)


@pytest.mark.parametrize("rule", RULES)
def test_rastrigin(rule):
    rng = random.Random(1)
    for x in [4.612748, *(rng.uniform(-5.12, 5.12) for _ in range(100))]:
        found = differentiate(rastrigin, x, rule)
        assert abs(found.derivative - rastrigin_slope(x)) <= 1e-8 * 60


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("turns", [1, 2, 3, 10, 32, 1000, 4096, 2**14])
@pytest.mark.parametrize("x", [1.0, 3.0, 10.0, 1990.0, 2013.0, 2030.0, 0.3])
def test_whole_periods_within_the_steps(turns, x, rule):
    omega = 2 * math.pi * turns
    found = differentiate(lambda x: math.sin(omega * x), x, rule)
    truth = omega * math.cos(omega * x)
    assert abs(found.derivative - truth) <= omega * (1e-7 + 20 * EPS * omega * x)


@pytest.mark.parametrize("rule", RULES)
def test_a_narrow_line_far_from_0(rule):
    """The chi-square of a spectral line at 6563, 2 wide."""
    grid = np.arange(6540, 6590, 0.5)

    def line(center):
        return np.exp(-((grid - center) ** 2) / 8)

    data = line(6563.7)
    slope = np.sum(-2 * (data - line(6563)) * line(6563) * (grid - 6563) / 4)
    found = differentiate(lambda c: float(np.sum((data - line(c)) ** 2)), 6563.0, rule)
    assert abs(found.derivative - slope) <= 1e-9 * abs(slope)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [0.0, 5e-324, 1e-300, -1e-100, 1e-18, 1e-9, -1e-5])
def test_tiny_x(x, rule):
    for f, truth in ((math.exp, math.exp(x)), (math.sin, math.cos(x)), (math.cos, -math.sin(x))):
        found = differentiate(f, x, rule)
        assert abs(found.derivative - truth) <= 1e-10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [1e6, -1e9, 1e12])
def test_huge_x(x, rule):
    assert differentiate(lambda x: x, x, rule).derivative == pytest.approx(1, rel=1e-12)
    assert differentiate(lambda x: x * x, x, rule).derivative == pytest.approx(2 * x, rel=1e-11)
    found = differentiate(lambda x: math.sin(x / 100), x, rule)
    check(found, math.cos(x / 100) / 100, 1e-6)
    check(differentiate(math.sin, x, rule), math.cos(x), 1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [-1.7e308, 1e300, 1.7e308])
def test_the_largest_numbers(x, rule):
    found = differentiate(lambda x: x, x, rule)
    assert abs(found.derivative - 1) <= 1e-6


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("unit", [1e-310, 1e-300, 1e-12, 1e12, 1e300])
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("x", [1e-9, 0.7, 2e5])
def test_scales_of_x_and_f(x, length, unit, rule):
    if x / length > 1e9:
        pytest.skip("sin itself is wrong")
    found = differentiate(lambda x: unit * math.sin(x / length), x, rule)
    truth = unit * math.cos(x / length) / length
    error = abs(found.derivative - truth)
    assert error <= 1e-6 * unit / length or error <= found.error


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [0.0, 1e-9, 1.0, -3.3, 1e9])
def test_constants_and_lines(x, rule):
    for constant in (0.0, 5.0, 5e-324, -1e300):
        found = differentiate(lambda x, constant=constant: constant, x, rule)
        assert found.derivative == 0
        assert found.error <= 1e-14 * abs(constant) / max(abs(x), 0.3) + 1e-300
        assert found.evaluations <= 12
    found = differentiate(lambda x: 3 * x - 2, x, rule)
    assert abs(found.derivative - 3) <= 1e-11


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", [1e-3, 1e-5, 1e-7, 1e-10, 1e-13])
def test_noise_is_in_the_estimate(level, rule):
    def f(x):
        return math.exp(x) * (1 + level * (zlib.crc32(np.float64(x).tobytes()) / 2**31 - 1))

    rng = random.Random(2)
    for _ in range(40):
        x = rng.uniform(-2, 2)
        found = differentiate(f, x, rule)
        check(found, math.exp(x))
        assert abs(found.derivative - math.exp(x)) <= (1e3 if rule == "auto" else 1e5) * level
        assert found.evaluations <= 80


@pytest.mark.parametrize("rule", RULES)
def test_rows_of_a_table_that_agree_by_chance_in_noise(rule):
    """The first three rows say -1.3168."""
    f, derivative = SMOOTH["exp(sin)"]
    x, level = 2.8039870444479735, 2.5133540825228582e-06

    def noisy(x):
        return f(x) * (1 + level * (zlib.crc32(np.float64(x).tobytes()) / 2**31 - 1))

    check(differentiate(noisy, x, rule), derivative(x))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("grid", [EPS, SINGLE])
def test_single_precision(grid, rule):
    rng = random.Random(3)
    for f, derivative in SMOOTH.values():
        for _ in range(10):
            x = float(np.float32(rng.uniform(-2, 2)))
            found = differentiate(
                lambda x, f=f: float(np.float32(f(x))), x, rule, eps=SINGLE, grid=grid
            )
            check(found, derivative(x))
            assert abs(found.derivative - derivative(x)) <= 1e-3 * max(1, abs(derivative(x)))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("distance", [0.3, 1e-2, 1e-5, 1e-9])
def test_the_edge_of_a_domain(distance, rule):
    found = differentiate(math.log, distance, rule)
    assert found.derivative == pytest.approx(1 / distance, rel=1e-9)
    x = 1 - distance
    found = differentiate(lambda x: math.sqrt(1 - x), x, rule)
    assert found.derivative == pytest.approx(-0.5 / math.sqrt(1 - x), rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("x", [0.0, 1.0, -2.5])
def test_a_domain_that_ends_at_x(x, side, rule):
    def f(t):
        return math.exp(t) + 0 * math.sqrt(side * (t - x))

    assert differentiate(f, x, rule).derivative == pytest.approx(math.exp(x), rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_finite_nowhere(rule):
    found = differentiate(lambda t: 0.0 if t == 1 else math.nan, 1.0, rule)
    assert math.isnan(found.derivative)
    assert found.error == INF


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [709.0, 709.7, -740.0])
def test_overflow_nearby(x, rule):
    assert differentiate(math.exp, x, rule).derivative == pytest.approx(math.exp(x), rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_kinks(rule):
    found = differentiate(abs, 0.0, rule)
    assert abs(found.derivative) <= 1
    assert 0.1 <= found.error <= 10
    for gap in (0.3, 1e-2, 1e-4, 1e-7):
        found = differentiate(lambda x, gap=gap: abs(x - 1) + math.sin(x), 1 + gap, rule)
        assert found.derivative == pytest.approx(1 + math.cos(1 + gap), abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("gap", [0.3, 1e-1, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8])
def test_the_flat_side_of_a_kink(gap, rule):
    found = differentiate(lambda x: max(0.0, x - 1 - gap), 1.0, rule)
    assert abs(found.derivative) <= (0 if gap > 1e-6 else found.error)
    assert found.evaluations <= 40
    for f in (
        lambda x: 3 + max(0.0, x - 1 - gap),
        lambda x: min(max(x, 0.0), 1 - gap),
        lambda x: max(x, 1 + gap) ** 2,
    ):
        found = differentiate(f, 1.0, rule)
        assert abs(found.derivative) <= (1e-9 if gap > 1e-5 else 2 * found.error)
    found = differentiate(lambda x: max(0.0, x - 1 - gap) + x / 2, 1.0, rule)
    assert abs(found.derivative - 0.5) <= 2 * found.error


@pytest.mark.parametrize("rule", RULES)
def test_rounded_to_few_digits_or_stairs(rule):
    """No difference tells which: the estimate allows for both, or the slope was not lost."""
    rng = random.Random(6)
    for digits in (2, 3, 4):
        for x in [0.10844, *(rng.uniform(-5, 5) for _ in range(40))]:
            found = differentiate(lambda x, n=digits: round(x * x, n), x, rule)
            check(found, 2 * x)
            check(differentiate(lambda x, n=digits: round(math.sin(x), n), x, rule), math.cos(x))
    for x in [445.57, *(rng.uniform(1, 900) for _ in range(40))]:
        check(differentiate(lambda x: round(x, 3), x, rule), 0)
        check(differentiate(math.floor, math.floor(x) + 0.5, rule), 0)


@pytest.mark.parametrize("rule", RULES)
def test_extrema_of_narrow_functions(rule):
    for x in (1990.25, 2005.0, 2021.0):
        omega = 2 * math.pi * 365.25
        found = differentiate(lambda t, w=omega: math.sin(w * t), x, rule)
        assert abs(found.derivative - omega * math.cos(omega * x)) <= 1e-6 * omega
    for width in (1e-2, 1e-5, 1e-7):
        found = differentiate(lambda x, w=width: math.exp(-min(700, ((x - 5) / w) ** 2)), 5.0, rule)
        assert abs(found.derivative) <= 1e-6 / width
        assert found.evaluations <= 40


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lower", [-INF, 0.0])
def test_short_lengths_at_0(lower, rule):
    rng = random.Random(7)
    for _ in range(60):
        k, phase = 10 ** rng.uniform(0, 12), rng.uniform(0, 6)
        found = differentiate(lambda t, k=k, p=phase: math.sin(k * t + p), 0.0, rule, lower)
        check(found, k * math.cos(phase), 1e-5 * k)
        assert found.evaluations <= 60
    found = differentiate(lambda x: (1 + x / 1e-9) ** -12 - (1 + x / 1e-9) ** -6, 0.0, rule, lower)
    assert found.derivative == pytest.approx(-6e9, rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("level", [1e-2, 1e-4])
def test_noise_that_drowns_f(level, rule):
    """As large a step as that of other functions, and an honest error."""
    for x in np.linspace(-3, 3, 20).tolist():
        found = differentiate(
            lambda x: (
                (1e4 + math.sin(x))
                * (1 + level * (zlib.crc32(np.float64(x).tobytes()) / 2**31 - 1))
            ),
            x,
            rule,
        )
        assert abs(found.derivative - math.cos(x)) <= 3 * found.error
        assert found.evaluations <= 50


@pytest.mark.parametrize("rule", RULES)
def test_extrema(rule):
    for s in (0.0, 2.0, 100.0):
        for shift in (0.0, 1e-3, 1e-7):
            x = s + shift
            found = differentiate(lambda x, s=s: math.cos(x - s), x, rule)
            assert abs(found.derivative + math.sin(x - s)) <= 1e-10


@pytest.mark.parametrize("rule", RULES)
def test_waves_on_a_trend(rule):
    """The table sees the trend alone, as the waves are shorter than its steps and small."""
    rng = random.Random(5)
    for _ in range(60):
        x, omega, a = rng.uniform(1, 10), 10 ** rng.uniform(2, 5), 10 ** rng.uniform(-5, -2)
        found = differentiate(lambda x, a=a, w=omega: x * x + a * math.sin(w * x), x, rule)
        truth = 2 * x + a * omega * math.cos(omega * x)
        check(found, truth)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("x", [0.0, 5e-324, -1e-40, 2.59, -1.7e308])
def test_values_without_sense(x, rule):
    """Whatever f returns, the search ends, with an error that is no NaN."""
    rng = random.Random(4)
    wild = [0.0, 5e-324, 1e-300, 1.0, -1e30, 1e308, INF, -INF, math.nan]
    for _ in range(100):
        found = differentiate(lambda t: 1.0 if t == x else rng.choice(wild), x, rule)
        assert found.error >= 0
        assert math.isfinite(found.derivative) or found.error == INF


def cases(count):
    """Yield f, its derivative at x, x and bounds: smooth, periodic, one-sided, noisy, any scale."""
    rng = random.Random(11)
    for k in range(count):
        f, derivative = SMOOTH[rng.choice(list(SMOOTH))]
        x, lower, upper = rng.uniform(-3, 3), -INF, INF
        kind = k % 5
        if kind == 0:
            omega = 10 ** rng.uniform(0, 3)
            yield lambda x, w=omega: math.sin(w * x), omega * math.cos(omega * x), x, lower, upper
            continue
        if kind == 1:
            lower = x - rng.choice([0, 1e-9, 1e-3])
        if kind == 2:
            level = 10 ** rng.uniform(-12, -4)
            yield (
                lambda x, f=f, a=level: (
                    f(x) * (1 + a * (zlib.crc32(np.float64(x).tobytes()) / 2**31 - 1))
                ),
                derivative(x),
                x,
                lower,
                upper,
            )
            continue
        length = 10 ** rng.uniform(-12, 12) if kind == 3 else 1.0
        x *= length
        yield lambda x, f=f, s=length: f(x / s), derivative(x / length) / length, x, lower, upper


@pytest.mark.parametrize("rule", RULES)
def test_estimates_are_honest(rule):
    """At most 1 in 1,000 is off by more than ten times its estimate and 1e-5."""
    silent = 0
    for f, truth, x, lower, upper in cases(3000):
        found = differentiate(f, x, rule, lower, upper)
        error = abs(found.derivative - truth)
        silent += error > 10 * found.error and error > 1e-5 * max(1, abs(truth))
    assert silent <= 3


@pytest.mark.parametrize("name", SMOOTH)
def test_as_scipy_finds_it(name):
    scipy_derivative = pytest.importorskip("scipy.differentiate").derivative  # from 1.15 on
    f = SMOOTH[name][0]
    x = 0.6
    found = differentiate(f, x)
    theirs = scipy_derivative(np.vectorize(f), x)
    assert abs(found.derivative - theirs.df) <= 1e-9


def test_evaluations_are_few():
    """As many as promised: two looks, and tables that polynomials end early."""
    assert differentiate(lambda x: 3 * x * x - x + 2, 1.5).evaluations <= 6
    assert differentiate(lambda x: x**4 + x**3, 1.5).evaluations <= 10
    assert differentiate(math.exp, 1.0).evaluations <= 14
    assert differentiate(math.exp, 1.0, "quick").evaluations == 4


@pytest.mark.parametrize("rule", ["auto", "quick"])
def test_room(rule):
    assert numerical_gradient(math.exp, 1.0, rule, bounds=(0.0, 1.0)) == pytest.approx(math.e)
    assert numerical_gradient(math.exp, 1.0, rule, bounds=(1.0, 1.0)) == 0.0  # fixed
    with pytest.raises(ValueError, match="no room between its bounds"):
        numerical_gradient(math.exp, 1.0, rule, bounds=(1.0, 1 + 4e-15))
