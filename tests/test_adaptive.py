"""`h="auto"` and `h="quick"`: steps found for each coordinate, errors estimated."""

import math
import zlib

import functions_of_x
import numba
import numpy as np
import pytest
from tolerances import BALANCED, EXTRAPOLATED, FLOAT32

from fastgrad import grad, numerical_gradient

RULES = {"auto": EXTRAPOLATED, "quick": BALANCED}

# f and f' of one number that change over a length of about 1.
ELEMENTARY = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(u) ** 2),
    "arctan": (np.arctan, lambda u: 1 / (1 + u**2)),
    "bell": (lambda u: np.exp(-(u**2)), lambda u: -2 * u * np.exp(-(u**2))),
}


class Counted:
    """A function that notes where it was evaluated."""

    def __init__(self, f):
        self.f, self.points = f, []

    def __call__(self, x):
        self.points.append(np.array(x, copy=True))
        return self.f(x)


def differentiate(f, x, rule="auto", **options):
    return numerical_gradient(f, x, rule, full_output=True, **options)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("name", ELEMENTARY)
def test_closed_forms_at_every_scale(name, scale, rule):
    f, derivative = ELEMENTARY[name]
    x = scale * np.array([0.3, -0.8, 1.7])
    counted = Counted(lambda x: float(np.sum(f(x / scale))))
    gradient, info = differentiate(counted, x, rule)
    size = (np.abs(f(x / scale)).sum() + 1) / scale
    np.testing.assert_allclose(gradient, derivative(x / scale) / scale, 0, RULES[rule] * size)
    assert info.evaluations == len(counted.points)


@pytest.mark.parametrize("x", [1e-8, 1e-3, 0.0, 50.0])
def test_a_size_of_x_that_misleads(x):
    """sin changes over a length of 1, whatever x is."""
    gradient, info = differentiate(lambda x: float(np.sin(x)), np.array(x))
    assert abs(gradient - np.cos(x)) <= min(info.error, EXTRAPOLATED)


def test_a_narrow_function_at_0():
    gradient, info = differentiate(lambda x: float(np.exp(1000 * x)), np.array(0.0))
    assert abs(gradient - 1000) <= min(info.error, 1000 * EXTRAPOLATED)


@pytest.mark.parametrize(
    ("f", "rule", "expected"),
    [
        (lambda x: 3 * x[0] ** 2 - x[0] + 2, "auto", 6),
        (lambda x: x[0] ** 4 + x[0] ** 3, "auto", 8),
        (lambda x: np.exp(x[0]), "quick", 4),
        (lambda x: x[0] ** 2, "quick", 4),
    ],
)
def test_evaluations_are_those_promised(f, rule, expected):
    counted = Counted(f)
    _, info = differentiate(counted, np.array([1.5]), rule)
    assert (
        len(counted.points) == info.evaluations == expected + 2
    )  # f(x), and f(x) while x is moved


def test_steps_are_exact():
    """What x moves by is the step itself: x + h and x - h lose nothing."""
    x = np.array([0.1, -1234.5678])
    counted = Counted(lambda x: float(np.sum(np.sin(x))))
    _, info = differentiate(counted, x)
    moves = np.array([points - x for points in counted.points[2:]])
    assert ((x + moves) - x == moves).all()
    assert all(info.step[i] in np.abs(moves[:, i]) for i in range(2))


def random_functions(rng, count):
    """Yield f, its gradient and x: sums and products of functions of random widths."""
    functions = list(ELEMENTARY.values())
    for _ in range(count):
        (f, df), (g, dg) = (functions[k] for k in rng.integers(len(functions), size=2))
        a, b, scale = rng.uniform(0.3, 3), rng.uniform(0.3, 3), 10.0 ** rng.integers(-6, 7)
        x = scale * rng.uniform(-2, 2, 3)
        yield (
            lambda x, f=f, g=g, a=a, b=b, s=scale: np.sum(f(a * x / s)) * np.sum(g(b * x / s)),
            lambda x, f=f, g=g, df=df, dg=dg, a=a, b=b, s=scale: (
                (
                    a * df(a * x / s) * np.sum(g(b * x / s))
                    + b * dg(b * x / s) * np.sum(f(a * x / s))
                )
                / s
            ),
            x,
        )


def test_the_estimate_covers_the_error_and_is_not_idle(rng):
    covered, estimates = [], []
    for f, gradient, x in random_functions(rng, 200):
        found, info = differentiate(lambda x, f=f: float(f(x)), x)
        truth = gradient(x.astype(np.longdouble)).astype(float)
        covered.append(abs(found - truth) <= info.error)
        estimates.append(info.error * abs(x) / (abs(f(x)) + abs(x * truth)))
    assert np.mean(covered) >= 0.95
    assert np.median(estimates) < 1e-12


