"""`check_gradient` of the networks: every parameter, and a broken backprop by name."""

import numpy as np
import pytest

from fastgrad.networks import MultiLayerNet, SimpleConvNet, TwoLayerNet

pytest.importorskip("fastgrad._checking.check_gradient")

CONV = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}


def make(kind, rng):
    if kind is SimpleConvNet:
        return SimpleConvNet((1, 6, 6), CONV, 4, 3, 0.3, rng=rng), rng.random((5, 1, 6, 6))
    if kind is MultiLayerNet:
        return MultiLayerNet(7, [5, 5], 3, weight_decay_lambda=0.1, rng=rng), rng.random((5, 7))
    return TwoLayerNet(7, 5, 3, 1.0, rng=rng), rng.random((5, 7))


@pytest.mark.parametrize("kind", [TwoLayerNet, MultiLayerNet, SimpleConvNet])
def test_every_parameter_is_checked(kind):
    # With seed 0 a sample leaves all of a ReLU layer dark: a true kink, which the check names.
    net, x = make(kind, np.random.default_rng(1))
    before = {name: array.tobytes() for name, array in net.params.items()}
    report = net.check_gradient(x, np.array([0, 1, 2, 0, 1]), workers=2)
    assert report.passed
    assert list(report.arrays) == [f"params['{name}']" for name in net.params]
    assert {name: array.tobytes() for name, array in net.params.items()} == before


def test_a_gradient_of_a_subclass_that_is_wrong_is_found():
    class Wrong(TwoLayerNet):
        def gradient(self, x, t):
            return {**super().gradient(x, t), "b1": -super().gradient(x, t)["b1"]}

    net, x = Wrong(7, 5, 3, 1.0, rng=np.random.default_rng(0)), np.random.default_rng(1)
    report = net.check_gradient(x.random((5, 7)), np.array([0, 1, 2, 0, 1]))
    wrong = [name for name, array in report.arrays.items() if not array.passed]
    assert wrong == ["params['b1']"]


def test_options():
    net, x = make(TwoLayerNet, np.random.default_rng(0))
    t = np.array([0, 1, 2, 0, 1])
    assert not net.check_gradient(x, t, rtol=0, atol=0).passed
    assert not net.check_gradient(x, t, h=10.0).passed
    for options, words in [({"h": 0}, "h must be"), ({"workers": 0}, "workers must not be 0")]:
        with pytest.raises(ValueError, match=words):
            net.check_gradient(x, t, **options)
    with pytest.raises(ValueError, match="x must have shape"):
        net.check_gradient(x[:, 1:], t)
