"""The loss by compiled code, which training records, against NumPy's `TwoLayerNet.loss`."""

import numpy as np
import pytest
from tolerances import FORWARD

from fastgrad import compiled_network, engine
from fastgrad.executors import SERIAL, THREADS, Executor
from fastgrad.objectives import shared_work
from fastgrad.training import train


def loss(net, x, t, executor=SERIAL):
    return compiled_network.loss(compiled_network.layers(net.params), x, t, executor)


@pytest.mark.parametrize(
    ("sizes", "case"),
    [
        ((7, 5, 4), {}),
        ((1, 1, 1), {}),
        ((30, 50, 10), {"size": 5.0}),
        ((30, 41, 3), {"size": 50.0, "largest": 255.0}),  # saturated; probabilities underflow
    ],
)
@pytest.mark.parametrize("samples", [1, 9])
def test_it_is_the_loss(make_net, make_batch, sizes, case, samples):
    net = make_net(*sizes, size=case.get("size", 1.0))
    x, t = make_batch(samples, sizes[0], sizes[2], largest=case.get("largest", 1.0))
    for data in (x, x.astype(np.float32), np.rint(x).astype(np.uint8), np.asfortranarray(x)):
        np.testing.assert_allclose(loss(net, data, t), net.loss(data, t), rtol=FORWARD)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.usefixtures("always")
def test_the_same_bits_on_any_threads_and_in_parts(make_net, make_batch, monkeypatch, workers):
    net, (x, t) = make_net(40, 70), make_batch(60, 40)
    serial = loss(net, x, t)
    monkeypatch.setattr(engine, "cores", lambda: workers)
    for together in (512, 25, 1):
        monkeypatch.setattr(shared_work, "TOGETHER", together)
        assert loss(net, x, t) == serial
        for _ in range(20):
            assert loss(net, x, t, Executor(workers, THREADS)) == serial


def test_what_is_not_finite(make_net, make_batch):
    net, (x, t) = make_net(), make_batch()
    net.params["W2"][2, 1] = np.nan
    assert np.isnan(loss(net, x, t))
    x[3, 2] = np.inf
    with pytest.raises(ValueError, match="x must be finite, got inf for sample 3, feature 2"):
        loss(net, x, t)


def test_training_records_it(make_net, make_batch):
    (x, t), net, again = make_batch(20), make_net(), np.random.default_rng(1)
    given = np.random.default_rng(1)
    history = train(net, ((x, t), (x, t)), iterations=3, batch_size=20, rng=given)
    last = [again.choice(20, 20) for _ in range(3)][-1]
    np.testing.assert_allclose(history.loss[-1], net.loss(x[last], t[last]), rtol=FORWARD)
    assert history.loss[-1] == loss(net, x[last], t[last])
