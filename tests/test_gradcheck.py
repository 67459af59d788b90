"""`check_gradient`: right gradients pass, and every planted fault is found and named."""

import doctest
import itertools
import math
import pickle
import re
import warnings
from collections import Counter

import book_nets
import numba
import numpy as np
import planted
import pytest
from functions_of_x import never
from right_gradients import FAMILIES, least_squares_at_its_minimum, right
from tolerances import rounding

from fastgrad import (
    STENCILS,
    GradientMismatch,
    assert_gradient,
    numerical_gradient,
)
from fastgrad._checking import check_gradient as checking
from fastgrad._checking import report
from fastgrad._checking.check_gradient import check_gradient, compare

# The closer looks of one array: whether f is random 3, noise 30, and eight entries by 2 at each of
# 13 steps; whether 64 entries lie at kinks, 12 each.
LOOKS = 3 + 30 + 8 * 26 + 64 * 12


@pytest.mark.parametrize("module", [checking, report])
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
    "a sum for a mean": (lambda W: 5 * W, "constant factor", r"times 5\. Look for a factor"),
    "a mean twice": (lambda W: W / 5, "constant factor", r"times 1/5\. Look for a factor"),
    "any factor": (lambda W: 0.83 * W, "constant factor", r"times 0\.83\.$"),
    "sign and factor": (lambda W: -3 * W, "constant factor", "times -3"),
    "transposed": (lambda W: W.T, "transposed", "is transposed"),
    "shifted": (lambda W: np.roll(W, 1, 0), "shifted entries", r"by \+1 along axis 0"),
    "reversed": (lambda W: W[:, ::-1], "reversed entries", "Axis 1"),
    "swapped": (swap, "swapped entries", r"\[0, 1\] and \[2, 3\]"),
    "permuted": (lambda W: W[[2, 0, 3, 1]], "permuted entries", "16 of the right"),
    "forgotten": (np.zeros_like, "zero gradient", "0 everywhere"),
    "one entry": (lambda W: replace(W, (1, 2), 9.0), "single entry", r"Only \[1, 2\] differs"),
    "one row": (lambda W: replace(W, 2, 9.0), "one slice", r"Only entries in \[2, :\]"),
    "one column": (lambda W: replace(W, np.s_[:, 3], 9.0), "one slice", r"\[:, 3\]"),
    "an addend": (lambda W: W - 0.25, "missing term", r"term 0\.25 is missing in every"),
    "NaN": (lambda W: replace(W, (3, 0), np.nan), "not finite", r"first at \[3, 0\]"),
    "anything": (lambda W: W**2, "wrong derivative", "No simple mistake"),
}


# Those that are named where f is strongly curved, or the formula is another one.
NAMED = ["sign", "a sum for a mean", "any factor", "transposed", "one row", "one column"]


@pytest.mark.parametrize(
    ("stencil", "fault"),
    [*itertools.product(["central"], FAULTS),
     *itertools.product(sorted(set(STENCILS) - {"central"}), NAMED)],
)  # fmt: skip
def test_a_planted_fault_is_found_and_named(unit, fault, stencil):
    f, p, gradient = unit
    spoil, kind, words = FAULTS[fault]
    given = gradient(p)
    report = check_gradient(f, p, {**given, "W": spoil(given["W"])}, stencil=stencil)
    W, b = report.arrays["x['W']"], report.arrays["x['b']"]
    assert (W.passed, b.passed, report.passed) == (False, True, False)
    assert W.kind == kind
    assert report.diagnosis.startswith("x['W']: ")
    assert re.search(words, W.diagnosis)


# Of strongly curved functions: 3 e^(3W) is moved by h = 1e-3 through 0.15 % of itself, 400 W^3 near
# 0 by far more, and a parabola's slope of 10 by 10.
CURVED = {
    "exponentials": (lambda W: np.exp(3 * W), lambda W: 3 * np.exp(3 * W)),
    "fourth powers": (lambda W: 100 * W**4, lambda W: 400 * W**3),
    "parabolas": (lambda W: 1e4 * (W - 0.5) ** 2, lambda W: 2e4 * (W - 0.5)),
}


