"""Accuracy by float32, held against the likeliest class of `predict`."""

import numpy as np
import pytest

from fastgrad import load_mnist
from fastgrad.networks import MultiLayerNet, Network, TwoLayerNet
from fastgrad.networks._accuracy import likeliest as in_singles


def make(sizes=(30, 20, 10), activation="sigmoid", *, size=1.0, seed=0):
    rng = np.random.default_rng(seed)
    net = Network(sizes, activation, weight_init_std=size, rng=rng)
    for name, array in net.params.items():
        if name.startswith("b"):
            array[:] = rng.standard_normal(array.shape)
    return net


def samples(count=500, features=30, largest=1.0):
    rng = np.random.default_rng(1)
    x = rng.uniform(0, largest, (count, features))
    return x * (rng.random(x.shape) < 0.5)


def likeliest(net, x):
    """Return what `accuracy` takes for the likeliest classes: it is right for no others."""
    t = np.argmax(net.predict(x), axis=1)
    assert net.accuracy(x, t) == 1
    assert net.accuracy(x, (t + 1) % net.predict(x).shape[1]) == 0
    return t


def test_it_counts_and_goes_over_block_borders():
    net, x = make(), samples(2500)
    t = np.random.default_rng(2).integers(0, 10, 2500)
    wanted = np.mean(np.argmax(net.predict(x), axis=1) == t)
    assert 0 < wanted < 1
    for workers in (1, 2, 3):
        assert net.accuracy(x, t, workers=workers) == wanted


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-30, 0.01, 1.0, 2000.0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_it_is_that_of_predict(dtype, size, activation):
    likeliest(make((30, 20, 20, 10), activation, size=size), samples(largest=2.5).astype(dtype))


@pytest.mark.parametrize("gap", [1e-11, 1e-8, 1e-7, 1e-6])
def test_where_only_float64_can_tell(gap):
    # Class 2 leads class 1 by less than float32 resolves, and so does 1 lead 2 in other samples.
    net, x = make((30, 20, 3)), samples(2000)
    W = net.params["W2"]
    W[:, 1] -= W[:, 1].mean()
    W[:, 2], W[:, 0], net.params["b2"][:] = W[:, 1] * (1 + gap), -100.0, 0.0
    assert set(likeliest(net, x)) == {1, 2}


def test_where_float32_loses_the_inputs():
    # What tells the classes is by how much one input misses the sum of two: float32's last digit.
    net, rng = make((3, 2, 2)), np.random.default_rng(0)
    net.params["W1"][:], net.params["W2"][:] = [[1, -1], [1, -1], [-1, 1]], np.eye(2)
    net.params["b1"][:] = net.params["b2"][:] = 0.0
    x, miss = rng.uniform(1e3, 1e4, (2000, 3)), rng.normal(0.0, 1e-3, 2000)
    x[:, 2] = x[:, 0] + x[:, 1] + miss
    np.testing.assert_array_equal(likeliest(net, x), miss > 0)


@pytest.mark.parametrize("shift", [0.0, 1e-17, -1e-17])
def test_ties_are_those_of_argmax(shift):
    net, x = make((30, 20, 3)), samples(200)
    net.params["W2"][:] = net.params["b2"][:] = 0.0
    net.params["b2"][1] = shift  # too little for the softmax to show
    assert set(likeliest(net, x)) == {0}


@pytest.mark.parametrize("name", ["W1", "W2", "x"])
def test_where_float32_overflows(name):
    net, x = make(), samples(50)
    if name == "x":
        x *= 1e39
    else:
        net.params[name] *= 1e39
    likeliest(net, x)


@pytest.mark.parametrize("size", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("largest", [1.0, 255.0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_float32_is_never_wrong_where_it_is_sure(size, largest, activation):
    net, x = make((30, 20, 20, 10), activation, size=size), samples(2000, largest=largest)
    layers = [(net.params[f"W{k}"], net.params[f"b{k}"]) for k in (1, 2, 3)]
    classes, sure = in_singles(layers, activation, x)
    assert sure.mean() > 0.9 or size * largest > 1
    assert np.array_equal(classes[sure], np.argmax(net.predict(x), axis=1)[sure])


def test_float32_is_sure_of_most_digits():
    (x, t), _ = load_mnist()
    net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(0))
    for _ in range(30):
        for name, grad in net.gradient(x[:500], t[:500]).items():
            net.params[name] -= grad
    layers = [(net.params[f"W{k}"], net.params[f"b{k}"]) for k in (1, 2)]
    assert in_singles(layers, "sigmoid", x)[1].mean() > 0.95
    likeliest(net, x)


def test_a_predict_of_a_subclass_counts():
    class Last(MultiLayerNet):
        def predict(self, x):
            return np.eye(10)[np.full(len(x), 9)]

    net = Last(30, [5], 10, rng=np.random.default_rng(0))
    assert net.accuracy(samples(20), np.full(20, 9)) == 1
