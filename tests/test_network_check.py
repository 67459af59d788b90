"""The network's backprop against its numerical gradient, the picture of it, and the script."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

from fastgrad import TwoLayerNet, backprop, check_gradient, load_mnist, two_layer_net
from fastgrad.plotting import plot_check

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_gradient.py"


def test_the_doctests_hold():
    assert doctest.testmod(two_layer_net).failed == 0
    assert doctest.testmod(backprop).failed == 0


def test_all_parameters_of_the_book_s_network_are_checked(rng):
    (x, t), _ = load_mnist()
    net = TwoLayerNet(784, 50, 10, rng=rng)
    before = {name: array.tobytes() for name, array in net.params.items()}
    report = net.check_gradient(x[:3], t[:3])
    assert report.passed
    assert list(report.arrays) == [f"params['{name}']" for name in ("W1", "b1", "W2", "b2")]
    assert sum(array.gradient.size for array in report.arrays.values()) == 39_760
    numerical = net.numerical_gradient(x[:3], t[:3])
    W1 = report.arrays["params['W1']"]
    assert W1.mean_absolute == np.abs(W1.gradient - numerical["W1"]).mean()
    assert {name: array.tobytes() for name, array in net.params.items()} == before


@pytest.mark.parametrize("seed", range(100))
def test_random_networks_pass(make_net, make_batch, seed):
    net, (x, t) = make_net(size=0.01 + seed % 3), make_batch()
    assert net.check_gradient(x, t).passed
    assert net.check_gradient(255 * x, t).passed  # truncation, at the default step


def broken(net, name, mistake):
    """Make the backprop of a network wrong in one array, or in all."""
    right = net.gradient

    def gradient(x, t):
        return {
            key: mistake(array) if name in (key, "all") else array
            for key, array in right(x, t).items()
        }

    net.gradient = gradient
    return net


@pytest.mark.parametrize(
    ("name", "mistake", "kind", "failing"),
    [
        ("all", lambda g: 6 * g, "constant factor", 4),  # a sum where the loss has a mean
        ("all", lambda g: -g, "wrong sign", 4),
        ("W1", lambda g: np.roll(g, 1, axis=0), "shifted entries", 1),
        ("b1", lambda g: g / 6, "constant factor", 1),
        ("W2", lambda g: g.T.reshape(g.shape), "transposed", 1),
        ("b2", np.zeros_like, "zero gradient", 1),
    ],
)
def test_broken_backprop_is_named(make_net, make_batch, name, mistake, kind, failing):
    net, (x, t) = broken(make_net(), name, mistake), make_batch()
    report = net.check_gradient(x, t)
    kinds = [array.kind for array in report.arrays.values() if not array.passed]
    assert kinds == [kind] * failing
    assert ("only params[" in report.diagnosis) == (failing == 1)


def test_the_1e_7_of_the_loss_passes_where_it_is_small_and_is_named_where_it_is_not(
    make_net, make_batch
):
    net, (x, t) = make_net(), make_batch()
    t[:] = [0, 0, 0, 1, 2, 3]
    net.params["b2"][0] = -8.0  # p is about 1e-4: backprop is off by a thousandth
    report = net.check_gradient(x, t)
    assert report.passed
    assert 1e-4 < report.arrays["params['b2']"].largest_relative < 1e-1
    net.params["b2"][0] = -20.0  # p is far below 1e-7: the loss is flat, backprop is not
    report = net.check_gradient(x, t)
    assert [array.kind for array in report.arrays.values()] == ["the 1e-7 of the loss"] * 4
    assert "the true class of sample" in report.diagnosis
    # The excuse does not cover another mistake.
    broken(net, "W1", np.negative)
    assert net.check_gradient(x, t).arrays["params['W1']"].kind != "the 1e-7 of the loss"


def test_options_of_the_network_s_check(make_net, make_batch):
    net, (x, t) = make_net(), make_batch()
    assert not net.check_gradient(x, t, rtol=0, atol=0).passed
    assert not net.check_gradient(x, t, h=10.0).passed
    assert net.check_gradient(x, t, workers=2).passed
    for options, words in [
        ({"h": 0}, "h must be"),
        ({"rtol": -1}, "rtol must be"),
        ({"workers": 0}, "workers must not be 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            net.check_gradient(x, t, **options)
    with pytest.raises(ValueError, match="x must have shape"):
        net.check_gradient(x[:, 1:], t)
    broken(net, "W2", lambda g: g.T)
    with pytest.raises(ValueError, match=r"gradient\['W2'\] must have the shape.*transposed"):
        net.check_gradient(x, t)


@pytest.fixture
def report():
    x = {"tall": np.arange(12.0).reshape(6, 2), "flat": np.ones(3), "cube": np.ones((2, 3, 2))}
    given = {name: 2 * array for name, array in x.items()}
    given["tall"][4, 1] += 1
    given["tall"][5, 0] = np.nan
    return check_gradient(lambda x: sum(np.sum(array**2) for array in x.values()), x, given)


@pytest.fixture
def axes():
    yield pyplot.figure().add_subplot()
    pyplot.close("all")


def test_the_picture_shows_the_differences_and_circles_what_is_wrong(report, axes):
    assert plot_check(report, ax=axes) is axes
    (image,) = axes.images
    shown = image.get_array()
    assert shown.shape == (2, 6)  # the tall array lies on its side
    assert shown[1, 4] == pytest.approx(1, abs=1e-6)
    assert image.norm.vmax == -image.norm.vmin == pytest.approx(1, abs=1e-6)
    assert sorted(axes.collections[0].get_offsets().tolist()) == [[4, 1], [5, 0]]
    assert axes.get_xlabel() == "first index"
    assert "2 of 12 entries differ" in axes.get_title()


@pytest.mark.parametrize(("name", "shape"), [("flat", (1, 3)), ("cube", (2, 6))])
def test_the_picture_of_an_array_that_passed(report, axes, name, shape):
    plot_check(report, f"x['{name}']", axes)
    assert axes.images[0].get_array().shape == shape
    assert axes.get_title() == f"x['{name}']: passed"
    assert not axes.collections


def test_a_picture_of_nothing(report):
    with pytest.raises(ValueError, match=r"one of x\['tall'\], .*got 'W1'"):
        plot_check(report, "W1")
    with pytest.raises(ValueError, match="one of no arrays, got None"):
        plot_check(check_gradient(lambda x: 0.0, {}, {}))


def run(*options, folder):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, cwd=folder
    )


def test_the_script_prints_the_report_and_draws_it(tmp_path):
    result = run("--seed", 0, "--picture", "check.png", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "backprop against finite differences of order 2, h = 0.0001: passed"
    assert [line.split()[0] for line in lines[2:6]] == [
        f"params['{name}']" for name in ("W1", "b1", "W2", "b2")
    ]
    assert "(784, 50)" in lines[2]
    assert (tmp_path / "check.png").read_bytes().startswith(b"\x89PNG")


def test_the_script_s_status_is_1_where_the_gradient_is_not_confirmed(tmp_path):
    options = ["--samples", 2, "--hidden-size", 4, "--seed", 1, "--step", 10, "--workers", 2]
    result = run(*options, folder=tmp_path)
    assert result.returncode == 1
    assert "FAILED" in result.stdout.splitlines()[0]
    assert "h is too large" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--samples", "0"], "--samples must be a whole number from 1, got 0"),
        (["--samples", "1000000"], "--samples must be at most"),
        (["--hidden-size", "0"], "hidden_size must be"),
        (["--step", "0"], "h must be"),
        (["--seed", "-1"], "eed must be"),
        (["--dataset", "cifar"], "cifar"),
        (["--workers", "0"], "workers must not be 0"),
        (["--picture", "nowhere/check.png"], "--picture must be in a folder that exists"),
    ],
)
def test_bad_options_of_the_script_end_with_one_line(options, words, tmp_path, call):
    result = call(SCRIPT, *options, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
