import copy
import csv
import doctest
from decimal import Decimal
from types import SimpleNamespace

import book
import numpy as np
import pytest
from conftest import same_bits
from tolerances import TRAJECTORY

from fastgrad import TwoLayerNet
from fastgrad.plotting import plot_accuracy
from fastgrad.training import Checkpoints, History, loop, read, state, train

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


def test_the_same_bits_for_any_workers_and_with_a_seed(data):
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


def unchanged(net, folder, *given, words, **options):
    """Check that a call is refused, and that net, generators and disk are what they were."""
    params, rng = getattr(net, "params", None), options.get("rng")
    before, rngs = copy.deepcopy(params), [np.random]
    rngs += [rng] if isinstance(rng, np.random.Generator) else []
    states = [state.generator(rng) for rng in rngs]
    with pytest.raises((TypeError, ValueError), match=words):
        train(net, *given, **options)
    if isinstance(params, dict):
        assert params.keys() == before.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(params[name], array)
    assert [state.generator(rng) for rng in rngs] == states
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"progress": "yes"}, "progress must be True or False, got 'yes'"),
        ({"iterations": 0}, "iterations must be a whole number from 1, got 0"),
        ({"iterations": "9"}, "iterations must be a whole number from 1, got '9'"),
        ({"iterations": None}, "iterations must be a whole number from 1, got None"),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1, got 2.5"),
        ({"batch_size": True}, "batch_size must be a whole number from 1, got True"),
        ({"batch_size": "all"}, "batch_size must be a whole number from 1, got 'all'"),
        ({"eval_every": 0}, "eval_every must be a whole number from 1"),
        ({"eval_every": "epoch"}, "eval_every must be a whole number from 1, got 'epoch'"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number above 0"),
        ({"learning_rate": np.nan}, "learning_rate must be a finite number above 0"),
        ({"learning_rate": 10**400}, "learning_rate must be a finite number above 0"),
        ({"learning_rate": None}, "learning_rate must be a finite number above 0, got None"),
        ({"learning_rate": "1"}, "learning_rate must be a finite number above 0, got '1'"),
        ({"learning_rate": True}, "learning_rate must be a finite number above 0, got True"),
        (
            {"learning_rate": Decimal("0.1")},
            "learning_rate must be a finite .*, got Decimal",
        ),
        ({"learning_rate": 1j}, "learning_rate must be a finite number above 0, got 1j"),
        ({"learning_rate": np.ones(3)}, r"learning_rate must be a finite number .* array\(\[1"),
        ({"method": "magic"}, "method must be one of incremental, full, naive, backprop"),
        ({"method": None}, "method must be one of .*, got None"),
        ({"method": ["full"]}, r"method must be one of .*, got \['full'\]"),
        ({"method": np.ones(3)}, r"method must be one of .*, got array\(\[1"),
        ({"workers": 0}, "workers must not be 0 .*, got 0"),
        ({"workers": 1.5}, "workers must be a whole number or None, got 1.5"),
        ({"workers": "2"}, "workers must be a whole number or None, got '2'"),
        ({"workers": 1.5, "method": "backprop"}, "workers must be a whole number or None"),
        ({"h": np.ones(2)}, r"h must be a finite number above 0, got array\(\[1"),
        ({"h": 0.0}, "h must be a finite number above 0"),
        ({"h": "auto"}, "h must be a finite number above 0, got 'auto'"),
        ({"h": 1e-30}, "h"),  # lost beside the parameters
        ({"rng": 0}, r"rng must be a Generator or None, got 0.*default_rng\(seed\)"),
        ({"rng": np.random}, "rng must be a Generator or None, got <module"),
        ({"rng": np.random.PCG64(1)}, r"rng must be a Generator or None, .*default_rng\(seed\)"),
        ({"rng": np.random.RandomState(0)}, "rng must be a Generator"),
        ({"resume": "dir"}, r"resume must be a Checkpoint or None, got 'dir': .*read\(folder\)"),
        ({"resume": {}}, "resume must be a Checkpoint or None, got {}"),
        ({"checkpoints": "dir"}, r"checkpoints must be .*, got 'dir': pass Checkpoints\(folder"),
        ({"stop": True}, "stop must be a Callable or None, got True"),
        ({"on_evaluation": "print"}, "on_evaluation must be a Callable or None, got 'print'"),
    ],
)
def test_bad_options_change_nothing(data, option, words, tmp_path):
    options = {"checkpoints": Checkpoints(tmp_path / "new"), **option}
    unchanged(TwoLayerNet(6, 4, 3), tmp_path, data, words=words, **options)


