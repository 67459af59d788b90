"""The gradient of a compiled function that is known and short: bits and errors as of any other.

That longer work gives the reference's derivatives is what `test_gradient` looks at.
"""

import math
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastgrad import STENCILS, _threads, numerical_gradient, short_work

X = np.array([3.0, 2.0])
W = np.array([3.0, 2.0])


@numba.njit
def weighted(x, weights):
    total = 0.0
    for i, value in enumerate(x.flat):
        total += weights[i] * np.sin(value)
    return total


@numba.njit
def cubes(x):
    return (x**3).sum()


@numba.njit
def logarithm(x):
    return np.log(x[0]) + np.log(x[1])


@numba.njit
def narrow(x):
    if x[1] < 2:
        raise ValueError("too small")
    return x[0]


@numba.njit
def well(x):
    return np.log(abs(x[0] - 3) + abs(x[1] - 2))


@numba.njit
def reads_another(x):
    return W[0] * x[0]


def known(f, *args):
    """Return a compiled f that has been driven at `X`, so that nothing is compiled any more."""
    numerical_gradient(f, X, args=args, nonfinite="keep", stencil="forward")
    return f


@pytest.fixture
def short(monkeypatch):
    """Return a list that gets the size of each gradient that is short work, or its error."""
    found = []

    def gradient(*arguments):
        try:
            derivatives = short_work.gradient(*arguments)
        except Exception as error:
            found.append(error)
            raise
        if derivatives is not None:
            found.append(derivatives.size)
        return derivatives

    monkeypatch.setattr("fastgrad.gradient._short_work", lambda: gradient)
    return found


@settings(max_examples=60)
@given(
    x=hnp.arrays(float, hnp.array_shapes(min_dims=0, min_side=0), elements=st.floats(-4, 4)),
    order=st.sampled_from("CF"),
    every=st.sampled_from([1, -2]),
    h=st.none() | st.floats(1e-3, 0.5),
    stencil=st.sampled_from(sorted(STENCILS)),
)
def test_the_bits_are_those_of_longer_work(x, order, every, h, stencil):
    x = np.array(x, order=order)
    x, weights = x[::every] if x.ndim else x, np.arange(1.0, x.size + 1)
    before = x.tobytes()
    options = {"args": (weights,), "stencil": stencil}
    short = numerical_gradient(weighted, x, h, **options)
    long, _ = numerical_gradient(weighted, x, h, full_output=True, **options)
    assert short.shape == x.shape
    assert short.tobytes() == long.tobytes()
    assert x.tobytes() == before


@pytest.mark.parametrize("workers", [None, 1, 2])
@pytest.mark.parametrize("options", [{}, {"h": 0.5}, {"stencil": "six-point"}, {"args": (2.0,)}])
def test_the_parts_of_longer_work_are_left_out(monkeypatch, short, options, workers):
    @numba.njit
    def f(x, factor=1.0):
        return factor * x[0] * x[1]

    known(f, *options.get("args", ()))
    monkeypatch.delattr("fastgrad.gradient.Parameters")
    gradient = numerical_gradient(f, X, workers=workers, **options)
    np.testing.assert_allclose(gradient, options.get("args", (1.0,))[0] * X[::-1], rtol=1e-9)
    assert short == [2]


def test_work_that_workers_save_time_on_is_theirs(monkeypatch):
    f = numba.njit(lambda x, n: np.sin(np.arange(n)).sum() * x[0])
    x, used, original = np.ones(50), [], _threads.results
    expected = numerical_gradient(f, x, args=(10_000,))  # some 0.1 ms an evaluation

    def results(workers, tasks):
        used.append(workers)
        return original(workers, tasks)

    monkeypatch.setattr(_threads, "results", results)
    assert numerical_gradient(f, x, args=(10_000,), workers=2).tobytes() == expected.tobytes()
    assert used == [2]


def test_an_interrupt_does_not_wait_for_long_work(monkeypatch, short):
    known(logarithm)
    monkeypatch.setattr("fastgrad.short_work.PIECE_SECONDS", 0.0)
    np.testing.assert_allclose(numerical_gradient(logarithm, X), 1 / X, rtol=1e-8)
    assert not short


@pytest.mark.parametrize(("size", "sizes"), [(0, []), (1, [1]), (1024, [1024]), (1025, [])])
def test_as_many_coordinates_as_longer_work_drives_at_a_time(short, size, sizes):
    known(cubes)
    x = np.linspace(-1, 1, size)
    np.testing.assert_allclose(numerical_gradient(cubes, x), 3 * x**2, atol=1e-6)
    assert short == sizes


def test_what_cannot_be_changed_in_place_is_left_to_longer_work(short):
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_allclose(numerical_gradient(known(logarithm), x), 1 / X, rtol=1e-8)
    assert not short


def test_a_function_that_has_become_long_is_evaluated_once_more_and_only_then(monkeypatch, short):
    monkeypatch.setattr("fastgrad.short_work.PIECE_SECONDS", 0.02)

    @numba.njit
    def f(x, turns, count):
        count[0] += 1
        total = 0.0
        for i in range(turns):
            total += np.sin(i * x[0])
        return total

    x, count = np.array([3.0]), np.zeros(1)
    known(f, 1, count)
    evaluations = []
    for turns in (1, 5_000_000, 5_000_000, 1, 1):
        count[0] = 0
        numerical_gradient(f, x, args=(turns, count))
        evaluations.append(int(count[0]))
    assert evaluations == [3, 4, 3, 3, 3]
    assert short == [1, 1]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, None])
