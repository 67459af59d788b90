"""The dense networks: their gradients against the loop, and the contract of the book's classes."""

import doctest
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from deep_book import central_difference, dense_loss, largest_difference, same_bits

from fastgrad.functions import cross_entropy_error
from fastgrad.networks import MultiLayerNet, Network, TwoLayerNet, multi_layer_net, network
from fastgrad.networks import _curves as curves
from fastgrad.networks import _two_layers as two_layers

METHODS = "incremental", "full", "naive"

# Against the loop in extended precision. At h = 1e-4 the curves leave out less than a quarter of
# what rounding does to the loop in float64, eps / 2h; beyond, powers of d cost them two digits.
EXACT = {1e-4: 1e-12, 1e-2: 1e-11, 0.5: 1e-11}

# Against the loop in float64, whose two losses carry rounding of some 1e-16 over 2h.
LOOP = {1e-4: 5e-11, 0.5: 1e-11}


def make(sizes, activation="sigmoid", *, std="he", bias=0.3, seed=0, **options):
    """Return a network with biases that are not 0."""
    rng = np.random.default_rng(seed)
    net = Network(sizes, activation, weight_init_std=std, rng=rng, **options)
    for name, array in net.params.items():
        if name.startswith("b"):
            array += bias * rng.standard_normal(array.shape)
    return net