@pytest.mark.parametrize("curve", CURVED)
@pytest.mark.parametrize("stencil", ["forward", "central", "six-point"])
def test_curvature_is_no_fault_and_hides_none(rng, curve, stencil):
    f, slope = CURVED[curve]
    A, B = rng.uniform(0.5, 2, (4, 4)), rng.uniform(0.5, 2, 4)
    p = {"W": rng.uniform(-1, 1, (4, 4)), "b": rng.uniform(-1, 1, 4)}
    given = {"W": A * slope(p["W"]), "b": B * slope(p["b"])}

    def check(W):
        loss = lambda p: np.sum(A * f(p["W"])) + np.sum(B * f(p["b"]))  # noqa: E731
        return check_gradient(loss, p, {**given, "W": W}, h=1e-3, stencil=stencil)

    assert check(given["W"]).passed
    for fault in NAMED if stencil == "central" else NAMED[2:4]:
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
    assert "A term 0.1 * x is missing" in report.diagnosis
    assert report.arrays["x['b']"].passed


def test_a_tall_array_whose_memory_is_read_across(rng):
    A = rng.standard_normal((3, 5))
    for wrong in (A.T.reshape(3, 5), A.reshape(5, 3).T):
        report = check_gradient(lambda x: np.sum(A * x), np.ones((3, 5)), wrong)
        assert report.arrays["x"].kind == "transposed"


def relu(x):
    return float(np.sum(np.maximum(x, 0)))


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_a_kink_at_x_is_named(stencil, slope):
    x = np.array([1.0, 0.0, -2.0])
    report = check_gradient(relu, x, np.array([1.0, slope, 0.0]), stencil=stencil)
    # Formulas that look to one side see the slope there.
    if report.passed:
        assert (stencil, slope) in {("forward", 1.0), ("backward", 0.0)}
        return
    assert report.arrays["x"].kind == "kink"
    assert report.arrays["x"].wrong.tolist() == [False, True, False]
    assert "kink" in report.diagnosis
    assert "slope is 0 below and 1 above" in report.diagnosis


@pytest.mark.parametrize("distance", [3e-7, 3e-6, 2e-5, 6e-5, 9e-5])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("stencil", STENCILS)
def test_a_kink_beside_x_is_no_fault_and_hides_none(distance, side, stencil):
    x = np.array([1.0, side * distance, -2.0])
    right = (x > 0).astype(float)
    assert check_gradient(relu, x, right, stencil=stencil).passed
    wrong = right + np.array([0, 0.01 * side, 0])
    report = check_gradient(relu, x, wrong, stencil=stencil)
    assert report.arrays["x"].wrong.tolist() == [False, True, False]


@pytest.mark.parametrize("distance", [3e-7, 3e-6, 3e-5])
def test_kinks_beside_0_where_x_does_not_show_its_scale(distance):
    x, kinks = np.zeros(3), distance * np.array([1, -2, 3])
    right = (kinks > 0).astype(float)
    assert check_gradient(lambda x: relu(x + kinks) + 0.1 * relu(x - 1e-4), x, right).passed
    wrong = check_gradient(lambda x: relu(x + kinks) + 0.1 * relu(x - 1e-4), x, right + 0.01)
    assert wrong.arrays["x"].wrong.all()


def test_a_wrong_gradient_at_a_kink_is_not_excused():
    x = np.array([1.0, 0.0, -2.0])
    assert check_gradient(relu, x, np.array([1.0, 7.0, 0.0])).arrays["x"].kind == "single entry"
    assert check_gradient(relu, x, np.array([-1.0, -0.5, 0.0])).arrays["x"].kind == "wrong sign"
    # Among others that do lie at kinks.
    given = np.ones(30)
    given[3] = 2
    report = check_gradient(lambda x: np.sum(np.abs(x)), np.zeros(30), given)
    assert report.arrays["x"].kind == "single entry"
    assert "29 others lie at kinks" in report.diagnosis
    # By a part in a thousand.
    report = check_gradient(relu, x, np.array([1.0, 1.001, 0.0]))
    assert report.arrays["x"].kind == "single entry"


