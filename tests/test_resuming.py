"""A run that goes on from a checkpoint is the run that was never interrupted."""

import copy
import dataclasses
import re

import numpy as np
import pytest
from conftest import same_bits

from fastgrad import TwoLayerNet
from fastgrad.networks import MultiLayerNet, SimpleConvNet
from fastgrad.training import (
    Checkpoints,
    DivergedError,
    History,
    newest_first,
    read,
    state,
    train,
)

GENERATORS = ["PCG64", "MT19937", "Philox", "SFC64"]
OPTIONS = {"iterations": 9, "batch_size": 10, "eval_every": 3}


@pytest.fixture
def data(rng):
    t = rng.integers(0, 3, 60)
    x = (rng.random((60, 6)) + 2 * np.eye(6)[t]) / 3
    return (x[:40], t[:40]), (x[40:], t[40:])


def draws(name):
    """Return the generator of that name in its first state, or None for NumPy's global one."""
    np.random.seed(4)
    return name and np.random.Generator(getattr(np.random, name)(4))


def run(data, rng=None, **options):
    net = TwoLayerNet(6, 4, 3, rng=rng)
    return net, train(net, data, rng=rng, **{**OPTIONS, **options})


def stop_after(steps):
    """Return a `stop` that says True after that many steps."""
    asked = iter(range(1, steps + 1))
    return lambda: next(asked) == steps


def same_history(first, second):
    timed = {"seconds", "gradient_seconds"}
    return all(
        (len(column) == len(vars(second)[name]) if name in timed else column == vars(second)[name])
        for name, column in vars(first).items()
    )


@pytest.mark.parametrize("name", [None, *GENERATORS])
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_it_ends_at_the_same_bits(data, tmp_path, name, steps):
    once, history = run(data, draws(name))
    after = np.random.random(3)
    cut, short = run(data, draws(name), checkpoints=Checkpoints(tmp_path), stop=stop_after(steps))
    assert len(short.loss) == steps
    saved = read(tmp_path)
    assert same_bits(saved.params, cut.params)
    np.random.seed(99)
    rng = name and np.random.Generator(getattr(np.random, name)(99))
    if name is None:
        again, went_on = run(data, resume=saved)
        assert np.array_equal(np.random.random(3), after)
    else:
        again, went_on = run(data, rng, resume=saved)
    assert same_bits(again.params, once.params)
    assert same_history(went_on, history)
    assert went_on.loss[:steps] == short.loss
    assert went_on.gradient_seconds[:steps] == short.gradient_seconds
    assert went_on.seconds == sorted(went_on.seconds)


@pytest.mark.parametrize("method", ["full", "naive", "backprop"])
def test_by_any_method_and_with_other_workers(data, tmp_path, method, always):
    once, history = run(data, draws(None), method=method)
    options = {"method": method, "checkpoints": Checkpoints(tmp_path)}
    run(data, draws(None), stop=stop_after(4), **options)
    again, went_on = run(data, resume=read(tmp_path), workers=2, **options)
    assert same_bits(again.params, once.params)
    assert same_history(went_on, history)


def test_float32_parameters_stay_float32(data, tmp_path):
    def single(**options):
        net = TwoLayerNet(6, 4, 3, rng=np.random.default_rng(1))
        net.params = {name: array.astype(np.float32) for name, array in net.params.items()}
        train(net, data, rng=np.random.default_rng(2), method="backprop", **OPTIONS, **options)
        return net.params

    single(checkpoints=Checkpoints(tmp_path), stop=stop_after(4))
    again = single(resume=read(tmp_path))
    assert again["W1"].dtype == np.float32
    assert same_bits(again, single())


def test_a_finished_run_goes_on_to_more_iterations(data, tmp_path):
    once, history = run(data, draws(None), iterations=14, eval_every=5)
    run(data, draws(None), eval_every=5, checkpoints=Checkpoints(tmp_path))
    again, went_on = run(data, iterations=14, eval_every=5, resume=read(tmp_path))
    assert same_bits(again.params, once.params)
    assert same_history(went_on, history)  # without accuracies after the ninth step


def test_nothing_is_left_to_do(data, tmp_path):
    once, history = run(data, draws(None), checkpoints=Checkpoints(tmp_path))
    again, went_on = run(data, resume=read(tmp_path), checkpoints=Checkpoints(tmp_path))
    assert same_bits(again.params, once.params)
    assert same_history(went_on, history)


def test_the_caller_s_arrays_stay_the_caller_s(data, tmp_path):
    run(data, draws(None), checkpoints=Checkpoints(tmp_path), stop=stop_after(2))
    net = TwoLayerNet(6, 4, 3)
    arrays = dict(net.params)
    train(net, data, resume=read(tmp_path), **OPTIONS)
    assert all(net.params[name] is array for name, array in arrays.items())


def decaying(decay=0.1, activation="relu"):
    return MultiLayerNet(6, [4], 3, activation, weight_decay_lambda=decay)


