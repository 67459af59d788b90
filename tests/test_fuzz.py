"""A short run of what ``python -m benchmarks.fuzz`` does for long, and what that has found."""

import contextlib
import fractions
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_targets import TARGETS
from fastgrad import Stencil, numerical_gradient


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=75, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_but_the_documented_exceptions(name, data):
    target = TARGETS[name]
    drawn = data.draw(target.inputs)
    with contextlib.suppress(target.documented):
        target.call(drawn)


def test_the_long_run_counts_its_inputs():
    command = [sys.executable, "-m", "benchmarks.fuzz", "--child", "--way=hypothesis"]
    done = subprocess.run(
        [*command, "--target=read_idx", "--runs=50"],
        cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["inputs"] == sum(outcome["kinds"].values()) == 50
    assert outcome["crashes"] == []


def total(x):
    return float(np.sum(np.asarray(x, float) ** 2))


def nested(depth):
    x = [np.ones(2)]
    for _ in range(depth):
        x = [x]
    return x


def circle():
    x = [np.ones(2)]
    x.append(x)
    return x


@pytest.mark.parametrize(
    ("x", "options", "error", "words"),
    [
        (circle(), {}, ValueError, "x must not be nested so deep"),
        (nested(5000), {}, ValueError, "x must not be nested so deep"),
        ((b"\xcb", "a"), {}, ValueError, "x must be an array of numbers"),
        (np.ma.masked, {}, TypeError, "x must be a plain array"),
        (np.ones((2, 2)).view(np.matrix), {}, TypeError, "x must be a plain array, got matrix"),
        (np.ones(2), {"h": 10**400}, ValueError, "h must be a finite number"),
        (
            np.ones(2),
            {"h": fractions.Fraction(1, 10**400)},
            ValueError,
            "h must be a finite number",
        ),
        (np.ones(2), {"h": np.longdouble("1e-4000")}, ValueError, "h must be a finite number"),
        (np.full(2, 1e308), {"h": 1e308}, ValueError, r"x\[0\] = 1e\+308 leaves the range"),
        (np.ones(2, "f2"), {"h": 1e5}, ValueError, r"x\[0\] = 1.0 leaves the range of float16"),
        (np.full(2, 6e4, "f2"), {}, ValueError, r"x\[0\] = .* leaves the range of float16"),
        (np.ones(2), {"workers": 10**400}, ValueError, "workers must not be 0 or above 10,000"),
        (np.ones(2), {"nonfinite": np.ones(2)}, ValueError, "nonfinite must be"),
    ],
)
def test_bad_arguments_are_refused_by_name(x, options, error, words):
    def unreached(x):
        raise AssertionError

    with pytest.raises(error, match=words):
        numerical_gradient(unreached, x, **options)


@pytest.mark.parametrize("batched", [False, True])
def test_what_is_no_number_is_refused_as_what_f_returned(batched):
    with pytest.raises(TypeError, match="f must return"):
        numerical_gradient(lambda x: [[1.0], [1.0, 2.0]], np.ones(2), batched=batched)


class Key:
    def __repr__(self):
        return "key"


def test_keys_that_look_the_same_are_two_keys():
    x = {Key(): np.array(1.0), Key(): np.array(2.0)}
    gradient = numerical_gradient(lambda x: sum(float(v) ** 2 for v in x.values()), x, 0.5)
    assert [g.item() for g in gradient.values()] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("offsets", "weights", "order", "error", "words"),
    [
        (1.0, (0.5, -0.5), 2, TypeError, "offsets must be a tuple of floats"),
        ((1.0, -1.0), ("a", None), 2, TypeError, "weights must be a tuple of floats"),
        ((10**400, -1.0), (0.5, -0.5), 2, TypeError, "offsets must be a tuple of floats"),
        ((1.0, -1.0), (0.5, -0.5), 2.0, TypeError, "order must be a whole number"),
        ((1e200, -1e200), (0.5e-200, -0.5e-200), 2, ValueError, "not of order 2"),
        # Powers of such offsets vanish, and would be looked at for ever.
        ((1e-200, -1e-200), (0.5e200, -0.5e200), 10**12, ValueError, "order must be"),
    ],
)
def test_what_is_no_stencil_is_refused_by_name(offsets, weights, order, error, words):
    with pytest.raises(error, match=words):
        Stencil(offsets, weights, order)


def test_a_stencil_of_lists_is_one():
    stencil = Stencil([1, -1], [0.5, -0.5], 2)
    assert numerical_gradient(total, np.array([3.0]), 0.5, stencil=stencil) == 6.0