def exponentials(x):
    return float(np.sum(np.exp(3 * x)))


X = np.array([0.3, 1.0, -0.8])


# f, its derivative, and a step that is no good; what the report says of it.
BAD_STEPS = {
    "far too small": (lambda x: np.exp(3 * x), lambda x: 3 * np.exp(3 * x), 1e-13, "noise"),
    "float32 within": (
        lambda x: np.exp(3 * x.astype(np.float32)), lambda x: 3 * np.exp(3 * x), 1e-5, "noise"
    ),
    "periods": (lambda x: np.sin(40 * x), lambda x: 40 * np.cos(40 * x), 0.5, "truncation"),
    "many": (lambda x: np.sin(1e6 * x), lambda x: 1e6 * np.cos(1e6 * x), 1e-4, "truncation"),
    "curved": (lambda x: np.sin(900 * x), lambda x: 900 * np.cos(900 * x), 1e-4, "truncation"),
    "whole periods": (
        lambda x: np.sin(2e4 * np.pi * x), lambda x: 2e4 * np.pi * np.cos(2e4 * np.pi * x), 1e-4,
        "truncation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_bad_step_is_told_and_does_not_decide(case):
    f, slope, h, kind = BAD_STEPS[case]

    def total(x):
        return float(np.sum(f(x)))

    report = check_gradient(total, X, slope(X), h=h)
    assert report.passed
    assert report.arrays["x"].kind.endswith(kind)
    wrong = slope(X) * [1, 1.001 if case != "float32 within" else 1.01, 1]
    report = check_gradient(total, X, wrong, h=h)
    assert report.arrays["x"].wrong.tolist() == [False, True, False]
    assert "finer" not in report.diagnosis


def test_a_step_too_large_and_a_finer_one_that_agrees_are_told():
    x = np.array([0.7])
    report = check_gradient(lambda x: np.sin(1e6 * x[0]), x, 1e6 * np.cos(1e6 * x))
    before, after = (float(part) for part in re.findall(r" is (\S+e\S\d\d)", report.diagnosis))
    assert before > 1e5
    assert after < 1
    assert "too large" in report.diagnosis


def test_faults_do_not_hide_behind_truncation():
    x = np.linspace(-1, 1, 9)
    given = 900 * np.cos(900 * x)
    given[4] *= 1.001
    report = check_gradient(lambda x: np.sum(np.sin(900 * x)), x, given)
    assert report.arrays["x"].wrong.tolist() == [False] * 4 + [True] + [False] * 4


def test_truncation_that_passes_does_not_spare_a_small_fault():
    # Forward differences are off by h / 2, 8e-6: 12 times less than the fault.
    x = np.linspace(0, 0.1, 30)
    given = np.exp(x)
    given[7] *= 1 + 1e-4
    report = check_gradient(lambda x: np.sum(np.exp(x)), x, given, h=1.6e-5, stencil="forward")
    assert np.flatnonzero(report.arrays["x"].wrong).tolist() == [7]


def test_the_default_step_is_the_book_s_also_beyond_ten():
    x = {"far": np.array([1e3, -5e6]), "near": np.array([0.5])}
    report = check_gradient(
        lambda p: p["far"].sum() + p["near"].sum(), x, {k: 1 + 0 * x[k] for k in x}
    )
    assert "h = 0.0001: passed" in str(report)


def test_f_gets_what_the_engine_gives_and_x_may_be_read_only():
    kinds = set()

    def f(p):
        kinds.add((type(p["a"]), p["b"].flags.writeable))
        return p["a"] * p["b"][0] + p["b"].sum()

    b = np.array([2.0, 3.0])
    b.flags.writeable = False
    right = {"a": 2.0, "b": np.array([6.0, 1.0])}
    assert check_gradient(f, {"a": 5.0, "b": b}, right).passed
    wrong = {"a": 1.0, "b": np.array([5.0, 0.0])}
    assert not check_gradient(f, {"a": 5.0, "b": b}, wrong).passed
    # Where f does not change with a coordinate, it does not read x from outside.
    assert not check_gradient(lambda b: b[0], b, np.array([1.0, 1.0])).passed
    assert kinds == {(float, True)}


def test_a_value_that_drowns_the_gradient_is_told():
    x = np.ones(3)
    report = check_gradient(lambda x: 1e16 + np.sum(x), x, np.ones(3))
    assert report.arrays["x"].kind == "below rounding"
    assert "3 of 3 entries could not be checked" in str(report)


@pytest.mark.parametrize("count", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_f_that_is_rounding_alone_passes(count):
    def f(x):
        return np.cos(x[0]) ** 2 + np.sin(x[0]) ** 2 - 1

    points = np.random.default_rng(0).uniform(-10, 10, count)
    reports = [check_gradient(f, np.array([x]), np.zeros(1)) for x in points]
    assert sum(report.passed for report in reports) == count
    assert not check_gradient(f, np.array([0.3]), np.array([1e-3])).passed


def test_x_on_a_coarse_grid_is_no_noise():
    x = np.array([1.7e9 + 0.3])
    report = check_gradient(lambda x: np.sin(x[0] - 1.7e9), x, np.cos(x - 1.7e9))
    assert report.passed
    assert "float32" not in str(report)
    assert not check_gradient(lambda x: np.sin(x[0] - 1.7e9), x, 1.001 * np.cos(x - 1.7e9)).passed


def test_a_random_f_is_called_random(rng):
    weights = rng.standard_normal(40)

    def dropout(x):
        return np.sum(weights * x * (rng.random(40) > 0.5))

    report = check_gradient(dropout, np.ones(40), 0.5 * weights)
    assert report.arrays["x"].kind == "random"
    assert not report.passed


@pytest.mark.parametrize(("scale", "kind"), [(1e-6, "wrong sign"), (10.0, "random")])
def test_a_random_f_is_to_blame_only_for_what_its_noise_explains(rng, scale, kind):
    x = np.linspace(0.1, 1, 20)
    report = check_gradient(
        lambda x: np.sum(np.sin(x)) + scale * rng.standard_normal(), x, lambda x: -np.cos(x)
    )
    assert report.arrays["x"].kind == kind


def test_a_factor_near_1_is_told_with_the_digits_that_differ():
    x = np.linspace(0.1, 1, 20)
    report = check_gradient(exponentials, x, lambda x: 3.000003 * np.exp(3 * x), rtol=0)
    assert "times 1.000001." in report.diagnosis


def test_a_factor_shows_beside_small_differences_and_counts_all_entries():
    x = np.linspace(0.01, 1, 30)
    report = check_gradient(lambda x: np.sum(x**3), x, lambda x: 3.003 * x**2)
    assert report.arrays["x"].wrong.all()
    assert "times 1.001." in report.diagnosis


@pytest.mark.parametrize("factor", [1, -1, 2, 0.5])
@pytest.mark.parametrize("rate", [564412.0753107646, 5067460.959985859])
def test_steps_do_not_jump_from_period_to_period(rate, factor):
    # With steps that fall by 3, differences of one period seem to have a limit that is not f's.
    x = np.array([0.41354841, -0.31673198])
    report = check_gradient(
        lambda x: np.sum(np.sin(rate * x)), x, lambda x: factor * rate * np.cos(rate * x)
    )
    named = {1: "truncation", -1: "wrong sign"}.get(factor, "constant factor")
    assert report.arrays["x"].kind == named


@pytest.mark.parametrize("power", [3, 5])
def test_a_slope_of_0_that_differences_approach_is_0(power):
    x = np.zeros(3)
    for h in (1e-4, 0.1):
        assert check_gradient(lambda x: np.sum(x**power), x, np.zeros(3), h=h).passed
    assert not check_gradient(lambda x: np.sum(x**power), x, np.full(3, 1e-12)).passed


def test_a_gradient_in_float32_of_a_precise_f_is_checked_to_its_own_precision(unit):
    f, p, gradient = unit
    right = {name: array.astype(np.float32) for name, array in gradient(p).items()}
    assert check_gradient(f, p, right).passed
    wrong = check_gradient(f, p, {**right, "W": np.float32(1.01) * right["W"]}).arrays["x['W']"]
    assert (wrong.kind, wrong.failing) == ("constant factor", 16)


@pytest.mark.parametrize("side", [0, 1e-8, -1e-8, 1e-5, -1e-5])
def test_a_jump_of_f_is_no_noise(side):
    x = np.array([0.3 + side, 0.7])
    for wrong in (0, 1):
        given = 2 * x + np.array([wrong, 0])
        array = check_gradient(lambda x: np.sum(x**2) + (x[0] >= 0.3), x, given).arrays["x"]
        assert array.wrong.tolist() == [not side or bool(wrong), False]
        assert side or array.kind == "kink"


def test_entries_that_rounding_hides_are_counted():
    weights = np.array([1e6, 1, 1e-6])
    report = check_gradient(lambda x: x @ weights, np.ones(3), weights * [1, 1, 2])
    assert "1 of 3 entries could not be checked" in report.diagnosis
    # Where most are hidden, it is not said that one alone is wrong.
    x = np.array([0.1, 1.4, 1.5])
    array = check_gradient(lambda x: 2e11 + np.sum(np.sin(x)), x, -np.cos(x)).arrays["x"]
    assert array.wrong.tolist() == [True, False, False]
    assert array.kind in ("wrong sign", "wrong derivative")


def test_arrays_of_which_the_same_is_to_be_told_share_a_line(unit):
    f, p, _ = unit
    report = check_gradient(f, p, lambda p: {name: 0 * p[name] for name in p})
    assert [array.kind for array in report.arrays.values()] == ["zero gradient"] * 2
    one, two = report.diagnosis.splitlines()
    assert "16 of 16" in one
    assert "4 of 4" in two
    x = {"a": np.ones(3), "b": np.ones(3)}
    report = check_gradient(
        lambda p: np.sum(p["a"] * p["b"]), x, lambda p: {"a": -1 * p["b"], "b": -1 * p["a"]}
    )
    assert report.diagnosis.startswith("x['a'], x['b']: 3 of 3 entries differ, wrong sign. The ")


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-30, 1e200])
def test_tiny_and_huge_gradients_raise_no_warning(size):
    x = np.array([0.3, 0.7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in (1, 1.01, -1, 0):
            given = factor * size * np.cos(x)
            report = check_gradient(lambda x: size * np.sum(np.sin(x)), x, given)
            assert report.passed == (factor == 1)
            assert str(report)


@pytest.mark.parametrize("share", [1e-6, 9e-6])
def test_a_part_in_1e5_passes_and_rtol_0_asks_for_all(share):
    x = np.linspace(0.1, 1, 20)
    given = 3 * np.exp(3 * x) * (1 + share * np.cos(np.arange(20.0)))
    report = check_gradient(exponentials, x, given)
    assert report.passed
    agreed = -np.log10(np.linalg.norm(given - 3 * np.exp(3 * x)) / np.linalg.norm(given))
    assert report.arrays["x"].digits == pytest.approx(agreed, abs=0.1)
    assert not check_gradient(exponentials, x, given, rtol=0).passed
    assert check_gradient(exponentials, x, 3 * np.exp(3 * x), rtol=0).passed


def test_small_differences_are_called_that_and_the_digits_told(rng):
    x = rng.uniform(-1, 1, 40)
    given = 3 * np.exp(3 * x) * (1 + 1e-3 * rng.standard_normal(40))
    report = check_gradient(exponentials, x, given)
    assert report.arrays["x"].kind == "small differences"
    assert not report.passed
    assert f"{report.arrays['x'].digits:.1f} digits" in report.diagnosis


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_tolerance_fits_the_precision_of_x_and_of_what_f_returns(dtype):
    x = np.linspace(0.5, 1.5, 6)
    eps = float(np.finfo(dtype).eps)

    def f(x):
        return dtype(np.sum(np.sin(x.astype(dtype))))

    for given in (x, x.astype(dtype)):
        report = check_gradient(f, given, np.cos(given), h=eps ** (1 / 3))
        assert report.passed
        assert report.arrays["x"].rtol == pytest.approx(eps**0.5)
        assert check_gradient(f, given, -np.cos(given), h=eps ** (1 / 3)).arrays["x"].wrong.any()


NETS = {
    "two-layer": (book_nets.two_layer, {}),
    "multi-layer": (book_nets.multi_layer, {}),
    "weight decay": (book_nets.multi_layer, {"decay": 0.1}),
    "batch normalization": (book_nets.multi_layer, {"batch_norm": True}),
    "convolutional": (book_nets.convolutional, {}),
}


def pictures(rng, samples=5, side=8):
    """Return smooth pictures with dark borders, as of digits, and classes."""
    rows = np.arange(side)
    middle = rng.uniform(2, side - 3, (samples, 2, 3, 1))
    blobs = np.exp(-((rows - middle) ** 2) / 3)
    x = np.einsum("nki,nkj->nij", blobs[:, 0], blobs[:, 1])
    return np.where(x > 0.1, np.minimum(x, 1), 0), rng.integers(0, 10, samples)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(100), marks=pytest.mark.slow)])