class Squared(MultiLayerNet):
    def __init__(self):
        super().__init__(6, [4], 3, weight_decay_lambda=0.1)

    def loss(self, x, t):
        return super().loss(x, t) ** 2


def padded(pad, stride):
    conv = {"filter_num": 1, "filter_size": 4, "pad": pad, "stride": stride}
    return lambda: SimpleConvNet((1, 27, 27), conv, 2, 3)


@pytest.fixture
def saved(data, tmp_path):
    about = Checkpoints(tmp_path, about={"seed": 4})
    run(data, draws(None), checkpoints=about, stop=stop_after(4))
    return read(tmp_path)


def refused(saved, data, words, *, hidden=4, rng=None, about=None, **options):
    """Check that going on is refused, and that nothing has been changed then."""
    net = TwoLayerNet(6, hidden, 3, rng=rng)
    before, drawn = copy.deepcopy(net.params), state.generator(rng or np.random)
    folder = saved.path.parent
    files = {path: path.read_bytes() for path in folder.iterdir()}
    place = Checkpoints(folder, about={"seed": 4} if about is None else about)
    with pytest.raises(ValueError, match=words):
        train(net, data, rng=rng, resume=saved, checkpoints=place, **{**OPTIONS, **options})
    assert same_bits(net.params, before)
    assert state.generator(rng or np.random) == drawn
    assert {path: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 11}, "batch_size must be what it was .* says 10, got 11"),
        ({"learning_rate": 0.5}, r"learning_rate must be what it was .* says 1\.0, got 0\.5"),
        ({"method": "full"}, "method must be what it was .* says 'incremental', got 'full'"),
        ({"h": 1e-3}, "h must be what it was"),
        ({"eval_every": 4}, "eval_every must be what it was"),
        ({"about": {"seed": 5}}, "seed must be what it was .* says 4, got 5"),
        ({"about": {}}, "seed must be what it was .* says 4, got None"),
        ({"about": {"seed": 4, "more": 1}}, "more must be what it was"),
        ({"iterations": 3}, "iterations must be at least 4, which are done"),
        ({"hidden": 5}, r"params must be what it was .*\(6, 4\).*\(6, 5\)"),
        ({"rng": np.random.default_rng(0)}, "drawn as they were, by NumPy's global generator"),
    ],
)
def test_another_run_is_refused(saved, data, options, words):
    refused(saved, data, words, **options)


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        (
            decaying,
            lambda: decaying(0.2),
            r"_lambda': 0\.1.*_lambda': 0\.2",
        ),
        (
            decaying,
            lambda: decaying(activation="tanh"),
            "'relu'.*'tanh'",
        ),
        (decaying, Squared, "'class': 'MultiLayerNet'.*'class': 'Squared'"),
        (padded(0, 1), padded(13, 2), "'pad': 0, 'stride': 1.*'pad': 13, 'stride': 2"),
    ],
)
def test_another_network_of_the_same_shapes_is_refused(first, other, words, tmp_path):
    net, other, x = first(), other(), np.random.default_rng(0).random((8, 1, 27, 27))
    x = x if isinstance(net, SimpleConvNet) else x[:, 0, 0, :6]
    data = 2 * ((x, np.arange(8) % 3),)
    options = {"iterations": 2, "batch_size": 2, "method": "backprop"}
    train(net, data, checkpoints=Checkpoints(tmp_path), **options)
    before, drawn = copy.deepcopy(other.params), state.generator(np.random)
    assert {k: a.shape for k, a in before.items()} == {k: a.shape for k, a in net.params.items()}
    with pytest.raises(ValueError, match=f"net must be what it was.*{words}"):
        train(other, data, resume=read(tmp_path), **options)
    assert same_bits(other.params, before)
    assert state.generator(np.random) == drawn


def test_other_data_is_refused(saved, data):
    (x, t), test = copy.deepcopy(data)
    x[3, 3] = np.nextafter(x[3, 3], 1)
    refused(saved, ((x, t), test), "data must be what it was")


def test_another_generator_is_refused(data, tmp_path):
    run(data, draws("PCG64"), checkpoints=Checkpoints(tmp_path), stop=stop_after(4))
    saved = read(tmp_path)
    refused(saved, data, r"by an rng \('PCG64'\): its state does not fit numpy.random", about={})
    other = np.random.Generator(np.random.Philox(1))
    refused(saved, data, r"by an rng \('PCG64'\): .* Generator\(Philox\)", rng=other, about={})


def test_a_hostile_state_of_the_generator_is_refused(saved, data):
    good = saved.generator
    assert good["state"]["pos"] <= 624
    for change in (
        {"state": {**good["state"], "pos": 625}},  # NumPy would read what lies behind the key
        {"state": {**good["state"], "pos": -1}},
        {"state": {**good["state"], "key": good["state"]["key"][1:]}},
        {"state": {**good["state"], "key": [2**32, *good["state"]["key"][1:]]}},
        {"state": None},
        {"gauss": float("nan")},
        {"more": 1},
    ):
        hostile = dataclasses.replace(saved, generator={**good, **change})
        refused(hostile, data, "its state does not fit numpy.random")
    refused(dataclasses.replace(saved, generator={}), data, "drawn as they were")