@pytest.mark.parametrize("level", [1e-4, 1e-7, 1e-10])
def test_noise_is_seen(level, rng):
    def f(x):
        return float(np.sum(np.exp(x))) * (1 + level * (zlib.crc32(x.tobytes()) / 2**31 - 1))

    covered, relative = [], []
    for x in rng.uniform(0.5, 1.5, (40, 5)):
        gradient, info = differentiate(f, x)
        assert info.evaluations <= 5 * 60
        covered.append(abs(gradient - np.exp(x)) <= info.error)
        relative.append(info.error / np.sum(np.exp(x)))
    assert np.mean(covered) >= 0.95
    # The noise, over steps between an eighth and a hundredth, and a margin.
    assert level < np.median(relative) < 400 * level


@pytest.mark.parametrize("name", ELEMENTARY)
def test_steps_are_as_large_as_the_function_allows(name):
    """Rounding is eps / step: few rows between 1/3 and 1/32 have truncation below 1e-16."""
    counted = Counted(lambda x: float(ELEMENTARY[name][0](x[0])))
    _, info = differentiate(counted, np.array([0.6]))
    assert info.step >= 1 / 128
    assert len(counted.points) <= 17


def test_nothing_to_differentiate():
    gradient, info = differentiate(lambda x: 0.0 * float(x[0]), np.array([1.5, 0.0]))
    assert gradient.tolist() == [0.0, 0.0]
    assert (info.error < 1e-300).all()


def test_a_kink_shows_in_the_error():
    gradient, info = differentiate(lambda x: abs(float(x)), np.array(0.0))
    assert gradient == 0
    assert 0.1 < info.error < 10
    assert info.evaluations <= 16


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "bounds", [(0.5, np.inf), (-np.inf, 0.5), (0.5 - 1e-4, 3), (0.4, 0.55), (-3, 0.5 + 1e-9)]
)
def test_nothing_outside_the_bounds_is_evaluated(bounds, rule):
    counted = Counted(lambda x: float(np.exp(x[0])))
    gradient, info = differentiate(counted, np.array([0.5]), rule, bounds=bounds)
    points = np.array(counted.points)
    assert points.min() >= bounds[0]
    assert points.max() <= bounds[1]
    assert abs(gradient - np.exp(0.5)) <= min(info.error[0], 1e-9)