def test_the_book_s_networks_pass_but_at_kinks_which_are_named(net, seeds):
    make, options = NETS[net]
    failed = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, t = pictures(rng)
        x = x[:, np.newaxis] if net == "convolutional" else x.reshape(len(x), -1)
        params, loss, gradient = make(rng, x, t, **options)
        report = check_gradient(loss, params, gradient)
        failed.update(array.kind for array in report.arrays.values() if not array.passed)
    # Where a picture is dark, a filter returns its bias, 0: at the kink of ReLU.
    assert set(failed) <= {"kink"}
    if net == "two-layer":
        assert not failed


def test_compare_takes_the_numerical_gradient_from_elsewhere(unit):
    f, p, gradient = unit
    steps = []

    def numerical(h):
        steps.append(h)
        return numerical_gradient(f, p, h)

    options = {"h": 1e-4, "title": "backprop", "name": "params"}
    report = compare(f, p, gradient(p), numerical, **options)
    assert report.passed
    assert (steps, list(report.arrays)) == ([1e-4], ["params['W']", "params['b']"])
    wrong = {name: -array for name, array in gradient(p).items()}
    report = compare(lambda _: f(p), p, wrong, numerical, **options)
    assert [array.kind for array in report.arrays.values()] == ["wrong sign"] * 2
    assert report.arrays["params['W']"].where_absolute.startswith("params['W'][")


