"""`check_gradient`: right gradients pass, and every planted fault is found and named."""

import doctest
import math
import pickle
import re
from collections import Counter

import numba
import numpy as np
import pytest
from functions_of_x import never
from right_gradients import FAMILIES, least_squares_at_its_minimum, right
from tolerances import rounding

from fastgrad import (
    STENCILS,
    GradientMismatch,
    agreement,
    assert_gradient,
    check_gradient,
    check_report,
    diagnosis,
    gradcheck,
    numerical_gradient,
)

# The closer looks of one array: noise 35, and three entries by 14 at most, with the central
# difference; the change of a fourth; and the value at x.
LOOKS = 35 + 3 * 14 + 2 + 1


@pytest.mark.parametrize("module", [agreement, check_report, diagnosis, gradcheck])
def test_the_doctests_hold(module):
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)


@pytest.fixture
def unit(rng):
    """Return a tanh layer with a mean over the batch: f, where, and its gradient by hand."""
    batch, labels = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    p = {"W": rng.standard_normal((4, 4)), "b": rng.standard_normal(4)}

    def f(p):
        return np.mean(np.sum((np.tanh(batch @ p["W"] + p["b"]) - labels) ** 2, axis=1))

    def gradient(p):
        y = np.tanh(batch @ p["W"] + p["b"])
        d = 2 * (y - labels) * (1 - y**2) / len(batch)
        return {"W": batch.T @ d, "b": d.sum(axis=0)}

    return f, p, gradient


def swap(W):
    W = W.copy()
    W[0, 1], W[2, 3] = W[2, 3], W[0, 1]
    return W


def replace(W, where, value):
    W = W.copy()
    W[where] = value
    return W


