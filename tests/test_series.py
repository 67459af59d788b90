"""The proof in fastgrad.series, held against losses in extended precision."""

import book
import numpy as np
import pytest
from conftest import largest_difference

from fastgrad import series
from fastgrad.objectives import incremental

EPS = np.finfo(float).eps


@pytest.mark.parametrize("gain", [series.SCORE, series.SIGMOID])
@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0])
def test_the_switch_is_monotone_and_between_the_article_s_step_and_large_ones(gain, spread):
    answers = [series.curves_are_exact(h, 1.0, spread, gain) for h in np.geomspace(1e-6, 1, 60)]
    assert answers == sorted(answers, reverse=True)
    assert series.curves_are_exact(1e-5, 1.0, spread, gain)
    assert not series.curves_are_exact(0.1, 1.0, spread, gain)


def test_the_switch_lies_where_the_proof_puts_it():
    # 0.3 rho^4 / R = eps / 8h at h = 1e-4 and |x| = 1, with R = 1 / 0.65 w, gives w = 9.56.
    assert series.curves_are_exact(1e-4, 1.0, 9.5, series.SIGMOID)
    assert not series.curves_are_exact(1e-4, 1.0, 9.6, series.SIGMOID)


@pytest.mark.parametrize(
    "arguments",
    [(1e-4, 1e85, 1.0), (1e300, 1e300, 1.0), (1e300, 1.0, np.inf), (1e-4, 1.0, 1e308)],
)
def test_sizes_that_overflow_are_not_exact(arguments):
    assert not series.curves_are_exact(*arguments, series.SIGMOID)


@pytest.mark.parametrize("place", range(4))
def test_nan_never_counts_as_exact(place):
    arguments = [1e-4, 1.0, 1.0, series.SIGMOID]
    arguments[place] = np.nan
    assert not series.curves_are_exact(*arguments)


def largest_step(largest, spread):
    """Return the largest h at which both layers still take the curves."""
    steps = np.geomspace(1e-7, 1e-1, 400)
    allowed = [
        h
        for h in steps
        if series.curves_are_exact(h, max(largest, 1), spread, series.SIGMOID)
        and series.curves_are_exact(h, 1.0, 1.0, series.SCORE)
    ]
    return float(max(allowed))


@pytest.mark.parametrize("size", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("largest", [1e-4, 0.5, 1.0, 20.0])
def test_at_the_edge_of_the_switch_the_curves_keep_their_promise(
    make_net, make_batch, monkeypatch, size, largest
):
    net, (x, t) = make_net(size=size), make_batch(largest=largest)
    W2 = net.params["W2"]
    h = largest_step(np.abs(x).max(), np.max(W2.max(axis=1) - W2.min(axis=1)))
    direct = []
    monkeypatch.setattr(incremental, "_Direct", lambda *a: direct.append(a))
    grads = net.numerical_gradient(x, t, h=h)
    assert not direct
    expected = book.central_difference(net.params, x, t, h, np.longdouble)
    assert largest_difference(grads, expected) <= EPS / (8 * h) + 20 * EPS * largest


def test_beyond_the_switch_libm_is_used(make_net, make_batch, monkeypatch):
    net, (x, t) = make_net(), make_batch()
    calls = []
    kernel = incremental.direct_kernel
    monkeypatch.setattr(incremental, "direct_kernel", lambda *a: calls.append(a) or kernel(*a))
    net.numerical_gradient(x, t, h=1e-4)
    assert not calls
    net.numerical_gradient(x, t, h=1e-2)
    assert len(calls) == 2


def test_the_curves_must_not_be_used_where_the_bound_says_no(make_net, make_batch, monkeypatch):
    # The bound is there for a reason: without it, a large step goes wrong.
    net, (x, t) = make_net(size=3.0), make_batch()
    monkeypatch.setattr(incremental, "curves_are_exact", lambda *a: True)
    expected = book.central_difference(net.params, x, t, 0.5)
    assert largest_difference(net.numerical_gradient(x, t, h=0.5), expected) > 1e-6