def bad_data():
    """Yield (data, what the message says): x has six features, there are three classes."""
    x, t, rows = np.ones((9, 6)), np.arange(9) % 3, [[1.0] * 6] * 9
    good = (x, t)
    pairs = r"data must be \(\(x_train, t_train\), \(x_test, t_test\)\)"
    yield None, f"{pairs}.*, got None"
    yield good, pairs
    yield (x, t, x, t), pairs
    yield (good, (x[:0], t[:0])), "t_test does not fit: x must hold at least one sample"
    yield ((x[:0], t[:0]), good), "cannot predict x_train.*x must hold at least one sample"
    yield (good, (x, t + 1)), "t_test does not fit.*from 0 to 2, got 3 for sample 2"
    yield ((x, t - 1), good), "t_train does not fit.*from 0 to 2, got -1"
    yield (good, (x, t[:4])), r"t_test does not fit.*\(9,\)"
    yield (good, (x, t + 0.5)), "t_test does not fit.*integer"
    yield (good, (x, np.eye(4)[t])), r"t_test does not fit.*\(9, 3\)"
    yield (good, (x, np.ones((9, 3)))), "t_test does not fit.*one-hot"
    yield (good, (x[:, :5], t)), r"x_train and x_test .*one shape, got \(\(6,\), \(5,\)\)"
    yield ((x[:, :5], t), (x[:, :5], t)), r"x must have shape \(N, 6\)"
    yield (good, (np.where(x > 0, np.nan, x), t)), "x_test must be finite"
    yield (good, (x.astype(complex), t)), "x_test must hold real numbers, got dtype complex"
    yield (good, (x.astype(str), t)), "x_test must hold real numbers"
    yield (good, (x.astype(object), t)), "x_test must hold real numbers"
    yield (
        (good, ([*rows, [1.0]], [*t, 1])),
        "x_test must be an array .* differ in length",
    )
    yield (good, (x[0], t)), r"x_train and x_test .*one shape, got \(\(6,\), \(\)\)"
    yield (good, (x, None)), "t_test must hold real numbers"
    yield {"train": good, "test": good}, pairs
    yield (good, (np.ma.masked_greater(x, 0), t)), "x_test must have no masked entries"
    yield (good, (x, np.ma.masked_equal(t, 1))), "t_test must have no masked entries"
    yield (good, (x.astype("M8[s]"), t)), "x_test must hold real numbers, got dtype datetime"
    yield (good, (3.0, t)), "x_train and x_test must hold samples of one shape"
    yield ((x[0], t), (x[0], t)), r"net cannot predict x_train\[:1\]"
    yield (good, (x, t[:, None])), r"t_test does not fit.*got shape \(9, 1\); pass t.ravel\(\)"
    yield (good, (x, t > 0)), "t_test does not fit.*integer class numbers, got dtype bool"
    yield (
        (good, (x, [[0], [1, 2]] * 4)),
        "t_test must be an array .* differ in length",
    )
    yield (good, (x, {0, 1, 2})), "t_test must hold real numbers, got dtype object"


@pytest.mark.parametrize(("wrong", "words"), list(bad_data()))
def test_bad_data_changes_nothing(wrong, words, tmp_path):
    options = {"iterations": 2, "checkpoints": Checkpoints(tmp_path / "new")}
    rng = np.random.default_rng(1)
    unchanged(TwoLayerNet(6, 4, 3), tmp_path, wrong, rng=rng, words=words, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b1": None}, r"net.params\['b1'\] must be a writable array of finite floats, got None"),
        ({"b1": [0.0] * 4}, r"net.params\['b1'\] must be .*, got \[0.0, 0.0"),
        ({"b1": np.zeros(4, int)}, r"net.params\['b1'\] must be .*, got array\(\[0, 0"),
        ({"b1": np.full(4, np.nan)}, r"net.params\['b1'\] must be .*, got array\(\[nan"),
        ({"b1": np.broadcast_to(0.0, 4)}, r"net.params\['b1'\] must be a writable"),
        ({"W2": np.zeros((3, 4))}, r"net cannot predict x_train\[:1\]: .*'W2': \(3, 4\)"),
        ({"more": np.zeros(4)}, r"net cannot predict x_train\[:1\]: .*got .*'more': \(4,\)"),
    ],
)
@pytest.mark.parametrize("method", ["incremental", "backprop"])
def test_bad_parameters_change_nothing(data, change, words, method, tmp_path):
    net = TwoLayerNet(6, 4, 3)
    net.params |= change
    place = Checkpoints(tmp_path / "new")
    unchanged(net, tmp_path, data, words=words, method=method, checkpoints=place)


