"""`step_sweep`: the V of rounding and truncation, and its picture."""

import doctest

import matplotlib
import numpy as np
import pytest
from functions_of_x import never, rosenbrock
from tolerances import COMPLEX, EXTRAPOLATED, FLOAT32, rounding

from fastgrad import STENCILS, StepSweep, numerical_gradient, step_sweep
from fastgrad._derivatives import step_sweep as sweeping
from fastgrad.plotting import plot_accuracy, plot_check, plot_step_sweep

matplotlib.use("agg")


def waves(x):
    return np.sum(np.exp(np.sin(3 * x)))


def slopes(x):
    return 3 * np.cos(3 * x) * np.exp(np.sin(3 * x))


X = np.array([0.3, 1.1, 2.0])


def test_the_doctest_holds():
    failed, attempted = doctest.testmod(sweeping)
    assert attempted > 0
    assert failed == 0


def test_the_errors_of_a_cube_are_the_squares_of_the_steps():
    # (x + h)³ - (x - h)³ over 2h is 3x² + h².
    steps = [0.5, 0.25, 2.0]
    sweep = step_sweep(lambda x: np.sum(x**3), np.array([1.0, -2.0]), steps, exact=[3.0, 12.0])
    assert sweep.steps.tolist() == sorted(steps)
    allowed = rounding("central", float, 4.0**3 + 3.0**3, 0.25)
    np.testing.assert_allclose(sweep.errors, [[h * h] * 2 for h in sorted(steps)], atol=allowed)
    assert sweep.best.tolist() == [0.25, 0.25]
    assert (sweep.source, sweep.order, sweep.names) == ("exact", 2, ("x[0]", "x[1]"))


@pytest.mark.parametrize("stencil", STENCILS)
def test_each_derivative_is_the_one_of_numerical_gradient(stencil):
    steps = 10.0 ** np.arange(-12, 1)
    sweep = step_sweep(waves, X, steps, exact=slopes(X), stencil=stencil)
    for h, row in zip(steps, sweep.derivatives, strict=True):
        assert row.tobytes() == numerical_gradient(waves, X, h, stencil=stencil).tobytes()
    np.testing.assert_array_equal(sweep.errors, np.abs(sweep.derivatives - slopes(X)))
    assert sweep.order == STENCILS[stencil].order


@pytest.mark.parametrize(("stencil", "order"), [("forward", 1), ("central", 2), ("five-point", 4)])
def test_the_best_step_is_where_rounding_and_truncation_meet(stencil, order):
    # For exp at 0 all derivatives are 1: eps / h = h**order, up to constants of a few.
    sweep = step_sweep(np.exp, np.array(0.0), exact=1.0, stencil=stencil)
    expected = np.finfo(float).eps ** (1 / (order + 1))
    assert expected / 30 < sweep.best[0] < expected * 30


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_is_good_where_no_truth_is_given(seed):
    x = np.random.default_rng(seed).uniform(-2, 2, 8)
    sweep = step_sweep(waves, x)
    assert sweep.source == 'h="auto"'
    np.testing.assert_allclose(sweep.truth, slopes(x), rtol=0, atol=EXTRAPOLATED * waves(x))
    # Good enough to tell the errors of the central difference, whose smallest are about 1e-10.
    exact = step_sweep(waves, x, exact=slopes(x))
    large = exact.errors > 100 * EXTRAPOLATED * waves(x)
    assert large.mean() > 0.5
    np.testing.assert_allclose(sweep.errors[large], exact.errors[large], rtol=0.011)


@pytest.mark.parametrize(
    ("f", "x", "slope"),
    [
        (lambda x: np.sum(x**2 - 4), 2.0, 4.0),  # f(x) = 0 hides the size of its rounding
        (lambda x: np.sum(np.cos(x)), 0.0, 0.0),
        (lambda x: 1e6 + np.sum(np.sin(x)), 1.0, np.cos(1.0)),  # short steps all give 0
        (lambda x: 7.0, 1.0, 0.0),
    ],
)
def test_the_estimate_is_not_deceived_by_agreement_in_the_noise(f, x, slope):
    sweep = step_sweep(f, np.array([x]))
    np.testing.assert_allclose(sweep.truth, slope, rtol=0, atol=EXTRAPOLATED * max(4, abs(f(x))))