def batch(samples=6, features=7, classes=4, *, smallest=0.0, largest=1.0, lit=0.5, seed=1):
    """Return samples of which so many features are not zero, as in a picture of a digit."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(smallest, largest, (samples, features))
    x *= rng.random((samples, features)) < lit
    return x, rng.integers(0, classes, samples)


def expected(net, x, t, h):
    options = {"activation": net.activation, "decay": net.weight_decay_lambda}
    return central_difference(dense_loss, net.params, x, t, h=h, **options)


HARD = [
    {"std": 50.0},
    {"largest": 255.0},
    {"std": 50.0, "largest": 255.0},
    {"smallest": -1.0},
    {"samples": 1},
    {"classes": 1},
    {"lit": 0.2},
    {"lit": 0.2, "largest": 3.0},
]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("h", EXACT)
@pytest.mark.parametrize(
    ("depth", "case"),
    [*((depth, {}) for depth in (0, 1, 2, 3, 6)), *itertools.product((1, 3), HARD)],
    ids=str,
)
def test_curves_are_the_loop_in_extended_precision(activation, depth, h, case):
    classes = case.get("classes", 4)
    net = make([5, *[4] * depth, classes], activation, std=case.get("std", "he"), seed=depth)
    limits = {name: case[name] for name in ("smallest", "largest", "lit") if name in case}
    x, t = batch(case.get("samples", 6), 5, classes, **limits)
    grads = net.numerical_gradient(x, t, h=h)
    assert largest_difference(grads, expected(net, x, t, h)) <= EXACT[h]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(("h", "method"), list(itertools.product(LOOP, METHODS)))
def test_every_method_is_the_central_difference(activation, h, method):
    net, (x, t) = make([7, 5, 6, 4], activation), batch()
    wanted = central_difference(
        dense_loss, net.params, x, t, h=h, dtype=np.float64, activation=activation
    )
    grads = net.numerical_gradient(x, t, h=h, method=method)
    assert largest_difference(grads, wanted) <= LOOP[h]


@pytest.mark.parametrize("method", METHODS)
def test_a_large_step_differs_from_backprop(method):
    net, (x, t) = make([7, 5, 4]), batch()
    grads = net.numerical_gradient(x, t, h=0.5, method=method)
    assert largest_difference(grads, net.gradient(x, t)) > 1e-3


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("h", [1e-4, 0.5, 1000.0])
def test_saturated_units_and_a_probability_that_underflows(activation, h):
    net, (x, t) = make([7, 5, 5, 4], activation), batch()
    for name in ("b1", "b2"):
        net.params[name][:] = [800.0, -800.0, 40.0, -40.0, 0.0]
    net.params["b3"][:] = [0.0, 0.0, 0.0, -900.0]
    t[:3] = 3  # exp(-900) is 0: the loss of these samples is -log(1e-7), and flat
    assert largest_difference(net.numerical_gradient(x, t, h=h), expected(net, x, t, h)) <= 1e-12


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_the_small_derivatives_of_a_saturated_unit_are_relatively_right(activation):
    # At a = 30 the output rounds to 1 within 1e-13, and z (1 - z) would lose three digits.
    net, (x, t) = make([7, 5, 4], activation), batch()
    net.params["b1"][:] += 30.0 if activation == "sigmoid" else 12.0
    wanted = expected(net, x, t, 0.5)["W1"]
    assert 0 < np.abs(wanted).max() < 1e-9
    # The oracle itself rounds at 1e-19, over h.
    grad = net.numerical_gradient(x, t, h=0.5)["W1"]
    np.testing.assert_allclose(grad, wanted.astype(float), rtol=1e-5, atol=2e-18)


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("where", [0.0, 1e-9, -0.5, 0.99, -1.0])
@pytest.mark.parametrize("h", [1e-4, 0.5])
def test_kinks_of_relu_within_the_step(layer, where, h):
    net, (x, t) = make([7, 5, 5, 5, 4], "relu"), batch()
    z = x
    for k in range(1, layer):
        z = np.maximum(z @ net.params[f"W{k}"] + net.params[f"b{k}"], 0)
    a = z[0] @ net.params[f"W{layer}"] + net.params[f"b{layer}"]
    net.params[f"b{layer}"] += where * h - a  # all units of sample 0 lie there
    assert largest_difference(net.numerical_gradient(x, t, h=h), expected(net, x, t, h)) <= 1e-11


def test_a_few_curves_stand_for_all_parameters(monkeypatch):
    # One shift up and one down for each sample and unit of the first of two hidden layers, which
    # do not grow with the number of weights. All other curves are found in closed form.
    net, (x, t), rows = make([70, 5, 6, 4], "tanh"), batch(features=70), []
    rises = curves.ForwardPass.rises
    counted = lambda self, k, n, moves: rows.append(len(moves)) or rises(self, k, n, moves)  # noqa: E731
    monkeypatch.setattr(curves.ForwardPass, "rises", counted)
    net.numerical_gradient(x, t)
    assert sum(rows) == 2 * 6 * 5


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_weight_decay_is_exact(activation):
    net, (x, t) = make([7, 5, 5, 4], activation, weight_decay_lambda=0.7), batch()
    wanted = expected(net, x, t, 0.5)
    for method in METHODS:
        grads = net.numerical_gradient(x, t, h=0.5, method=method)
        assert largest_difference(grads, wanted) <= LOOP[0.5]
    assert net.loss(x, t) == pytest.approx(
        float(dense_loss(net.params, x, t, activation, 0.7)), rel=1e-14
    )
    assert largest_difference(net.gradient(x, t), expected(net, x, t, 1e-6)) < 1e-5


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_backprop_is_the_derivative(activation):
    # The book's backprop leaves the loss's 1e-7 out.
    net, (x, t) = make([7, 5, 6, 4], activation), batch()
    assert largest_difference(net.gradient(x, t), expected(net, x, t, 1e-6)) < 1e-5


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("method", ["incremental", "full"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_the_same_bits_on_any_workers(method, activation, workers):
    net, (x, t) = make([7, 5, 6, 4], activation), batch(120)
    serial = net.numerical_gradient(x, t, method=method)
    assert same_bits(net.numerical_gradient(x, t, method=method, workers=workers), serial)


@pytest.mark.parametrize(("features", "units"), [(20, 1), (7, 50), (7, 200)])
def test_zeros_are_left_out_where_they_are_many(features, units):
    net, (x, t) = make([features, units, 4], std="xavier"), batch(9, features)
    x *= np.random.default_rng(2).random(x.shape) < 0.3
    wanted = net.numerical_gradient(x, t, method="full")
    assert largest_difference(net.numerical_gradient(x, t), wanted) <= LOOP[1e-4]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("case", [{}, {"samples": 1}, {"classes": 1}, {"smallest": -1.0}], ids=str)
@pytest.mark.parametrize(("shift", "h"), [(0.0, 1e-4), (30.0, 1e-4), (-800.0, 2e-4), (0.0, 3e-6)])
def test_the_loop_of_two_layers_is_the_loop_of_the_book(activation, case, shift, h):
    net, (x, t) = make([7, 5, case.get("classes", 4)], activation), batch(lit=0.2, **case)
    net.params["b1"] += shift  # saturates the units
    layers = [(net.params["W1"], net.params["b1"]), (net.params["W2"], net.params["b2"])]
    assert two_layers.largest_input(layers, 1.0, x, h)
    assert largest_difference(net.numerical_gradient(x, t, h=h), expected(net, x, t, h)) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_nan_beneath_a_dark_pixel_is_nan_by_every_method(method, activation):
    net, (x, t) = make([7, 5, 5, 4], activation), batch()
    x[:, 2], net.params["W1"][2, 1] = 0.0, np.nan
    for grad in net.numerical_gradient(x, t, method=method).values():
        assert np.isnan(grad).all()


def test_without_the_compiler_the_kernels_compute_the_same():
    code = """