@pytest.mark.parametrize(
    "seeds", [range(39), pytest.param(range(39, 1360), marks=pytest.mark.slow)]
)
def test_planted_faults_are_found_and_what_is_named_is_what_was_planted(seeds):
    faults = Counter()
    for seed in seeds:
        case = planted.case(seed)
        if case is None:
            continue
        f, p, given, name, fault = case
        array = check_gradient(f, p, given).arrays[f"x['{name}']"]
        assert (seed, fault, array.passed) == (seed, fault, False)
        faults[fault, array.kind in planted.KINDS[fault]] += 1
        assert array.kind in planted.KINDS[fault] | {"wrong derivative", "few entries"}, seed
    assert sum(faults.values()) > 0.9 * len(seeds)
    # What cannot be undone, at a kink of f as well, is not named; it is rare.
    named = sum(count for (_, right), count in faults.items() if right)
    assert named > 0.97 * sum(faults.values())


@pytest.mark.parametrize(
    "seeds", [range(360), pytest.param(range(360, 1000), marks=pytest.mark.slow)]
)
def test_a_thousand_right_gradients_pass(seeds):
    failed = []
    for seed in seeds:
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


def test_an_absolute_tolerance_decides_alone():
    x = np.array([1.0, 2.0])
    truncated = numerical_gradient(exponentials, x)  # off by (3 h)**2 / 6 = 1.5e-8
    right = 3 * np.exp(3 * x)
    assert not check_gradient(exponentials, x, right, rtol=1e-9, atol=0).passed
    assert check_gradient(exponentials, x, right, rtol=2e-8, atol=0).passed
    assert check_gradient(exponentials, x, truncated, rtol=0, atol=0).passed
    assert check_gradient(exponentials, x, np.zeros(2), atol=1e4).passed
    # A relative one leaves what truncation and rounding make.
    assert check_gradient(exponentials, x, right, rtol=1e-9).passed
    assert not check_gradient(exponentials, x, right * (1 + 1e-7), rtol=1e-9).passed


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
        assert check_gradient(f, x, right, h=1e-12, **options).passed
        assert check_gradient(f, x, right, h=0.1, **options).passed
        assert not check_gradient(f, x, right * [1, 1, 1, 1, 1.001, 1], h=0.1, **options).passed