def test_f_is_evaluated_as_often_as_documented():
    calls = []

    def f(x):
        calls.append(1)
        return waves(x)

    steps = 10.0 ** np.arange(-9, 0)
    step_sweep(f, X, steps, exact=1.0)
    assert len(calls) == 2 * 9 * 3 + 9  # one more a gradient tells that f reads x nowhere else
    calls.clear()
    _, info = numerical_gradient(waves, X, "auto", full_output=True)
    step_sweep(f, X, steps)
    assert len(calls) == 2 * 9 * 3 + 9 + info.evaluations
    calls.clear()
    step_sweep(f, X, steps, exact=1.0, coordinate=2)
    assert len(calls) == 2 * 9 + 9


def test_steps_that_are_lost_have_no_derivative():
    calls = []

    def f(x):
        calls.append(1)
        return float(x[-1])

    x = np.array([1.0, 1e-6, 0.0])
    sweep = step_sweep(f, x, [1e-300, 1e-18, 0.5], exact=1.0)
    assert np.isnan(sweep.derivatives).tolist() == [[True, True, False], [True, False, False],
                                                    [False] * 3]  # fmt: skip
    np.testing.assert_allclose(sweep.derivatives[:, 2], 1.0)
    calls.clear()
    sweep = step_sweep(f, np.ones(2), [1e-18, 1e-17], exact=1.0)
    assert calls == []
    assert np.isnan(sweep.best).all()


@pytest.mark.parametrize("stencil", STENCILS)
def test_a_step_at_a_power_of_two_is_lost_on_one_side_alone(stencil):
    # Below 1 floats lie twice as close as above.
    sweep = step_sweep(lambda x: float(x[0]), np.ones(1), [1e-16], exact=1.0, stencil=stencil)
    assert np.isnan(sweep.derivatives).all() == (stencil != "backward")


def test_where_f_is_not_finite_there_is_no_derivative():
    with np.errstate(invalid="ignore"):
        sweep = step_sweep(lambda x: np.sum(np.log(x)), np.array([0.5]), [0.125, 1.0], exact=2.0)
    assert np.isfinite(sweep.derivatives[0, 0])
    assert np.isnan(sweep.derivatives[1, 0])
    assert sweep.best.tolist() == [0.125]


def test_structures_and_float32():
    x = {"W": np.array([[1.0, 2.0]], np.float32), "b": [np.array([3.0])]}

    def f(x):
        return float(np.sum(x["W"].astype(float) ** 3)) + x["b"][0][0] ** 3

    exact = {"W": np.array([[3.0, 12.0]]), "b": [np.array([27.0])]}
    sweep = step_sweep(f, x, [1e-9, 0.5], exact=exact)
    assert sweep.names == ("x['W'][0, 0]", "x['W'][0, 1]", "x['b'][0][0]")
    assert np.isnan(sweep.derivatives[0]).tolist() == [True, True, False]
    np.testing.assert_allclose(sweep.errors[1], 0.25, atol=27 * FLOAT32)


@pytest.mark.parametrize("coordinate", [5, -1, (1, 2), np.int64(5)])
def test_one_coordinate_alone(coordinate):
    x = np.arange(1.0, 7.0).reshape(2, 3)
    whole = step_sweep(lambda x: np.sum(x**3), x, exact=3 * x**2)
    sweep = step_sweep(lambda x: np.sum(x**3), x, exact=3 * x**2, coordinate=coordinate)
    assert sweep.names == ("x[1, 2]",)
    np.testing.assert_array_equal(sweep.derivatives, whole.derivatives[:, 5:])
    assert sweep.truth.tolist() == [108.0]


