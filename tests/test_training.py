import csv
import doctest

import book
import numpy as np
import pytest
from conftest import same_bits
from tolerances import TRAJECTORY

from fastgrad import TwoLayerNet, training
from fastgrad.plotting import plot_accuracy
from fastgrad.training import History, train

METHODS = ["naive", "full", "incremental"]


@pytest.fixture
def data(rng):
    """Three classes that a line can tell apart."""
    t = rng.integers(0, 3, 60)
    x = (rng.random((60, 6)) + 2 * np.eye(6)[t]) / 3
    return (x[:40], t[:40]), (x[40:], t[40:])


@pytest.mark.parametrize("method", METHODS)
def test_the_trajectory_is_that_of_the_book_s_program(data, method):
    (x, t), _ = data
    np.random.seed(0)
    options = {"iterations": 5, "learning_rate": 1.0}
    expected = book.train(x, t, hidden=4, classes=3, batch=10, **options)
    np.random.seed(0)
    history = train(TwoLayerNet(6, 4, 3), data, batch_size=10, method=method, **options)
    np.testing.assert_allclose(history.loss, expected, rtol=0, atol=TRAJECTORY)


def test_it_learns(data):
    np.random.seed(0)
    net = TwoLayerNet(6, 8, 3)
    history = train(net, data, iterations=300, batch_size=20)
    assert history.test_accuracy[-1] > 0.9
    assert history.test_accuracy[-1] == net.accuracy(*data[1])
    assert history.train_accuracy[-1] == net.accuracy(*data[0])


def test_the_same_bits_for_any_workers_and_with_a_seed(data, monkeypatch):
    monkeypatch.setattr("fastgrad.executors.Executor.pays", lambda self, seconds: self.workers > 1)
    nets = []
    for workers in (1, 1, 2):
        rng = np.random.default_rng(5)
        nets.append(TwoLayerNet(6, 4, 3, rng=rng))
        train(nets[-1], data, iterations=4, batch_size=10, workers=workers, rng=rng)
    assert same_bits(nets[0].params, nets[1].params)
    assert same_bits(nets[0].params, nets[2].params)


def test_a_generator_leaves_the_global_one_alone(data):
    state = np.random.get_state()[1].copy()
    rng = np.random.default_rng(0)
    train(TwoLayerNet(6, 4, 3, rng=rng), data, iterations=2, rng=rng)
    assert np.array_equal(np.random.get_state()[1], state)


def test_accuracies_are_taken_every_so_often_and_at_the_end(data):
    seen = []
    history = train(
        TwoLayerNet(6, 4, 3),
        data,
        iterations=8,
        eval_every=3,
        on_evaluation=lambda history: seen.append(history.evaluated[-1]),
    )
    assert history.evaluated == seen == [0, 3, 6, 7]
    assert len(history.train_accuracy) == len(history.test_accuracy) == len(history.seconds) == 4
    assert len(history.loss) == len(history.gradient_seconds) == 8
    assert history.seconds == sorted(history.seconds)


def test_history_as_csv(tmp_path):
    history = History([2.5, 0.1 + 0.2], [1, 1], [1], [0.25], [0.5], [9.0])
    history.write_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["train_loss"] == "2.5"
    assert first["train_acc"] == first["test_acc"] == first["seconds"] == ""
    assert float(second["train_loss"]) == 0.1 + 0.2
    assert (second["iteration"], second["train_acc"], second["test_acc"]) == ("1", "0.25", "0.5")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"iterations": 0}, "iterations must be a whole number from 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1, got 2.5"),
        ({"eval_every": 0}, "eval_every must be a whole number from 1"),
        ({"learning_rate": -1.0}, "learning_rate must be finite and above 0"),
        ({"learning_rate": np.nan}, "learning_rate must be finite and above 0"),
        ({"method": "magic"}, "method must be one of incremental, full, naive, backprop"),
        ({"workers": 0}, "workers must not be 0"),
        ({"backend": "magic"}, "backend must be one of"),
        ({"h": 0.0}, "h must be"),
    ],
)
def test_bad_options_change_nothing(data, option, words):
    net = TwoLayerNet(6, 4, 3)
    before = {name: array.copy() for name, array in net.params.items()}
    with pytest.raises(ValueError, match=words):
        train(net, data, **option)
    assert same_bits(net.params, before)


def test_the_accuracy_graph():
    import matplotlib

    matplotlib.use("Agg")
    history = History([], [], [0, 10, 20], [0.1, 0.5, 0.8], [0.1, 0.4, 0.7], [0, 1, 2])
    ax = plot_accuracy(history, title="digits")
    train_line, test_line = ax.get_lines()
    assert list(train_line.get_xdata()) == [0, 10, 20]
    assert list(train_line.get_ydata()) == [0.1, 0.5, 0.8]
    assert list(test_line.get_ydata()) == [0.1, 0.4, 0.7]
    assert (train_line.get_linestyle(), test_line.get_linestyle()) == ("-", "--")
    assert ax.get_ylim() == (0, 1)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "test"]
    assert ax.get_legend()._loc == 4  # matplotlib's code for the lower right corner
    assert ax.get_title() == "digits"
    matplotlib.pyplot.close("all")


def test_the_doctests_hold():
    failed, attempted = doctest.testmod(training)
    assert attempted
    assert not failed
