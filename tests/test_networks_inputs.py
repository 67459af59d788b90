"""What is no network, no parameters or no step of one is refused, before any work."""

import numpy as np
import pytest
from deep_book import largest_difference, same_bits

from fastgrad.networks import (
    MultiLayerNet,
    MultiLayerNetExtend,
    Network,
    SimpleConvNet,
    TwoLayerNet,
)

METHODS = "incremental", "full", "naive"
CONV = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
NOT_TO_BE = r"must be a finite number from 0, got"


def rng():
    return np.random.default_rng(0)


NETS = {
    "two": lambda: TwoLayerNet(7, 5, 4, 1.0, rng=rng()),
    "deep": lambda: MultiLayerNet(7, [5, 5], 4, rng=rng()),
    "conv": lambda: SimpleConvNet((1, 6, 6), CONV, 5, 4, 1.0, rng=rng()),
}


def batch(kind):
    x = rng().random((3, 1, 6, 6) if kind == "conv" else (3, 7))
    return x, np.array([0, 1, 3])


CALLS = {
    "loss": lambda net, x, t: net.loss(x, t),
    "predict": lambda net, x, t: net.predict(x),
    "accuracy": lambda net, x, t: net.accuracy(x, t),
    "gradient": lambda net, x, t: net.gradient(x, t),
    "check": lambda net, x, t: net.check_gradient(x, t),
    **{m: lambda net, x, t, m=m: net.numerical_gradient(x, t, method=m) for m in METHODS},
}

CHANGES = {
    "no b2": lambda params: params.pop("b2"),
    "no W2": lambda params: params.pop("W2"),
    "no layer 2": lambda params: [params.pop(name) for name in ("W2", "b2")],
    "W9": lambda params: params.update(W9=np.zeros((4, 2)), b9=np.zeros(2)),
    "g": lambda params: params.update(g=np.zeros(3)),
    "b1 (1, H)": lambda params: params.update(b1=params["b1"][np.newaxis]),
    "W2 narrow": lambda params: params.update(W2=params["W2"][:, :2]),
    "nothing": lambda params: params.clear(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", NETS)
def test_parameters_of_another_network_are_refused(kind, call, change):
    net, (x, t) = NETS[kind](), batch(kind)
    made = {name: array.shape for name, array in net.params.items()}
    CHANGES[change](net.params)
    found = {name: array.shape for name, array in net.params.items()}
    with pytest.raises(ValueError, match="params must have the names and shapes") as error:
        CALLS[call](net, x, t)
    assert f"{made}, got {found}" in str(error.value)


class WithScale(TwoLayerNet):
    """A network with a parameter of its own."""

    def __init__(self):
        super().__init__(7, 5, 4, 1.0, rng=rng())
        self.params["scale"] = np.full(4, 2.0)

    def predict(self, x):
        y = TwoLayerNet(7, 5, 4)
        y.params = {name: self.params[name] for name in y.params}
        y = y.predict(x) ** self.params["scale"]
        return y / y.sum(axis=-1, keepdims=True)


def test_a_subclass_may_have_parameters_of_its_own():
    net, (x, t) = WithScale(), batch("two")
    found = net.numerical_gradient(x, t, method="naive")
    assert found.keys() == net.params.keys()
    assert found["scale"].all()


def test_a_generator_is_asked_for():
    for given in (0, np.random.RandomState(0), "rng"):
        for build in (
            lambda given: TwoLayerNet(7, 5, 4, rng=given),
            lambda given: MultiLayerNet(7, [5], 4, rng=given),
            lambda given: Network([7, 4], "relu", rng=given),
            lambda given: SimpleConvNet(rng=given),
        ):
            with pytest.raises(TypeError, match=r"rng must be a Generator or None.*default_rng\("):
                build(given)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MultiLayerNet(5, 4, 3), "hidden_size_list must be a list of numbers, got 4"),
        (lambda: MultiLayerNet(5, None, 3), "hidden_size_list must be a list of .*, got None"),
        (lambda: MultiLayerNet(5, [4, 0], 3), r"hidden_size_list\[1\] must be a whole .*, got 0"),
        (lambda: MultiLayerNet(5, [4.0], 3), r"hidden_size_list\[0\] must be a whole number"),
        (lambda: MultiLayerNet(5, "44", 3), r"hidden_size_list\[0\] must be a whole .*, got '4'"),
        (lambda: MultiLayerNet(5, [4], 0), "output_size must be a whole number from 1, got 0"),
        (lambda: Network(5, "relu"), "sizes must be a list of numbers, got 5"),
        (lambda: MultiLayerNet(5, [4], 3, "relu", -1), f"weight_init_std {NOT_TO_BE} -1"),
        (lambda: MultiLayerNet(5, [4], 3, "relu", np.nan), f"weight_init_std {NOT_TO_BE} nan"),
        (lambda: TwoLayerNet(5, 4, 3, None), f"weight_init_std {NOT_TO_BE} None"),
        (lambda: TwoLayerNet(5, 4, 3, True), f"weight_init_std {NOT_TO_BE} True"),
        (lambda: TwoLayerNet(5, 4, 3, 10**400), rf"weight_init_std {NOT_TO_BE} 10*\.\.\.0*$"),
        (lambda: SimpleConvNet(weight_init_std="he"), f"weight_init_std {NOT_TO_BE} 'he'"),
        (lambda: MultiLayerNet(5, [4], 3, "relu", "he", -1), f"weight_decay_lambda {NOT_TO_BE} -1"),
        (lambda: MultiLayerNet(5, [4], 3, "relu", "he", None), f"weight_decay_lambda {NOT_TO_BE}"),
        (lambda: Network([5, 3], "relu", weight_decay_lambda=np.nan), f"decay_lambda {NOT_TO_BE}"),
        (lambda: SimpleConvNet((1, 28)), r"input_dim must be \(channels, rows, columns\), got \(1"),
        (lambda: SimpleConvNet(28), "input_dim must be a list of numbers, got 28"),
        (lambda: SimpleConvNet((1, 28, 0)), r"input_dim\[2\] must be a whole number from 1, got 0"),
        (lambda: SimpleConvNet(conv_param=5), "conv_param must have filter_num, .*got 5"),
        (lambda: SimpleConvNet(conv_param=CONV | {"pad": -1}), "pad must be a .* from 0, got -1"),
        (lambda: SimpleConvNet(conv_param=CONV | {"stride": 0}), "stride must .* from 1, got 0"),
        (lambda: SimpleConvNet(conv_param=CONV | {"pad": "same"}), "pad must be a .*, got 'same'"),
    ],
)
def test_what_is_no_network_is_refused(build, words):
    with pytest.raises((TypeError, ValueError), match=words):
        build()