def test_one_coordinate_of_a_book_closure_and_x_is_restored():
    x = np.array([1.0, 2.0])
    sweep = step_sweep(lambda _: np.sum(x**3), x, [0.5], exact=12.0, coordinate=1)
    assert sweep.derivatives.tolist() == [[12.25]]
    assert x.tolist() == [1.0, 2.0]

    def fails(x):
        raise KeyError("mine")

    for coordinate in (None, 1):
        with pytest.raises(KeyError, match="mine"):
            step_sweep(fails, x, coordinate=coordinate)
        assert x.tolist() == [1.0, 2.0]


def test_the_complex_step_has_no_rounding_branch():
    sweep = step_sweep(waves, X, exact=slopes(X), stencil="complex")
    short = sweep.steps <= 1e-9
    assert short.sum() > 10
    assert (sweep.errors[short] <= 8 * COMPLEX * np.abs(slopes(X)).max()).all()
    assert sweep.errors[-1].min() > 0.1


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("coordinate", [None, 3])
def test_the_bits_do_not_depend_on_the_workers(coordinate):
    x = np.linspace(-1, 1, 8)
    options = {"steps": 10.0 ** np.arange(-4, 0), "coordinate": coordinate}
    here = step_sweep(rosenbrock, x, **options)
    there = step_sweep(rosenbrock, x, workers=2, backend="threads", **options)
    assert there.derivatives.tobytes() == here.derivatives.tobytes()
    assert there.truth.tobytes() == here.truth.tobytes()
    closure = step_sweep(lambda _, a: a * rosenbrock(x), x, args=(1.0,), workers=2, **options)
    assert closure.derivatives.tobytes() == here.derivatives.tobytes()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"steps": 1e-4}, TypeError, "steps must be a list or 1-D array"),
        ({"steps": [["a"]]}, TypeError, "steps must be a list or 1-D array"),
        ({"steps": [0.0, 1, 2, 3]}, ValueError, "steps must be finite and above 0"),
        ({"steps": [np.nan, 1, 2, 3]}, ValueError, "steps must be finite and above 0"),
        ({"steps": []}, TypeError, "steps must be a list or 1-D array of numbers"),
        ({"exact": np.ones(4)}, ValueError, r"exact must .* shape of x, \(3,\); got \(4,\)"),
        ({"exact": "1"}, TypeError, "exact must hold real numbers"),
        ({"stencil": "centre"}, ValueError, "stencil must be one of"),
        ({"coordinate": 3}, ValueError, "coordinate must be a place below 3, .* got 3"),
        ({"coordinate": (0, 1)}, ValueError, r"coordinate .* got \(0, 1\)"),
        ({"coordinate": 1.0}, ValueError, "coordinate .* got 1.0"),
        ({"coordinate": 1, "stencil": "complex"}, ValueError, "coordinate must be None"),
    ],
)
def test_bad_arguments_are_refused_before_f_is_called(options, error, match):
    with pytest.raises(error, match=match):
        step_sweep(never, X, **options)


def test_x_must_hold_something():
    with pytest.raises(ValueError, match="x must have a coordinate"):
        step_sweep(never, np.empty(0))


# The picture -----------------------------------------------------------------------------------


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax, label):
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line.get_xdata(), line.get_ydata()


