"""The convolutional network: its gradient against the loop, and the book's constructor."""

import doctest
import sys

import numpy as np
import pytest
from deep_book import central_difference, conv_loss, largest_difference, same_bits

from fastgrad.networks import SimpleConvNet

SMALL = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
STRIDED = {"filter_num": 3, "filter_size": 3, "pad": 1, "stride": 2}
CASES = [((1, 6, 6), SMALL), ((1, 7, 6), SMALL), ((2, 7, 8), STRIDED)]


def make(image=(1, 6, 6), conv=SMALL, *, size=0.3, seed=0):
    rng = np.random.default_rng(seed)
    net = SimpleConvNet(image, conv, 4, 3, rng=rng)
    for array in net.params.values():
        array[:] = size * rng.standard_normal(array.shape)
    return net


def batch(image=(1, 6, 6), samples=3, *, largest=1.0, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, largest, (samples, *image)) * (rng.random((samples, *image)) < 0.5)
    return x, rng.integers(0, 3, samples)


def expected(net, conv, x, t, h, dtype=np.longdouble):
    options = {"pad": conv["pad"], "stride": conv["stride"], "dtype": dtype}
    return central_difference(conv_loss, net.params, x, t, h=h, **options)


@pytest.mark.parametrize(("image", "conv"), CASES)
@pytest.mark.parametrize(("h", "limit"), [(1e-4, 5e-11), (0.5, 1e-11)])
@pytest.mark.parametrize(("largest", "size"), [(1.0, 0.3), (255.0, 0.3), (1.0, 50.0)])
def test_it_is_the_loop(image, conv, h, limit, largest, size):
    net, (x, t) = make(image, conv, size=size), batch(image, largest=largest)
    wanted = expected(net, conv, x, t, h)
    assert largest_difference(net.numerical_gradient(x, t, h=h), wanted) <= limit


@pytest.mark.parametrize("method", ["full", "naive"])
def test_every_method_is_the_central_difference(method):
    net, (x, t) = make(), batch()
    grads = net.numerical_gradient(x, t, method=method, workers=2)
    assert largest_difference(grads, expected(net, SMALL, x, t, 1e-4)) <= 5e-11


@pytest.mark.parametrize(("image", "conv"), CASES)
def test_backprop_is_the_derivative(image, conv):
    net, (x, t) = make(image, conv), batch(image)
    assert largest_difference(net.gradient(x, t), expected(net, conv, x, t, 1e-6)) < 1e-5


@pytest.mark.parametrize("where", [0.0, 0.3, -0.99])
@pytest.mark.parametrize("h", [1e-4, 0.5])
def test_kinks_and_pixels_that_change_places_within_the_step(where, h):
    net, (x, t) = make(), batch()
    x[0], net.params["b1"][:] = 0.5, where * h  # all windows of sample 0 are alike
    net.params["W1"][0] = 0
    wanted = expected(net, SMALL, x, t, h)
    assert largest_difference(net.numerical_gradient(x, t, h=h), wanted) <= 1e-11


def test_the_same_bits_on_any_workers():
    net, (x, t) = make(), batch(samples=60)
    serial = net.numerical_gradient(x, t)
    for workers in (2, 3):
        assert same_bits(net.numerical_gradient(x, t, workers=workers), serial)


def test_one_image_labels_and_accuracy():
    net, (x, t) = make(), batch(samples=150)
    assert net.predict(x[0]).shape == (3,)
    assert net.loss(x[0], t[0]) == net.loss(x[:1], t[:1])
    assert net.loss(x, t) == pytest.approx(float(conv_loss(net.params, x, t)), rel=1e-14)
    assert net.accuracy(x, t, workers=2) == np.mean(np.argmax(net.predict(x), axis=1) == t)
    assert same_bits(net.gradient(x, t), net.gradient(x, np.eye(3)[t]))


def test_the_book_s_constructor_and_its_draws():
    np.random.seed(5)
    wanted = [0.01 * np.random.randn(*s) for s in ((30, 1, 5, 5), (4320, 100), (100, 10))]
    np.random.seed(5)
    net = SimpleConvNet()
    assert list(net.params) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert sum(array.size for array in net.params.values()) == 433_890
    for k, W in enumerate(wanted, 1):
        np.testing.assert_array_equal(net.params[f"W{k}"], W)
    assert not any(net.params[f"b{k}"].any() for k in (1, 2, 3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: SimpleConvNet((1, 6, 6), {"filter_num": 2}), ValueError, "conv_param must have"),
        (lambda: SimpleConvNet((1, 4, 4)), ValueError, "too small for filters of 5x5"),
        (lambda: SimpleConvNet(hidden_size=0), ValueError, "hidden_size must be a whole number"),
        (lambda: make().predict(np.zeros((2, 36))), ValueError, "flatten=False"),
        (lambda: make().predict(np.zeros((0, 1, 6, 6))), ValueError, "empty batch"),
        (lambda: make().loss(np.full((1, 1, 6, 6), np.nan), [0]), ValueError, "must be finite"),
        (lambda: make().loss(np.full((1, 1, 6, 6), "a"), [0]), TypeError, "real numbers"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_doctests_hold():
    result = doctest.testmod(sys.modules[SimpleConvNet.__module__])
    assert result.attempted
    assert not result.failed