@pytest.mark.parametrize("evaluation", [2, 3, 4, 5])
def test_f_is_not_called_again_after_what_went_wrong(short, wrong, evaluation):
    @numba.njit
    def f(x, count, fails, wrong):
        count[0] += 1
        if count[0] == fails:
            if wrong == 0.0:
                raise ValueError("once")
            return wrong
        return x[0] * x[1]

    count = np.zeros(1)
    known(f, count, 0, 1.0)
    count[0] = 0
    place = ["x[0] = 3.0 + ", "x[0] = 3.0 - ", "x[1] = 2.0 + ", "x[1] = 2.0 - "][evaluation - 2]
    error = ValueError if wrong is None else FloatingPointError
    with pytest.raises(error) as caught:
        numerical_gradient(f, X, args=(count, evaluation, wrong or 0.0))
    told = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert sys.version_info < (3, 11) or f"{place}0.0001" in told
    assert count[0] == evaluation + (wrong is not None)  # the value is asked for again, to name it
    assert short == [caught.value]


@pytest.mark.parametrize("value", [1, 1j, (1.0, 2.0)])
def test_what_is_no_float_is_left_to_longer_work(short, value):
    @numba.njit
    def f(x, count):
        count[0] += 1
        return value

    count, evaluations = np.zeros(1), []
    for _ in range(3):
        count[0] = 0
        if value == 1:
            assert numerical_gradient(f, X, args=(count,)).tolist() == [0.0, 0.0]
        else:
            with pytest.raises(TypeError, match="f must return"):
                numerical_gradient(f, X, args=(count,))
        evaluations.append(int(count[0]))
    assert evaluations[1:] == ([5, 5] if value == 1 else [1, 1])
    assert not short


@pytest.mark.parametrize(
    ("f", "x", "options", "error", "match"),
    [
        (logarithm, [3.0, 5e-5], {}, FloatingPointError, r"f is nan at x\[1\] = 5e-05 - 0.0001"),
        (well, [3.0, 2.0], {"stencil": "forward"}, FloatingPointError, "f is -inf at x"),
        (narrow, [3.0, 2.0], {}, ValueError, "too small"),
        (logarithm, [3.0, math.nan], {}, ValueError, r"x\[1\] must be finite"),
        (logarithm, [3.0, 1e20], {}, ValueError, r"x\[1\] = 1e\+20 does not move"),
        (logarithm, [3.0, 2.0], {"h": -1.0}, ValueError, "h must be a finite step above 0"),
        (logarithm, [3.0, 2.0], {"h": math.nan}, ValueError, "h must be a finite step above 0"),
        (logarithm, [3.0, 2.0], {"stencil": "middle"}, ValueError, "stencil must be one of"),
        (logarithm, [3.0, 2.0], {"stencil": ["central"]}, ValueError, "stencil must be one of"),
        (logarithm, [3, 2], {}, TypeError, "x must be floating point"),
        (logarithm, [], {"h": -1.0}, ValueError, "h must be a finite step above 0"),
    ],
)
def test_errors_are_those_of_longer_work(f, x, options, error, match):
    known(f)
    x = np.array(x)
    before = x.tobytes()
    with pytest.raises(error, match=match) as caught:
        numerical_gradient(f, x, **options)
    assert x.tobytes() == before
    if f is narrow and sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["f was evaluated at x[1] = 2.0 - 0.0001"]


@pytest.mark.parametrize("stencil", ["central", "forward"])
def test_what_f_returns_may_change_with_its_arguments(short, stencil):
    f = numba.njit(lambda x, a: x.sum() * a)
    known(f, 2.0)
    one_element = numerical_gradient(f, X, args=(np.array([2.0]),), stencil=stencil)
    np.testing.assert_allclose(one_element, [2.0, 2.0])
    known(f, 2.0)
    with pytest.raises(TypeError, match="f must return a real number, got complex128"):
        numerical_gradient(f, X, args=(2j,), stencil=stencil)
    assert not short


def test_f_is_not_called_again_after_a_value_at_x_that_is_not_finite(short):
    @numba.njit
    def f(x, count):
        count[0] += 1
        return np.nan if count[0] == 1 else x[0] * x[1]

    count = np.array([5.0])
    known(f, count)
    count[0] = 0
    with pytest.raises(FloatingPointError, match="f is nan at x;"):
        numerical_gradient(f, X, args=(count,), stencil="forward")
    assert count[0] == 1
    assert len(short) == 1


def test_x_read_from_outside_is_refused():
    known(reads_another)
    np.testing.assert_allclose(numerical_gradient(reads_another, X), [3.0, 0.0])
    with pytest.raises(TypeError, match="reads x from outside, as W"):
        numerical_gradient(reads_another, W)


def test_an_argument_that_is_x_moves_along():
    f = numba.njit(lambda x, y: (x * y).sum())
    known(f, X + 1)
    np.testing.assert_allclose(numerical_gradient(f, X, args=(X,)), 2 * X)
    np.testing.assert_allclose(numerical_gradient(f, X, args=(X.copy(),)), X)


def test_f_may_change_its_copy_of_x():
    @numba.njit
    def least(x):
        x.sort()
        return x[0] + 2 * x[1]

    known(least)
    x = X.copy()
    expected, _ = numerical_gradient(least, x, full_output=True)
    assert numerical_gradient(least, x).tolist() == expected.tolist()
    assert x.tolist() == X.tolist()
