"""Networks as the book builds them in chapters 4 to 7, their gradients taken as it takes them.

Layers keep their inputs, share the arrays of a dict of parameters, and the loss ignores its
argument: `numerical_gradient(lambda W: net.loss(x, t), net.params["W1"])`.
"""

import numpy as np
import pytest

from fastgrad import numerical_gradient, reference
from fastgrad.functions import cross_entropy_error, softmax


class SimpleNet:
    """One layer of weights, as in section 4.4."""

    def __init__(self, rng):
        self.W = rng.standard_normal((2, 3))

    def loss(self, x, t):
        return cross_entropy_error(softmax(x @ self.W), t)


class Affine:
    def __init__(self, W, b):
        self.W, self.b, self.x = W, b, None

    def forward(self, x):
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out


class Convolution:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        windows = np.lib.stride_tricks.sliding_window_view(x, self.W.shape[2:], axis=(2, 3))
        self.columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, self.W[0].size)
        out = self.columns @ self.W.reshape(len(self.W), -1).T + self.b
        return out.reshape(len(x), *windows.shape[2:4], -1).transpose(0, 3, 1, 2)


class Pooling:
    def forward(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


class Layers:
    """Layers over the arrays of ``params``, as in sections 5.7 and 7.5."""

    def __init__(self, params, layers):
        self.params, self.layers = params, layers

    def loss(self, x, t):
        for layer in self.layers:
            x = layer.forward(x)
        self.y = softmax(x)
        return cross_entropy_error(self.y, t)


def two_layers(rng):
    params = {"W1": rng.standard_normal((9, 5)), "b1": np.zeros(5),
              "W2": rng.standard_normal((5, 4)), "b2": np.zeros(4)}  # fmt: skip
    layers = [Affine(params["W1"], params["b1"]), Relu(), Affine(params["W2"], params["b2"])]
    return Layers(params, layers), rng.standard_normal((6, 9)), rng.integers(0, 4, 6)


def convolutional(rng):
    params = {"W1": 0.3 * rng.standard_normal((3, 1, 3, 3)), "b1": np.zeros(3),
              "W2": 0.3 * rng.standard_normal((3 * 9, 4)), "b2": np.zeros(4)}  # fmt: skip
    layers = [Convolution(params["W1"], params["b1"]), Relu(), Pooling(),
              Affine(params["W2"], params["b2"])]  # fmt: skip
    return Layers(params, layers), rng.random((2, 1, 8, 8)), np.eye(4)[rng.integers(0, 4, 2)]


@pytest.fixture(params=["serial", "threads", "processes"])
def workers(request):
    if request.param == "serial":
        return {}
    request.getfixturevalue("always")
    return {"workers": 2, "backend": request.param}


def test_one_layer_of_weights(rng, workers):
    net, x, t = SimpleNet(rng), np.array([0.6, 0.9]), np.array([0, 0, 1])
    ours = numerical_gradient(lambda w: net.loss(x, t), net.W, **workers)
    assert ours.tobytes() == reference.numerical_gradient(lambda w: net.loss(x, t), net.W).tobytes()


@pytest.mark.parametrize("build", [two_layers, convolutional])
def test_networks_of_layers(build, rng, workers):
    net, x, t = build(rng)
    loss = lambda _: net.loss(x, t)  # noqa: E731, as the book writes it
    for name in net.params:
        ours = numerical_gradient(loss, net.params[name], **workers)
        theirs = reference.numerical_gradient(loss, net.params[name])
        assert ours.tobytes() == theirs.tobytes()
        assert np.count_nonzero(ours)
