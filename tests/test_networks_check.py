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


class Doubled(TwoLayerNet):
    def loss(self, x, t):
        return 2 * super().loss(x, t)


class Shifted(TwoLayerNet):
    def predict(self, x):
        return super().predict(x)[..., ::-1]

    def loss(self, x, t):
        return float(-np.log(self.predict(x)[np.arange(len(t)), t] + 1e-7).mean())


class Reversed(TwoLayerNet):
    def predict(self, x):
        return super().predict(x)[..., ::-1]


@pytest.mark.parametrize("kind", [Doubled, Shifted, Reversed])
def test_a_subclass_is_checked_by_its_own_loss(kind):
    net, x = kind(7, 5, 3, 1.0, rng=np.random.default_rng(0)), np.random.default_rng(1)
    x, t = x.random((5, 7)), np.array([0, 1, 2, 0, 1])
    report = net.check_gradient(x, t)
    wanted = net.numerical_gradient(x, t, method="naive")
    for name, array in wanted.items():
        found = report.arrays[f"params['{name}']"].numerical
        np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-9)
    assert not report.passed
    if kind is Doubled:
        assert {array.kind for array in report.arrays.values()} == {"constant factor"}
        assert report.diagnosis.count("the right one times 1/2.") == 4


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_beneath_a_dark_pixel_is_told():
    net, x = make(TwoLayerNet, np.random.default_rng(0))
    x[:, 2], net.params["W1"][2, 1] = 0, np.nan
    report = net.check_gradient(x, np.array([0, 1, 2, 0, 1]))
    assert {array.kind for array in report.arrays.values()} == {"not finite"}
    assert "f(x) is nan" in report.diagnosis


def test_options():
    net, x = make(TwoLayerNet, np.random.default_rng(0))
    t = np.array([0, 1, 2, 0, 1])
    assert not net.check_gradient(x, t, rtol=0, atol=0).passed
    assert net.check_gradient(x, t, h=10.0).passed  # by steps that are learnt from the loss
    for options, words in [({"h": 0}, "h must be"), ({"workers": 0}, "workers must not be 0")]:
        with pytest.raises(ValueError, match=words):
            net.check_gradient(x, t, **options)
    with pytest.raises(ValueError, match="x must have shape"):
        net.check_gradient(x[:, 1:], t)