def test_a_batched_f(capsys):
    x = np.linspace(-1, 1, 30).reshape(5, 6)
    sizes = []

    def f(points, a):
        sizes.append(len(points))
        return (a * np.exp(points)).sum(axis=(1, 2))

    options = {"args": (2.0,), "batched": True}
    report = check_gradient(f, x, lambda x, a: a * np.exp(x), **options)
    assert report.passed
    assert sum(sizes) == 2 * 30 + 3
    plain = check_gradient(lambda x: np.sum(2 * np.exp(x)), x, 2 * np.exp(x))
    numerical = report.arrays["x"].numerical, plain.arrays["x"].numerical
    np.testing.assert_allclose(*numerical, rtol=0, atol=rounding("central", float, 80, 1e-4))
    wrong = check_gradient(f, x, lambda x, a: np.exp(x), progress=True, **options)
    assert wrong.arrays["x"].kind == "constant factor"
    assert "61/61" in capsys.readouterr().err
    with pytest.raises(TypeError, match=r"for each of the .* points"):
        check_gradient(lambda points: points.sum(), x, x, batched=True)
    assert_gradient(f, x, 2 * np.exp(x), bounds=(-1, 1), progress=True, **options)
    assert "61/61" in capsys.readouterr().err


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
    assert len(calls) == 2 * 200 + 3
    f, calls = counting(lambda x: np.sum(np.sin(3 * x)))
    assert not check_gradient(f, x, lambda x: np.cos(3 * x)).passed
    assert 403 < len(calls) <= 403 + LOOKS
    f, calls = counting(lambda x: np.sum(np.sin(900 * x)))
    assert check_gradient(f, x, lambda x: 900 * np.cos(900 * x)).passed
    assert 803 < len(calls) <= 4 * 403 + LOOKS


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
        (np.ones(3), None, TypeError, "gradient must hold real numbers, got None"),
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
        ({"rtol": "small"}, TypeError, "rtol must be a finite number from 0, got 'small'"),
        ({"atol": True}, TypeError, "atol"),
        ({"h": 0}, ValueError, "h must be"),
        ({"stencil": "magic"}, ValueError, "stencil must be one of"),
        ({"stencil": "complex"}, ValueError, "stencil must be one of .*, six-point or"),
        ({"bounds": (2, 3)}, ValueError, "within its bounds"),
        ({"bounds": 1}, ValueError, "bounds must be a pair"),
        ({"x": {"a": np.ones(3)}, "batched": True}, TypeError, "one array with batched=True"),
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