@pytest.mark.parametrize(
    "options", [{"use_batchnorm": True}, {"use_dropout": True, "dropout_ration": 0.2}]
)
def test_batch_normalisation_and_dropout_have_another_way(options):
    with pytest.raises(ValueError, match=r"samples.*random.*by fastgrad\.numerical_gradient"):
        MultiLayerNetExtend(784, [100], 10, **options)


def test_without_them_the_book_s_class_is_the_plain_one():
    without = {"use_dropout": False, "dropout_ration": 0.5, "use_batchnorm": False}
    net = MultiLayerNetExtend(7, [5], 4, rng=rng(), **without)
    assert same_bits(net.params, MultiLayerNet(7, [5], 4, rng=rng()).params)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", NETS)
def test_a_step_whose_powers_overflow_is_refused(kind, method):
    net, (x, t) = NETS[kind](), batch(kind)
    for h in (1e11, 1e150, 1e300):
        with pytest.raises(ValueError, match=r"h must be at most 1e10, got"):
            net.numerical_gradient(x, t, h=h, method=method)
    with pytest.raises(ValueError, match=r"h must be a finite number above 0, got 10*\.\.\.0*"):
        net.numerical_gradient(x, t, h=10**400, method=method)
    wanted = net.numerical_gradient(x, t, h=1e10, method="naive")
    found = net.numerical_gradient(x, t, h=1e10, method=method)
    assert largest_difference(found, wanted) < 1e-20


@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_that_is_not_finite_is_named(method):
    net, (x, t) = NETS["two"](), batch("two")
    net.params["W1"][0, 0] = -np.inf
    with pytest.raises(ValueError, match=r"params\['W1'\] must not hold infinity"):
        net.numerical_gradient(x, t, method=method)


def test_the_step_of_a_check_is_checked():
    net, (x, t) = NETS["two"](), batch("two")
    with pytest.raises(TypeError, match="h must be a finite number above 0, got 'auto'"):
        net.check_gradient(x, t, h="auto")


@pytest.mark.parametrize("call", ["loss", "accuracy", "gradient", "numerical_gradient"])
def test_a_column_of_class_numbers_is_told_what_to_pass(call):
    net, (x, t) = NETS["two"](), batch("two")
    with pytest.raises(ValueError, match=r"got shape \(3, 1\); pass t\.ravel\(\)"):
        getattr(net, call)(x, t[:, np.newaxis])