def test_the_picture_shows_the_errors_and_both_slopes(tmp_path):
    sweep = step_sweep(waves, X, exact=slopes(X))
    ax = plot_step_sweep(sweep, title="waves")
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_title()) == ("log", "log", "waves")
    assert labels(ax) == [*sweep.names, "rounding: slope -1", "truncation: slope 2"]
    steps, errors = drawn(ax, "x[1]")
    np.testing.assert_array_equal(errors, sweep.errors[:, 1])
    np.testing.assert_array_equal(steps, sweep.steps)
    for label, slope in (("rounding: slope -1", -1), ("truncation: slope 2", 2)):
        steps, line = np.log(drawn(ax, label))
        np.testing.assert_allclose(np.diff(line) / np.diff(steps), slope, rtol=1e-9)
    assert drawn(ax, "rounding: slope -1")[0].max() < sweep.best.min()
    assert drawn(ax, "truncation: slope 2")[0].min() > sweep.best.max()
    ax.figure.savefig(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_slopes_that_the_errors_do_not_follow_are_not_drawn():
    ax = plot_step_sweep(step_sweep(waves, X, exact=slopes(X), stencil="complex"))
    assert labels(ax) == ["x[0]", "x[1]", "x[2]", "truncation: slope 2"]
    # The central difference is exact on squares: no truncation.
    ax = plot_step_sweep(step_sweep(lambda x: np.sum(x**2), X, exact=2 * X))
    assert "truncation: slope 2" not in labels(ax)


@pytest.mark.parametrize(("left", "right", "expected"), [(-1, 2, 2), (-0.5, 2, 1), (-1, 3, 1)])
def test_each_slope_is_drawn_where_its_branch_has_it(left, right, expected):
    steps = 10.0 ** np.arange(-10, 1)
    errors = np.maximum((steps / 1e-5) ** left, (steps / 1e-5) ** right)
    sweep = StepSweep(steps, 1 + errors[:, np.newaxis], np.ones(1), "exact", ("x[0]",), 2)
    assert len(labels(plot_step_sweep(sweep))) == 1 + expected


def test_many_coordinates_are_drawn_as_a_median_and_a_range():
    x = np.linspace(-2, 2, 40)
    sweep = step_sweep(waves, x, exact=slopes(x))
    ax = plot_step_sweep(sweep)
    assert labels(ax)[:2] == ["all coordinates", "median of 40"]
    np.testing.assert_allclose(drawn(ax, "median of 40")[1], np.median(sweep.errors, axis=1))


@pytest.mark.parametrize(
    ("mark", "at", "text"),
    [
        (1e-5, [1e-5], "h = 1e-05"),
        (np.array([1e-6, 1e-5, 1e-6]), [1e-6, 1e-5], "steps marked"),
        ({"a": np.array([1e-6]), "b": [1e-4, 1e-5]}, [1e-6, 1e-5, 1e-4], "steps marked"),
    ],
)
def test_steps_are_marked(mark, at, text):
    ax = plot_step_sweep(step_sweep(waves, X, exact=slopes(X)), mark=mark)
    vertical = [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert vertical == at
    assert labels(ax)[-1] == text
    assert labels(ax).count(text) == 1


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("a", "mark must hold real numbers, got 'a'"),
        (1, r"mark must be floating point, got int64.*pass float\(mark\)"),
        ({"a": [None]}, r"mark\['a'\] must hold real"),
    ],
)
def test_a_mark_that_is_no_step_is_refused(mark, words):
    with pytest.raises(TypeError, match=words):
        plot_step_sweep(step_sweep(waves, X, exact=slopes(X)), mark=mark)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (plot_step_sweep, "sweep must be a StepSweep, got None: pass what step_sweep returns"),
        (plot_accuracy, "history must be a History, got None: pass what train returns"),
        (plot_check, "report must be a CheckReport, got None: pass what check_gradient returns"),
    ],
)
def test_nothing_cannot_be_drawn(draw, words):
    with pytest.raises(TypeError, match=words):
        draw(None)


def test_it_draws_where_it_is_told_and_says_what_the_truth_is():
    from matplotlib.figure import Figure

    given = Figure().subplots()
    sweep = step_sweep(waves, X)
    assert plot_step_sweep(sweep, given) is given
    assert 'h="auto"' in given.get_ylabel()


def test_nothing_but_zeros_and_lost_steps_can_be_drawn():
    steps, derivatives = np.array([1e-3, 1e-2]), np.array([[np.nan], [1.0]])
    sweep = StepSweep(steps, derivatives, np.ones(1), "exact", ("x[0]",), 2)
    assert plot_step_sweep(sweep).lines[0].get_xdata().size == 0