def three_arrays(rng):
    """Return f of three arrays of one shape, where, and its gradient."""
    p = {name: rng.standard_normal((3, 4)) for name in ("U", "V", "W")}
    return (
        lambda p: np.sum(np.sin(p["U"]) * p["V"]) + np.sum(p["W"] ** 3),
        p,
        {"U": np.cos(p["U"]) * p["V"], "V": np.sin(p["U"]), "W": 3 * p["W"] ** 2},
    )


def test_arrays_that_changed_places_are_named(rng):
    f, p, g = three_arrays(rng)
    report = check_gradient(f, p, {**g, "U": g["V"], "V": g["U"]})
    U, V, W = report.arrays.values()
    assert (U.kind, V.kind, W.passed) == ("exchanged arrays", "exchanged arrays", True)
    assert (
        "x['U']: 12 of 12 entries differ, exchanged arrays. Its right gradient was given for "
        "x['V']." in report.diagnosis
    )
    # In a circle.
    report = check_gradient(f, p, {"U": g["V"], "V": g["W"], "W": g["U"]})
    assert {array.kind for array in report.arrays.values()} == {"exchanged arrays"}


def test_arrays_are_not_called_exchanged_unless_that_makes_them_agree(rng):
    f, p, g = three_arrays(rng)
    report = check_gradient(f, p, {**g, "U": g["V"]})  # V is right as well
    assert report.arrays["x['U']"].kind == "wrong derivative"
    report = check_gradient(f, p, {**g, "U": g["V"], "V": -g["U"]})
    kinds = [array.kind for array in report.arrays.values()]
    assert kinds[:2] == ["wrong derivative", "exchanged arrays"]