@pytest.mark.parametrize("name", ["PCG64", "Philox", "SFC64"])
def test_numbers_too_large_for_the_state_are_refused(name):
    rng = np.random.Generator(getattr(np.random, name)(1))
    good = state.generator(rng)
    state.check_generator(rng, good)
    with pytest.raises(ValueError, match="its state does not fit"):
        state.check_generator(rng, {**good, "uinteger": 2**32})
    inner = {key: 2**128 if type(value) is int else value for key, value in good["state"].items()}
    hostile = {**good, "state": inner} if name == "PCG64" else {**good, "buffer_pos": 5}
    with pytest.raises(ValueError, match="its state does not fit"):
        state.check_generator(rng, hostile)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("loss", np.zeros(3)),
        ("loss", np.zeros((4, 1))),
        ("loss", np.zeros(4, int)),
        ("seconds", np.zeros(1)),
        ("evaluated", np.array([0, 4])),
        ("evaluated", np.array([-1, 3])),
        ("evaluated", np.array([3, 3])),
        ("evaluated", np.array([0.0, 3.0])),
        ("evaluated", None),
        ("stranger", np.zeros(2)),
    ],
)
def test_a_history_that_does_not_fit_is_refused(saved, data, column, value):
    assert saved.history["evaluated"].tolist() == [0]
    # A second evaluation, so that the lengths of the others fit.
    table = {
        name: np.repeat(array, 2) if len(array) == 1 else array
        for name, array in saved.history.items()
    } | {"evaluated": np.array([0, 3])}
    place = Checkpoints(saved.path.parent, about={"seed": 4})
    good = dataclasses.replace(saved, history=table)
    train(TwoLayerNet(6, 4, 3), data, checkpoints=place, resume=good, **OPTIONS)
    table[column] = value
    if value is None:
        del table[column]
    refused(dataclasses.replace(saved, history=table), data, "is damaged: ")


def test_checkpoints_are_written_as_often_as_said(data, tmp_path, monkeypatch):
    written = []
    save = Checkpoints.save

    def noting(self, saved):
        written.append(saved.iteration)
        save(self, saved)

    monkeypatch.setattr(Checkpoints, "save", noting)
    run(data, checkpoints=Checkpoints(tmp_path, every=4))
    assert written == [4, 8, 9]


def test_without_checkpoints_a_stop_only_ends_it(data):
    _, history = run(data, stop=stop_after(4))
    assert len(history.loss) == 4
    assert history.evaluated == [0]  # not those of the last step


@pytest.mark.parametrize(
    ("method", "rate"), [("incremental", 1e20), ("full", 1e300), ("backprop", 1e308)]
)
def test_divergence_ends_it_with_the_last_good_checkpoint(data, tmp_path, method, rate):
    where = Checkpoints(tmp_path, every=3)
    rng = np.random.default_rng(4)
    net = TwoLayerNet(6, 4, 3, rng=rng)
    options = {**OPTIONS, "rng": rng, "method": method, "checkpoints": where}
    train(net, data, **{**options, "iterations": 3})
    good = read(tmp_path)
    # The same run, but for a rate that no run survives.
    wild = dataclasses.replace(good, config={**good.config, "learning_rate": rate})
    words = rf"diverged in iteration \d: .*learning rate, {re.escape(str(rate))}.*is {good.path}"
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match=words) as caught:
        train(net, data, resume=wild, learning_rate=rate, **{**options, "iterations": 40})
    assert isinstance(caught.value.history, History)
    assert 3 < len(caught.value.history.loss) < 40
    assert newest_first(tmp_path)[0] == good.path
    assert same_bits(read(tmp_path).params, good.params)


def test_divergence_without_checkpoints(data):
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="checkpoint is none"):
        run(data, learning_rate=1e20)


def test_no_checkpoint_is_written_that_nothing_can_go_on_from(data, tmp_path):
    with pytest.raises(DivergedError, match=r"in iteration 0: .* the parameters reach .*e\+"):
        run(data, learning_rate=1e20, checkpoints=Checkpoints(tmp_path, every=1))
    assert newest_first(tmp_path) == []


def test_a_loss_that_is_not_finite_is_divergence(data, monkeypatch):
    losses = iter([1.0, 0.5, np.nan])
    monkeypatch.setattr(TwoLayerNet, "loss", lambda net, x, t: next(losses))
    with pytest.raises(DivergedError, match="diverged in iteration 2: the loss is nan") as caught:
        run(data, method="backprop")
    assert caught.value.history.loss[:2] == [1.0, 0.5]


def test_another_error_of_the_gradient_is_no_divergence(data, monkeypatch):
    def failing(net, x, t, **options):
        raise ValueError("the reason")

    monkeypatch.setattr(TwoLayerNet, "numerical_gradient", failing)
    with pytest.raises(ValueError, match="the reason"):
        run(data)