import numpy as np, numba
from fastgrad.networks import Network, SimpleConvNet
assert numba.config.DISABLE_JIT
rng = np.random.default_rng(0)
conv = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
nets = [Network([36, 3, 4, 3], name, weight_init_std="he", rng=rng) for name in
        ("sigmoid", "tanh", "relu")] + [SimpleConvNet((1, 6, 6), conv, 4, 3, 1.0, rng=rng)]
x, t = rng.random((4, 36)) * (rng.random((4, 36)) < 0.2), rng.integers(0, 3, 4)
for net in nets:
    samples = x.reshape(4, 1, 6, 6) if isinstance(net, SimpleConvNet) else x
    for h in (1e-4, 0.5):
        naive = net.numerical_gradient(samples, t, h=h, method="naive")
        found = net.numerical_gradient(samples, t, h=h)
        assert max(np.abs(found[k] - naive[k]).max() for k in naive) < 5e-11
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("method", METHODS)
def test_one_hot_labels_and_class_numbers_are_the_same(method):
    net, (x, t) = make([7, 5, 4]), batch()
    one_hot = np.eye(4)[t]
    assert net.loss(x, t) == net.loss(x, one_hot)
    assert net.accuracy(x, t) == net.accuracy(x, one_hot)
    first, second = (net.numerical_gradient(x, labels, method=method) for labels in (t, one_hot))
    assert same_bits(first, second)
    assert same_bits(net.gradient(x, t), net.gradient(x, one_hot))


@pytest.mark.parametrize("method", METHODS)
def test_one_sample_without_the_batch_axis(method):
    net, (x, t) = make([7, 5, 4]), batch(1)
    assert net.predict(x[0]).shape == (4,)
    assert net.loss(x[0], t[0]) == net.loss(x, t)
    assert net.accuracy(x[0], t[0]) == net.accuracy(x, t)
    wanted = net.numerical_gradient(x, t, method=method)
    assert same_bits(net.numerical_gradient(x[0], int(t[0]), method=method), wanted)


@pytest.mark.parametrize("samples", [1, 51, 1000])
def test_batches_of_any_size(samples):
    net, (x, t) = make([3, 2, 2, 4]), batch(samples, 3)
    wanted = central_difference(dense_loss, net.params, x, t, h=1e-4, dtype=np.float64)
    assert largest_difference(net.numerical_gradient(x, t), wanted) <= LOOP[1e-4]


@pytest.mark.parametrize(
    "dtype",
    [np.int8, np.uint8, np.uint16, np.int32, np.float16, np.float32, np.longdouble, ">f8", ">i4"],
)
@pytest.mark.parametrize("method", METHODS)
def test_pixels_of_any_type_are_taken_at_their_value(dtype, method):
    net, (x, t) = make([7, 5, 4]), batch()
    x = np.rint((127 if dtype is np.int8 else 255) * x).astype(dtype)
    grads = net.numerical_gradient(x, t, method=method)
    wanted = net.numerical_gradient(x.astype(float), t, method=method)
    assert largest_difference(grads, wanted) <= LOOP[1e-4]