@pytest.mark.parametrize("exponent", [5, 8, 13, 14, 15, 16])
def test_a_right_gradient_is_not_called_wrong_where_differences_cannot_tell(exponent):
    rate = 10.0**exponent
    for point in np.random.default_rng(exponent).uniform(-3, 3, 10):
        x = np.array([point, 0.3])
        f = lambda x: np.sin(rate * x[0]) + x[1] ** 2  # noqa: E731
        right = np.array([rate * np.cos(rate * point), 0.6])
        report = check_gradient(f, x, right)
        assert report.passed
        if exponent > 13:
            assert report.arrays["x"].kind == "not resolved"
            assert "So 1 of 2 entries could not be checked." in report.diagnosis
        # What can be told is told nevertheless.
        right[1] += 100
        assert check_gradient(f, x, right).arrays["x"].wrong.tolist() == [False, True]
        if exponent < 9:
            right[:] *= 1.02, 0.6 / right[1]
            assert check_gradient(f, x, right).arrays["x"].wrong.tolist() == [True, False]


def test_more_entries_than_are_looked_at_cannot_be_told_either():
    x = np.linspace(0.1, 1, 40)
    report = check_gradient(lambda x: np.sum(np.sin(1e15 * x)), x, 1e15 * np.cos(1e15 * x))
    assert report.passed
    assert "40 of 40 entries could not be checked" in report.diagnosis


def test_x_may_vary_on_a_scale_that_its_value_does_not_show():
    """At x = 0 only the given step tells the scale of f."""
    x = np.zeros(3)
    f, right = lambda x: np.sum(np.tanh(1e8 * x + 0.5)), 1e8 / np.cosh(0.5) ** 2 * np.ones(3)
    assert check_gradient(f, x, right, h=1e-12).passed
    wrong = right * [1, 1.01, 1]
    assert check_gradient(f, x, wrong, h=1e-12).arrays["x"].wrong.tolist() == [False, True, False]


def test_what_passed_from_the_start_is_not_said_to_need_smaller_steps(unit):
    f, p, gradient = unit
    report = check_gradient(f, p, lambda p: {**gradient(p), "b": -gradient(p)["b"]})
    assert len(report.diagnosis.splitlines()) == 1


def test_key_order_does_not_matter(unit):
    f, p, gradient = unit
    assert check_gradient(f, p, dict(reversed(gradient(p).items()))).passed


def test_a_gradient_taken_anew_for_one_array_serves_all():
    """Where h is too large, each further array costs f's noise alone, from 16 values."""

    def calls(arrays):
        x, count = {k: np.linspace(1, 2, 20) for k in range(arrays)}, 0

        def f(x):
            nonlocal count
            count += 1
            return sum(float(np.sum(array**4)) for array in x.values())

        def numerical(h):
            return {k: 4 * array**3 + 4 * array * h**2 for k, array in x.items()}

        assert compare(f, x, numerical(0), numerical, h=0.1, title="").passed
        return count

    assert calls(5) - calls(2) == 3 * 16