# What a mistake makes of the right W; the kind that it must be called, and words.
FAULTS = {
    "sign": (lambda W: -W, "wrong sign", "times -1"),
    "a sum for a mean": (lambda W: 5 * W, "constant factor", "times 5: .*batch"),
    "a mean twice": (lambda W: W / 5, "constant factor", "times 1/5: .*batch"),
    "any factor": (lambda W: 0.83 * W, "constant factor", r"times 0\.8(3|29)\d*$"),
    "sign and factor": (lambda W: -3 * W, "constant factor", "times -3"),
    "transposed": (lambda W: W.T, "transposed", "is transposed"),
    "shifted": (lambda W: np.roll(W, 1, 0), "shifted entries", r"by \+1 along axis 0"),
    "reversed": (lambda W: W[:, ::-1], "reversed entries", "axis 1"),
    "swapped": (swap, "swapped entries", r"\[0, 1\] and \[2, 3\]"),
    "permuted": (lambda W: W[[2, 0, 3, 1]], "permuted entries", "16 of the right"),
    "forgotten": (np.zeros_like, "zero gradient", "0 everywhere"),
    "one entry": (lambda W: replace(W, (1, 2), 9.0), "single entry", r"only \[1, 2\] of 16"),
    "one row": (lambda W: replace(W, 2, 9.0), "one slice", r"only entries in \[2, :\]"),
    "one column": (lambda W: replace(W, np.s_[:, 3], 9.0), "one slice", r"\[:, 3\]"),
    "an addend": (lambda W: W - 0.25, "missing term", r"0\.2(5|49)\d* is missing in every"),
    "NaN": (lambda W: replace(W, (3, 0), np.nan), "not finite", r"first at \[3, 0\]"),
    "anything": (lambda W: W**2, "wrong derivative", "no simple mistake"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stencil", STENCILS)
def test_a_planted_fault_is_found_and_named(unit, fault, stencil):
    f, p, gradient = unit
    spoil, kind, words = FAULTS[fault]
    given = gradient(p)
    report = check_gradient(f, p, {**given, "W": spoil(given["W"])}, stencil=stencil)
    W, b = report.arrays["x['W']"], report.arrays["x['b']"]
    assert (W.passed, b.passed, report.passed) == (False, True, False)
    assert W.kind == kind
    W_line, *_, common = report.diagnosis.splitlines()
    assert W_line.startswith("x['W']: ")
    assert re.search(words, W.diagnosis)
    assert common == "only x['W'] fails, what it shares with the others is right"


# Of strongly curved functions: 3 e^(3W) is moved by h = 1e-3 through 0.15 % of itself, 400 W^3 near
# 0 by far more, and a parabola's slope of 10 by 10.
CURVED = {
    "exponentials": (lambda W: np.exp(3 * W), lambda W: 3 * np.exp(3 * W)),
    "fourth powers": (lambda W: 100 * W**4, lambda W: 400 * W**3),
    "parabolas": (lambda W: 1e4 * (W - 0.5) ** 2, lambda W: 2e4 * (W - 0.5)),
}
NAMED = ["sign", "a sum for a mean", "any factor", "transposed", "one row", "one column"]


@pytest.mark.parametrize("curve", CURVED)
@pytest.mark.parametrize("stencil", STENCILS)
def test_curvature_is_no_fault_and_hides_none(rng, curve, stencil):
    f, slope = CURVED[curve]
    A, B = rng.uniform(0.5, 2, (4, 4)), rng.uniform(0.5, 2, 4)
    p = {"W": rng.uniform(-1, 1, (4, 4)), "b": rng.uniform(-1, 1, 4)}
    given = {"W": A * slope(p["W"]), "b": B * slope(p["b"])}

    def check(W):
        loss = lambda p: np.sum(A * f(p["W"])) + np.sum(B * f(p["b"]))  # noqa: E731
        return check_gradient(loss, p, {**given, "W": W}, h=1e-3, stencil=stencil)

    assert check(given["W"]).passed
    for fault in NAMED:
        spoil, kind, words = FAULTS[fault]
        W, b = check(spoil(given["W"])).arrays.values()
        assert (fault, W.passed, W.kind, b.passed) == (fault, False, kind, True)
        assert re.search(words, W.diagnosis)


def test_right_entries_beside_more_faults_than_are_looked_at_are_not_blamed():
    x = np.linspace(-1, 1, 30)
    given = 3 * np.exp(3 * x)
    given[[3, 9, 15, 20, 29]] *= -1
    report = check_gradient(exponentials, x, given, h=1e-3, stencil="forward")
    assert np.flatnonzero(report.arrays["x"].wrong).tolist() == [3, 9, 15, 20, 29]


def test_a_forgotten_penalty_is_named(unit):
    f, p, gradient = unit
    report = check_gradient(lambda p: f(p) + 0.05 * np.sum(p["W"] ** 2), p, gradient)
    assert report.arrays["x['W']"].kind == "missing term"
    assert "a term 0.1 * x is missing" in report.diagnosis
    assert report.arrays["x['b']"].passed


def test_a_tall_array_whose_memory_is_read_across(rng):
    A = rng.standard_normal((3, 5))
    for wrong in (A.T.reshape(3, 5), A.reshape(5, 3).T):
        report = check_gradient(lambda x: np.sum(A * x), np.ones((3, 5)), wrong)
        assert report.arrays["x"].kind == "transposed"


def relu(x):
    return float(np.sum(np.maximum(x, 0)))


@pytest.mark.parametrize("distance", [0.0, 3e-6, 2e-5, 6e-5, 9e-5])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("stencil", ["central", "forward"])
def test_a_kink_is_named(distance, side, stencil):
    x = np.array([1.0, side * distance, -2.0])
    if stencil == "forward" and x[1] > 0:
        x[1] *= -1  # the formula looks to the right only
    report = check_gradient(relu, x, lambda x: (x > 0).astype(float), stencil=stencil)
    assert report.arrays["x"].kind == "kink"
    assert report.arrays["x"].wrong.tolist() == [False, True, False]
    moves = np.array([0, -1e-4, 0]), np.array([0, 1e-4, 0])
    below, above = (abs(relu(x + move) - relu(x)) / 1e-4 for move in moves)
    assert f"slope is {below:.3g} on one side and {above:.3g} on the other" in report.diagnosis


def test_a_wrong_gradient_at_a_kink_is_not_excused():
    x = np.array([1.0, 0.0, -2.0])
    assert check_gradient(relu, x, np.array([1.0, 7.0, 0.0])).arrays["x"].kind == "single entry"
    assert check_gradient(relu, x, np.array([-1.0, -0.5, 0.0])).arrays["x"].kind == "wrong sign"


def exponentials(x):
    return float(np.sum(np.exp(3 * x)))


def exponentials_in_float32(x):
    return np.sum(np.exp(3 * x.astype(np.float32)))


X = np.array([0.3, 1.0, -0.8])
GRADIENT = 3 * np.exp(3 * X)


@pytest.mark.parametrize(
    ("f", "h", "kind", "words"),
    [
        (exponentials, 1e-13, "rounding noise", "h is too small: take"),
        (exponentials_in_float32, 1e-4, "float32 precision", "compute in float64"),
    ],
)
def test_a_bad_step_is_named_though_the_gradient_is_right(f, h, kind, words):
    report = check_gradient(f, X, GRADIENT, h=h)
    assert report.arrays["x"].kind == kind
    assert words in report.diagnosis
    assert not report.passed


def test_a_step_of_many_periods_is_named_though_the_gradient_is_right():
    report = check_gradient(lambda x: np.sum(np.sin(40 * x)), X, 40 * np.cos(40 * X), h=0.5)
    assert report.arrays["x"].kind == "truncation"
    assert "h is too large" in report.diagnosis
    assert not report.passed


def test_the_step_that_noise_advises_is_good_enough():
    report = check_gradient(exponentials, X, GRADIENT, h=1e-13)
    advised = float(report.diagnosis.split("take ")[1])
    assert check_gradient(exponentials, X, GRADIENT, h=advised).passed


def test_differences_that_vanish_with_the_step_pass_and_are_told():
    x = np.linspace(-1, 1, 9)
    report = check_gradient(lambda x: np.sum(np.sin(900 * x)), x, lambda x: 900 * np.cos(900 * x))
    assert report.passed
    assert report.arrays["x"].kind == "truncation"
    assert "the gradient is right" in report.diagnosis
    # The central difference is sin(kh)/(kh) of the derivative.
    expected = 1 - math.sin(0.09) / 0.09
    assert report.arrays["x"].largest_relative == pytest.approx(expected, rel=1e-6)


def test_faults_do_not_hide_behind_truncation():
    x = np.linspace(-1, 1, 9)
    given = 900 * np.cos(900 * x)
    given[4] *= 1.001
    report = check_gradient(lambda x: np.sum(np.sin(900 * x)), x, given)
    assert report.arrays["x"].wrong.tolist() == [False] * 4 + [True] + [False] * 4


def test_a_value_that_drowns_the_gradient_is_told():
    x = np.ones(3)
    report = check_gradient(lambda x: 1e16 + np.sum(x), x, np.ones(3))
    assert report.arrays["x"].kind == "below rounding"
    assert "sees nothing" in str(report)


def test_a_thousand_right_gradients_pass():
    failed = []
    for seed in range(1000):
        f, x, gradient, h = right(seed)
        if not check_gradient(f, x, gradient, h=h).passed:
            failed.append(seed)
    assert failed == []


@pytest.mark.parametrize("stencil", sorted(set(STENCILS) - {"central"}))
def test_right_gradients_pass_with_other_formulas(stencil):
    failed = []
    for seed in range(1000, 1060):
        f, x, gradient, h = right(seed)
        if not check_gradient(f, x, gradient, h=h, stencil=stencil).passed:
            failed.append(seed)
    assert failed == []


@pytest.mark.slow
def test_a_thousand_wrong_gradients_fail_or_are_told_to_be_out_of_sight():
    """The largest entry is off by a hundredth, in float32 by a third."""
    passed, found = [], Counter()
    for seed in range(1000):
        f, x, gradient, h = right(seed)
        given = gradient(x)
        largest = np.abs(given).argmax()
        if x.dtype == np.float32 and abs(given[largest]) < 5e-3 * abs(f(x)):
            continue  # rounding hides it
        if FAMILIES[seed % len(FAMILIES)] is least_squares_at_its_minimum:
            continue  # the gradient is nothing but rounding
        given[largest] *= 4 / 3 if x.dtype == np.float32 else 1.01
        check = check_gradient(f, x, given, h=h).arrays["x"]
        found[check.passed] += 1
        if check.passed and check.kind != "below rounding":
            passed.append((seed, check.kind))
    assert passed == []
    assert found[False] > 700


def test_the_figures_are_those_of_the_definitions():
    x = {"a": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": [np.array(5.0), np.array([6.0])]}
    weights = np.array([[2.0, 3.0], [5.0, 1.0]])

    def f(x):  # linear: the numerical gradient is exact but for rounding
        return np.sum(weights * x["a"]) + x["b"][0] + 0 * x["b"][1][0]

    given = {"a": weights + np.array([[0, 0.5], [0, -0.25]]), "b": [np.array(1.0), np.array([0.0])]}
    report = check_gradient(f, x, given, rtol=0.05, atol=1e-6)
    assert list(report.arrays) == ["x['a']", "x['b'][0]", "x['b'][1]"]
    a, b, c = report.arrays.values()
    assert a.mean_absolute == pytest.approx(0.75 / 4, abs=1e-9)
    assert a.largest_absolute == pytest.approx(0.5, abs=1e-9)
    assert a.where_absolute == "x['a'][0, 1]"
    assert a.largest_relative == pytest.approx(0.25, abs=1e-9)  # 0.25 of 1, 0.5 of 3.5 is less
    assert a.where_relative == "x['a'][1, 1]"
    dot = 2 * 2 + 3 * 3.5 + 5 * 5 + 1 * 0.75
    lengths = math.sqrt(2**2 + 3**2 + 5**2 + 1) * math.sqrt(2**2 + 3.5**2 + 5**2 + 0.75**2)
    assert a.cosine == pytest.approx(dot / lengths, abs=1e-9)
    assert (a.rtol, a.atol) == (0.05, 1e-6)
    assert a.wrong.tolist() == [[False, True], [False, True]]
    assert (b.passed, b.gradient.shape, b.where_absolute) == (True, (), "x['b'][0]")
    assert c.passed
    assert math.isnan(c.cosine)


def test_the_report_prints_as_a_table(unit):
    f, p, gradient = unit
    text = str(check_gradient(f, p, lambda p: {**gradient(p), "W": -gradient(p)["W"]}))
    title, heading, W, b, *_ = text.splitlines()
    assert title == "gradient against finite differences of order 2, h = 0.0001: FAILED"
    assert heading.split("  ")[0] == "array"
    assert W.split()[0] == "x['W']"
    assert (W.split()[-1], b.split()[-1]) == ("FAIL", "pass")
    assert len(heading) <= len(b)
    report = check_gradient(f, p, gradient)
    assert repr(report) == str(report)  # what a notebook shows
    assert "passed" in str(report).splitlines()[0]
    assert "x['b']" in repr(report.arrays["x['b']"])


def test_tolerances_that_are_given_decide_alone():
    x = np.array([1.0, 2.0])
    truncated = numerical_gradient(exponentials, x)  # off by (3 h)**2 / 6 = 1.5e-8
    assert not check_gradient(exponentials, x, lambda x: 3 * np.exp(3 * x), rtol=1e-9).passed
    assert check_gradient(exponentials, x, lambda x: 3 * np.exp(3 * x), rtol=2e-8, atol=0).passed
    assert check_gradient(exponentials, x, truncated, rtol=0, atol=0).passed
    assert check_gradient(exponentials, x, np.zeros(2), atol=1e4).passed


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("dtype", [float, np.float32])
def test_nothing_outside_the_bounds_is_evaluated(stencil, dtype):
    x = np.array([0.0, 1.0, 0.5, 1e-5, 1 - 1e-3, 0.25], dtype)
    low, high = np.zeros(6), np.array([1, 1, 1, 1, 1, 0.25 + 1e-6])

    def f(x):
        assert (x >= low).all()
        assert (x <= high).all()
        return np.sum(np.exp(3 * x))

    right = 3 * np.exp(3 * x)
    options = {"stencil": stencil, "bounds": (low, high)}
    assert check_gradient(f, x, right, **options).passed
    assert check_gradient(f, x, -right, **options).arrays["x"].kind == "wrong sign"
    one = right.copy()
    one[1] *= 3
    assert check_gradient(f, x, one, **options).arrays["x"].kind == "single entry"
    # Rounding and truncation are looked at beside the bounds, too.
    if dtype is float:
        noisy = check_gradient(f, x, right, h=1e-12, **options)
        assert noisy.arrays["x"].kind == "rounding noise"
        assert check_gradient(f, x, right, h=0.1, **options).passed


def test_a_batched_f(capsys):
    x = np.linspace(-1, 1, 30).reshape(5, 6)
    sizes = []

    def f(points, a):
        sizes.append(len(points))
        return (a * np.exp(points)).sum(axis=(1, 2))

    options = {"args": (2.0,), "batched": True}
    report = check_gradient(f, x, lambda x, a: a * np.exp(x), **options)
    assert report.passed
    assert sum(sizes) == 2 * 30 + 1
    plain = check_gradient(lambda x: np.sum(2 * np.exp(x)), x, 2 * np.exp(x))
    numerical = report.arrays["x"].numerical, plain.arrays["x"].numerical
    np.testing.assert_allclose(*numerical, rtol=0, atol=rounding("central", float, 80, 1e-4))
    wrong = check_gradient(f, x, lambda x, a: np.exp(x), progress=True, **options)
    assert wrong.arrays["x"].kind == "constant factor"
    assert "30/30" in capsys.readouterr().err
    with pytest.raises(TypeError, match=r"for each of the .* points"):
        check_gradient(lambda points: points.sum(), x, x, batched=True)
    assert_gradient(f, x, 2 * np.exp(x), bounds=(-1, 1), progress=True, **options)
    assert "30/30" in capsys.readouterr().err


def counting(f):
    calls = []

    def counted(x):
        calls.append(None)
        return f(x)

    return counted, calls


def test_what_a_check_costs():
    x = np.linspace(-1, 1, 200)
    f, calls = counting(lambda x: np.sum(np.sin(3 * x)))
    assert check_gradient(f, x, lambda x: 3 * np.cos(3 * x)).passed
    assert len(calls) == 2 * 200 + 1
    f, calls = counting(lambda x: np.sum(np.sin(3 * x)))
    assert not check_gradient(f, x, lambda x: np.cos(3 * x)).passed
    assert 401 < len(calls) <= 400 + LOOKS
    f, calls = counting(lambda x: np.sum(np.sin(900 * x)))
    assert check_gradient(f, x, lambda x: 900 * np.cos(900 * x)).passed
    assert 801 < len(calls) <= 800 + LOOKS


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_other_precisions(dtype):
    x = np.array([0.5, 1.5, -1.0], dtype)
    gradient = 3 * x**2
    assert check_gradient(lambda x: np.sum(x**3), x, gradient).passed
    assert check_gradient(lambda x: np.sum(x**3), x, -gradient).arrays["x"].kind == "wrong sign"
    # One array in less precision makes the function as coarse.
    pair = {"a": x, "b": np.array([2.0])}
    right_pair = {"a": gradient, "b": np.array([4.0])}
    assert check_gradient(lambda p: np.sum(p["a"] ** 3) + p["b"][0] ** 2, pair, right_pair).passed


@numba.njit
def compiled(x, a):
    return a * (x**3).sum()


def test_arguments_workers_compiled_and_book_style(always):
    x = np.linspace(-2, 2, 40)
    reports = [
        check_gradient(compiled, x, lambda x, a: 3 * a * x**2, args=(2.0,), **options)
        for options in ({}, {"workers": 2})
    ]
    assert all(report.passed for report in reports)
    assert len({report.arrays["x"].numerical.tobytes() for report in reports}) == 1
    assert check_gradient(lambda _: np.sum(x**3), x, lambda _: 3 * x**2).passed
    assert not check_gradient(lambda _: np.sum(x**3), x, lambda _: 2 * x**2).passed


@pytest.mark.parametrize("x", [3.0, [1.0, 2.0], np.array(2.0), np.empty(0), {}], ids=repr)
def test_numbers_lists_and_nothing(x):
    def f(x):
        return 0.0 if isinstance(x, dict) else np.sum(np.asarray(x) ** 2)

    gradient = {} if isinstance(x, dict) else 2 * np.asarray(x)
    assert check_gradient(f, x, gradient).passed
    assert check_gradient(f, x, lambda x: gradient).passed


class UnhappyError(Exception):
    pass


def test_x_holds_the_same_bits_whatever_happens():
    x = np.array([0.1, -0.0, 1e-300, 0.7])
    before = x.tobytes()
    for limit in [None, 3, 9, 20, 45, 60]:
        calls = []

        def f(x, limit=limit, calls=calls):
            calls.append(None)
            if len(calls) == limit:
                raise UnhappyError
            return np.sum(x**2)

        if limit is None:
            assert not check_gradient(f, x, -x).passed
            assert len(calls) > 60
        else:
            with pytest.raises(UnhappyError):
                check_gradient(f, x, -x)
        assert x.tobytes() == before


def test_a_gradient_that_moves_x_is_refused_and_x_put_back():
    x = {"a": np.array([1.0, 2.0]), "b": np.array([-0.0])}

    def gradient(x):
        x["a"] *= 2
        return x

    with pytest.raises(ValueError, match=r"leave x as it is, but it changed x\['a'\]$"):
        check_gradient(never, x, gradient)

    def raising(x):
        x["b"][0] = 0.0  # the same number, not the same bits
        raise UnhappyError

    with pytest.raises(UnhappyError):
        check_gradient(never, x, raising)
    assert x["a"].tolist() == [1.0, 2.0]
    assert math.copysign(1, x["b"][0]) == -1


def test_a_gradient_that_is_x_itself_is_compared_as_it_was():
    x = np.array([1.0, 2.0])
    assert check_gradient(lambda x: np.sum(x**2) / 2, x, x).passed
    assert check_gradient(lambda x: np.sum(x**2) / 2, x, lambda x: x).passed


def test_assert_gradient():
    x = np.array([1.0, 2.0, 3.0])
    assert assert_gradient(lambda x: np.sum(x**2), x, 2 * x) is None
    with pytest.raises(GradientMismatch, match="wrong sign") as caught:
        assert_gradient(lambda x: np.sum(x**2), x, lambda x: -2 * x)
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == str(caught.value.report)
    assert caught.value.report.arrays["x"].largest_absolute == pytest.approx(12)
    # A test that runs in another process sends it back.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


TWO = {"W": np.ones((2, 3)), "b": np.ones(3)}


@pytest.mark.parametrize(
    ("x", "gradient", "error", "words"),
    [
        (TWO, np.ones(9), ValueError, r"structure of x, x\['W'\], x\['b'\]; got x"),
        (TWO, {"W": TWO["W"]}, ValueError, r"structure of x.*got x\['W'\]"),
        (TWO, [TWO["W"], TWO["b"]], ValueError, r"got x\[0\], x\[1\]"),
        (TWO, {**TWO, "W": np.ones((3, 2))}, ValueError, r"gradient\['W'\].*x\['W'\].*transposed"),
        (TWO, {**TWO, "b": np.ones(2)}, ValueError, r"gradient\['b'\].*\(3,\); got \(2,\)$"),
        (TWO, {**TWO, "b": np.ones(3, complex)}, TypeError, r"gradient\['b'\].*complex128"),
        (TWO, {**TWO, "b": np.ones(3, bool)}, TypeError, "bool"),
        (TWO, {**TWO, "b": np.array([None] * 3)}, TypeError, "object"),
        (TWO, lambda p: None, ValueError, "structure of x"),
        (np.ones(3), None, TypeError, "gradient must hold real numbers, got dtype object"),
        (np.ones(3), 1.0, ValueError, r"shape of x, \(3,\); got \(\)"),
        (np.arange(3), np.ones(3), TypeError, "x must be floating point"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_before_f_is_evaluated(x, gradient, error, words):
    with pytest.raises(error, match=words):
        check_gradient(never, x, gradient)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rtol": -1}, ValueError, "rtol must be a finite number from 0, got -1"),
        ({"atol": math.nan}, ValueError, "atol must be"),
        ({"rtol": "small"}, TypeError, "rtol must be a number or None, got 'small'"),
        ({"atol": True}, TypeError, "atol"),
        ({"h": 0}, ValueError, "h must be"),
        ({"stencil": "magic"}, ValueError, "stencil must be one of"),
        ({"stencil": "complex"}, ValueError, "stencil must be one of .*, six-point or"),
        ({"bounds": (2, 3)}, ValueError, "within its bounds"),
        ({"bounds": 1}, ValueError, "bounds must be a pair"),
        ({"x": {"a": np.ones(3)}, "batched": True}, TypeError, "one array where batched=True"),
        ({"args": 1}, TypeError, "args must be a tuple"),
        ({"workers": 0}, ValueError, "workers must not be 0"),
        ({"backend": "magic"}, ValueError, "backend must be one of"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_f_is_evaluated(options, error, words):
    with pytest.raises(error, match=words):
        check_gradient(never, **{"x": np.ones(3), "gradient": np.ones(3), **options})
    with pytest.raises(TypeError, match="f must be callable"):
        check_gradient(3, np.ones(3), np.ones(3))


def test_a_function_that_is_not_finite():
    with pytest.raises(FloatingPointError, match="f is nan at x"):
        check_gradient(lambda x: math.nan, np.ones(2), np.ones(2))


def test_key_order_does_not_matter(unit):
    f, p, gradient = unit
    assert check_gradient(f, p, dict(reversed(gradient(p).items()))).passed