@pytest.mark.parametrize("order", ["F", "strided", "readonly"])
def test_memory_layout_does_not_matter(order):
    net, (x, t) = make([7, 5, 4]), batch()
    wanted = net.numerical_gradient(x, t)
    other = {"F": np.asfortranarray(x), "strided": np.repeat(x, 2, 1)[:, ::2], "readonly": x.copy()}
    other["readonly"].flags.writeable = False
    assert same_bits(net.numerical_gradient(other[order], t), wanted)
    net.params["W1"] = np.asfortranarray(net.params["W1"])
    assert same_bits(net.numerical_gradient(x, t), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_keep_their_bits(method):
    net, (x, t) = make([7, 5, 5, 4], "relu"), batch()
    before, arrays = {k: array.copy() for k, array in net.params.items()}, dict(net.params)
    net.numerical_gradient(x, t, method=method)
    assert same_bits(net.params, before)
    assert all(net.params[name] is arrays[name] for name in arrays)


def test_weights_are_drawn_as_the_book_draws_them():
    np.random.seed(3)
    W1, W2 = 0.01 * np.random.randn(4, 3), 0.01 * np.random.randn(3, 2)
    after = np.random.random()
    np.random.seed(3)
    net = TwoLayerNet(4, 3, 2)
    assert same_bits(net.params, {"W1": W1, "b1": np.zeros(3), "W2": W2, "b2": np.zeros(2)})
    assert np.random.random() == after


@pytest.mark.parametrize(
    ("std", "scale"), [("relu", 2), ("He", 2), ("sigmoid", 1), ("xavier", 1), (0.5, None)]
)
def test_deep_weights_are_drawn_as_the_book_draws_them(std, scale):
    np.random.seed(3)
    sizes = [4, 3, 5, 2]
    wanted = [
        (0.5 if scale is None else np.sqrt(scale / n)) * np.random.randn(n, m)
        for n, m in itertools.pairwise(sizes)
    ]
    np.random.seed(3)
    net = MultiLayerNet(4, [3, 5], 2, weight_init_std=std)
    assert list(net.params) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    for k, W in enumerate(wanted, 1):
        np.testing.assert_allclose(net.params[f"W{k}"], W, rtol=1e-15)


def test_a_generator_leaves_the_global_one_alone():
    state = np.random.get_state()[1].copy()
    first, second = (TwoLayerNet(4, 3, 2, rng=np.random.default_rng(1)) for _ in range(2))
    assert same_bits(first.params, second.params)
    assert np.array_equal(np.random.get_state()[1], state)


class Squared(TwoLayerNet):
    def loss(self, x, t):
        return super().loss(x, t) ** 2


class Shifted(TwoLayerNet):
    def predict(self, x):
        return super().predict(x)[..., ::-1]

    def loss(self, x, t):
        return float(-np.log(self.predict(x)[np.arange(len(t)), t] + 1e-7).mean())


class Warm(TwoLayerNet):
    def predict(self, x):
        y = super().predict(x) ** 0.5
        return y / y.sum(axis=-1, keepdims=True)


class BiasesDecay(MultiLayerNet):
    def __init__(self, inputs, hidden, classes, std, rng):
        super().__init__(inputs, [hidden], classes, "sigmoid", std, 0.1, rng=rng)

    def _decaying(self):
        return self.params


@pytest.mark.parametrize("kind", [Squared, Shifted, Warm, BiasesDecay])
def test_a_loss_of_a_subclass_is_differentiated_or_refused(kind):
    net, (x, t) = kind(7, 5, 4, 1.0, rng=np.random.default_rng(0)), batch()
    for method in ("incremental", "full"):
        with pytest.raises(TypeError, match=f"would not see the .* of this {kind.__name__}.*naive"):
            net.numerical_gradient(x, t, method=method)
    W = net.params["W2"]
    saved, sides = W[1, 2], []
    for side in (1e-4, -1e-4):
        W[1, 2] = saved + side
        sides.append(net.loss(x, t))
    W[1, 2] = saved
    found = net.numerical_gradient(x, t, method="naive")["W2"][1, 2]
    assert found == (sides[0] - sides[1]) / 2e-4


def test_the_loss_is_that_of_the_predictions_of_a_subclass():
    net, (x, t) = Warm(7, 5, 4, 1.0, rng=np.random.default_rng(0)), batch()
    wanted = cross_entropy_error(net.predict(x), t)
    assert net.loss(x, t) == wanted
    assert wanted != cross_entropy_error(TwoLayerNet.predict(net, x), t)


def test_a_loss_of_one_network_is_seen_too():
    net, (x, t) = make([7, 5, 4]), batch()
    net.loss = lambda x, t: 1.0
    with pytest.raises(TypeError, match="would not see the loss"):
        net.numerical_gradient(x, t)
    assert not net.numerical_gradient(x, t, method="naive")["W1"].any()


def test_a_subclass_that_overrides_nothing_of_this_is_fast():
    kind = type("Mine", (TwoLayerNet,), {"gradient": lambda self, x, t: {}})
    net, (x, t) = kind(7, 5, 4, rng=np.random.default_rng(0)), batch()
    wanted = net.numerical_gradient(x, t, method="naive")
    assert largest_difference(net.numerical_gradient(x, t), wanted) <= LOOP[1e-4]


BAD = [
    ({"x": np.zeros((6, 8))}, ValueError, r"x must have shape \(N, 7\).*got \(6, 8\)"),
    ({"x": np.zeros((2, 3, 7))}, ValueError, "x must have shape"),
    ({"x": np.zeros((0, 7)), "t": np.zeros(0, int)}, ValueError, "empty batch"),
    ({"x": np.full((6, 7), np.nan)}, ValueError, "x must be finite, got nan for sample 0, feature"),
    ({"x": np.full((6, 7), -np.inf)}, ValueError, "x must be finite, got -inf"),
    ({"x": np.zeros((6, 7), complex)}, TypeError, "x must hold real numbers, got dtype complex"),
    ({"x": np.zeros((6, 7), bool)}, TypeError, "x must hold real numbers, got dtype bool"),
    ({"x": np.full((6, 7), "a")}, TypeError, "x must hold real numbers, got dtype <U1"),
    ({"x": np.full((6, 7), None)}, TypeError, "x must hold real numbers, got dtype object"),
    ({"t": np.full(6, 4)}, ValueError, "from 0 to 3, got 4"),
    ({"t": np.full(6, -1)}, ValueError, "from 0 to 3, got -1"),
    ({"t": np.zeros(5, int)}, ValueError, "t must hold class numbers of shape"),
    ({"t": np.zeros(6)}, TypeError, "integer class numbers"),
    ({"h": 0}, ValueError, "h must be a finite number above 0, got 0"),
    ({"h": -1e-4}, ValueError, "h must be"),
    ({"h": np.inf}, ValueError, "h must be"),
    ({"h": np.nan}, ValueError, "h must be"),
    ({"h": "small"}, TypeError, "h must be a finite number above 0, got 'small'"),
    ({"h": 1e-30}, ValueError, "lost beside params"),
    ({"workers": 0}, ValueError, "workers must not be 0"),
    ({"workers": 1.5}, TypeError, "workers must be a whole number"),
    ({"workers": True}, TypeError, "workers must be a whole number"),
    ({"method": "magic"}, ValueError, "method must be one of incremental, full, naive, got 'magi"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD, ids=lambda value: None)
@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused_and_changes_nothing(method, change, error, words):
    net, (x, t) = make([7, 5, 4]), batch()
    before = {name: array.copy() for name, array in net.params.items()}
    arguments = {"x": x, "t": t, "method": method} | change
    with pytest.raises(error, match=words):
        net.numerical_gradient(arguments.pop("x"), arguments.pop("t"), **arguments)
    assert same_bits(net.params, before)


@pytest.mark.parametrize("call", ["loss", "accuracy", "gradient"])
@pytest.mark.parametrize(("change", "error", "words"), BAD[:13], ids=lambda value: None)
def test_bad_batches_are_refused_everywhere(call, change, error, words):
    net, (x, t) = make([7, 5, 4]), batch()
    arguments = {"x": x, "t": t} | change
    with pytest.raises(error, match=words):
        getattr(net, call)(**arguments)


def test_parameters_that_would_lose_the_step_are_refused():
    net, (x, t) = make([7, 5, 4]), batch()
    net.params["W2"] = net.params["W2"].astype(int)
    with pytest.raises(TypeError, match=r"params\['W2'\] must be a floating point array, got int"):
        net.numerical_gradient(x, t)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
@pytest.mark.parametrize("method", METHODS)
def test_one_parameter_that_would_lose_the_step_is_refused(name, method):
    net, (x, t) = make([7, 5, 4]), batch()
    for size in (-1e13, 1e300, np.inf):
        net.params[name].flat[-1] = size
        with np.errstate(all="raise"), pytest.raises(ValueError, match=rf"params\['{name}'\]"):
            net.numerical_gradient(x, t, method=method)
    net.params[name].flat[-1] = -1e10
    net.numerical_gradient(x, t, method=method)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, -1, 1), (1, 1, 2.5), (1, True, 1)])
def test_sizes_that_are_no_sizes(sizes):
    for build in (TwoLayerNet, lambda *sizes: Network(sizes, "relu")):
        with pytest.raises(ValueError, match="must be a whole number from 1"):
            build(*sizes)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Network([3], "relu"), "sizes must hold the inputs and the classes"),
        (lambda: Network([3, 2], "step"), "sigmoid, relu, tanh, got 'step'"),
        (lambda: MultiLayerNet(3, [2], 2, weight_init_std="lecun"), "he, relu, xavier, sigmoid"),
    ],
)
def test_networks_that_cannot_be_built(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("module", [network, multi_layer_net, sys.modules[TwoLayerNet.__module__]])
def test_the_doctests_hold(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