def test_the_edge_of_a_domain():
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.array([1 + 1e-3])
        gradient, info = differentiate(lambda x: float(np.log(x[0] - 1)), x)
        truth = 1 / (x - 1)
        assert abs(gradient - truth) <= min(info.error, 1e-9 * truth)
        # Here there is no value at all to the left.
        gradient, info = differentiate(lambda x: float(np.exp(x) + 0 * np.sqrt(x)), np.array(0.0))
        assert abs(gradient - 1) <= min(info.error, 1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_values_that_are_not_finite(rule):
    x = np.array([1.0, 2.0])
    f = Counted(lambda x: float(x[0]) if x[1] == 2.0 else float("nan"))
    with pytest.raises(FloatingPointError, match=r"f is nan .* x\[1\] = 2.0"):
        differentiate(f, x, rule)
    gradient, info = differentiate(f, x, rule, nonfinite="keep")
    assert gradient[0] == pytest.approx(1)
    assert np.isnan(gradient[1])
    assert info.error[1] == np.inf
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_x_is_put_back_after_an_exception(error, rule):
    x = np.array([1.0, 1 / 3])

    def f(_):
        if x[1] != 1 / 3:
            raise error("no")
        return float(x[0] ** 2)

    with pytest.raises(error, match="no") as caught:
        numerical_gradient(f, x, rule)
    assert x.tolist() == [1.0, 1 / 3]
    if error is ValueError:
        assert "x[1]" in str(getattr(caught.value, "__notes__", caught.value.__cause__))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_workers_give_the_same_bits(backend, rule):
    params = {"W": np.random.default_rng(3).standard_normal((3, 4)), "b": np.array(2.0)}

    def loss(p):
        return float(np.sum(np.exp(params["W"])) * np.sin(p["b"]))  # half of it the book's way

    alone, here = differentiate(loss, params, rule)
    spread, there = differentiate(loss, params, rule, workers=2, backend=backend)
    assert there.workers == 2
    for name in params:
        for one, other in ((alone, spread), (here.error, there.error), (here.step, there.step)):
            assert one[name].tobytes() == other[name].tobytes()
    # f is evaluated where all of x is moved, in each worker and here, for f(x) and once more.
    assert here.evaluations < there.evaluations <= here.evaluations + 6


@pytest.mark.usefixtures("always")
def test_a_worker_that_does_not_see_x_is_found_out():
    with pytest.raises(RuntimeError, match="does not see its copy of x"):
        numerical_gradient(
            functions_of_x.sees_only_the_global, functions_of_x.W, "auto", workers=2,
            backend="processes",
        )  # fmt: skip


@numba.njit
def scaled_cubes(x, a):
    total = 0.0
    for value in x.flat:
        total += a * value**3
    return total


@pytest.mark.parametrize("rule", RULES)
def test_compiled_functions_and_arguments(rule):
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    gradient = grad(scaled_cubes, rule)(x, 2.0)
    size = 2 * (np.abs(x) ** 3).sum() / np.abs(x)
    assert (abs(gradient - 6 * x**2) <= RULES[rule] * size).all()


def test_a_compiled_closure_over_x_is_refused():
    x = np.ones(2)
    f = numba.njit(lambda _: x[0] * x[1])
    with pytest.raises(TypeError, match="numba has compiled in"):
        numerical_gradient(f, x, "auto")


@pytest.mark.parametrize("rule", RULES)
def test_single_precision(rule):
    x = np.array([0.5, 1.25], np.float32)
    gradient, info = differentiate(lambda x: np.sum(np.exp(x)), x, rule)
    assert gradient.dtype == np.float32
    assert (abs(gradient - np.exp(x.astype(float))) <= info.error).all()
    assert info.error.max() < 1000 * FLOAT32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stencil": "forward"}, "stencil must be 'central'"),
        ({"bounds": (2, 3)}, r"x\[0\] must lie within its bounds, got 1.0"),
        ({"bounds": (1, 1 + 1e-15)}, r"x\[0\] = 1.0 has no room"),
        ({"x": np.array([np.nan])}, r"x\[0\] must be finite, got nan"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_evaluation(options, words):
    f = Counted(lambda x: float(x[0]))
    with pytest.raises(ValueError, match=words):
        numerical_gradient(f, **{"x": np.array([1.0]), "h": "auto", **options})
    assert not f.points


def test_a_rule_that_is_not_known_is_refused():
    with pytest.raises(TypeError, match="h must be a number, 'auto', 'quick' or None, got 'fast'"):
        grad(np.sum, "fast")


def test_no_estimate_without_a_rule():
    _, info = numerical_gradient(lambda x: float(x[0]), np.array([1.0]), full_output=True)
    assert info.error is None


@pytest.mark.parametrize("rule", ["auto", "quick"])
def test_a_batch_of_a_search_is_as_small_as_x_is_large(rule, monkeypatch):
    monkeypatch.setattr("fastgrad._evaluation.batched.BATCH_BYTES", 20 * 8 * 8)  # 20 points
    lengths = []

    def f(points):
        lengths.append(len(points))
        return np.sum(points**2, axis=1)

    x = np.arange(1.0, 9.0)
    gradient, info = numerical_gradient(f, x, rule, batched=True, full_output=True)
    np.testing.assert_allclose(gradient, 2 * x, rtol=1e-9)
    assert 4 < max(lengths) <= 20
    assert sum(lengths) == info.evaluations


@pytest.mark.parametrize("rule", ["auto", "quick"])
def test_of_coordinates_searched_side_by_side_the_first_one_that_fails_is_named(rule):
    x = np.ones(300)

    def f(x):
        away = np.flatnonzero(x != 1.0)
        return math.inf if len(away) and away[0] in (7, 3, 299) else float(x @ x)

    with pytest.raises(FloatingPointError, match=r"all steps around x\[3\] = 1.0"):
        numerical_gradient(f, x, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bounds", [None, (-np.inf, 5)])
@pytest.mark.parametrize("missing", [np.inf, -np.inf, np.nan])
def test_along_a_coordinate_that_is_not_finite_there_is_no_derivative(rule, bounds, missing):
    def f(x):
        return float(x[0] + np.exp(-(x[1] ** 2)))

    x = np.array([1.0, missing])
    gradient, info = differentiate(f, x, rule, bounds=bounds, nonfinite="keep")
    if np.isnan(missing):  # and so is f everywhere
        assert np.isnan(gradient).all()
    else:
        assert gradient[0] == pytest.approx(1)
    assert np.isnan([gradient[1], info.step[1]]).all()
    assert info.error[1] == np.inf


@pytest.mark.usefixtures("always")  # as for a slow f
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_fixed_coordinate_asks_for_nothing(rule, workers):
    gradient, info = differentiate(
        lambda x: float(x @ x), np.ones(3), rule, bounds=([0, -2, 1], [5, 2, 1]), workers=workers,
        backend="threads",
    )  # fmt: skip
    np.testing.assert_allclose(gradient, [2, 2, 0])
    assert (info.error[2], info.step[2]) == (0, 0)