@pytest.mark.parametrize("method", ["incremental", "backprop"])
def test_a_bias_with_two_axes_is_refused(data, method, tmp_path):
    net = TwoLayerNet(6, 4, 3)
    net.params["b1"] = np.zeros((1, 4))
    unchanged(net, tmp_path, data, words=r"with.*'b1': \(4,\).*got.*'b1': \(1, 4\)", method=method)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_a_missing_parameter_is_refused(data, name, tmp_path):
    net = TwoLayerNet(6, 4, 3)
    del net.params[name]
    unchanged(net, tmp_path, data, words="net.params")


@pytest.mark.parametrize("net", [None, TwoLayerNet, SimpleNamespace(params={}), "net"])
def test_what_is_no_network_is_told_what_lacks(data, net, tmp_path):
    unchanged(net, tmp_path, data, words="net must have params, predict, .*which lacks p")


def test_no_parameters_at_all(data, tmp_path):
    net = TwoLayerNet(6, 4, 3)
    net.params = []
    unchanged(net, tmp_path, data, words=r"net.params must be a dict of arrays, got \[\]")


def test_an_error_in_the_first_gradient_changes_nothing_later_ones_keep_the_steps(
    data, tmp_path, monkeypatch
):
    calls = []

    def failing(self, x, t):
        calls.append(len(x))
        if len(calls) in (1, 4):
            raise ValueError("the reason")
        return {name: np.ones_like(array) for name, array in self.params.items()}

    monkeypatch.setattr(TwoLayerNet, "gradient", failing)
    net, rng = TwoLayerNet(6, 4, 3), np.random.default_rng(1)
    options = {"method": "backprop", "rng": rng, "learning_rate": 1e-3}
    place = Checkpoints(tmp_path / "a" / "b")
    unchanged(net, tmp_path, data, words="the reason", checkpoints=place, **options)
    before, drawn = net.params["b2"].copy(), state.generator(rng)
    with pytest.raises(ValueError, match="the reason"):
        train(net, data, **options)
    np.testing.assert_allclose(net.params["b2"], before - 2e-3, rtol=1e-12)
    assert state.generator(rng) != drawn


def test_lists_train_as_arrays_do(data):
    nets = []
    for given in (data, [[x.tolist(), t.tolist()] for x, t in data]):
        rng = np.random.default_rng(3)
        nets.append(TwoLayerNet(6, 4, 3, rng=rng))
        train(nets[-1], given, iterations=3, batch_size=10, rng=rng)
    assert same_bits(nets[0].params, nets[1].params)


class Line:
    """A network of one's own: a single layer, nothing of fastgrad's."""

    def __init__(self):
        self.params, self.asked = {"W": np.zeros((6, 3))}, []

    def predict(self, x):
        e = np.exp(x @ self.params["W"])
        return e / e.sum(axis=1, keepdims=True)

    def loss(self, x, t):
        return -np.log(self.predict(x)[np.arange(len(t)), t]).mean()

    def accuracy(self, x, t, *, workers=None):
        self.asked.append(workers)
        return float(np.mean(self.predict(x).argmax(axis=1) == t))

    def gradient(self, x, t):
        return {"W": x.T @ (self.predict(x) - np.eye(3)[t]) / len(x)}

    def numerical_gradient(self, x, t, *, h, workers, method):
        self.asked.append((h, workers, method))
        return self.gradient(x, t)


@pytest.mark.parametrize("method", ["full", "backprop"])
def test_any_network_trains(data, method, tmp_path):
    net = Line()
    options = {"iterations": 40, "method": method, "h": 1e-3, "workers": 2, "eval_every": 100}
    history = train(net, data, checkpoints=Checkpoints(tmp_path), **options)
    assert history.loss[-1] < history.loss[0] < np.log(3)
    asked = [] if method == "backprop" else [(1e-3, 2, "full")]
    assert net.asked == [*asked, 2, 2, *39 * asked, 2, 2]
    again = Line()
    train(again, data, resume=read(tmp_path), **options)
    assert same_bits(again.params, net.params)


def test_the_bar_counts_the_steps_that_are_left(data, tmp_path, monkeypatch):
    bars = []

    class Bar(SimpleNamespace):
        def __init__(self, **options):
            super().__init__(**options, n=options["initial"])
            bars.append(self)

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *error: None  # noqa: E731

        def update(self):
            self.n += 1

    monkeypatch.setattr("fastgrad.training.loop.tqdm", Bar)
    options = {"batch_size": 10, "method": "backprop"}
    train(Line(), data, iterations=3, checkpoints=Checkpoints(tmp_path), **options)
    train(Line(), data, iterations=7, resume=read(tmp_path), progress=True, **options)
    assert [(bar.initial, bar.total, bar.n) for bar in bars] == [(0, 3, 3), (3, 7, 7)]
    assert [bar.disable for bar in bars] == [True, None]  # None: where there is no terminal


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
    failed, attempted = doctest.testmod(loop)
    assert attempted
    assert not failed
