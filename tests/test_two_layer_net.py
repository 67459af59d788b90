import itertools
import threading
import time

import book
import numpy as np
import pytest
from conftest import largest_difference, same_bits
from tolerances import EXTENDED, REFERENCE

from fastgrad import TwoLayerNet, engine
from fastgrad._scratch import take
from fastgrad.engine import differentiate
from fastgrad.executors import choose
from fastgrad.objectives import shared_work
from fastgrad.objectives.classes import UNSURE, Classes
from fastgrad.partition import partition

METHODS = ("naive", "full", "incremental")


@pytest.mark.parametrize(("h", "method"), list(itertools.product(REFERENCE, METHODS)))
@pytest.mark.parametrize("size", [0.01, 1.0, 5.0])
def test_every_method_is_the_central_difference_of_the_book(make_net, make_batch, method, h, size):
    net, (x, t) = make_net(size=size), make_batch()
    expected = book.central_difference(net.params, x, t, h)
    grads = net.numerical_gradient(x, t, h=h, method=method)
    assert largest_difference(grads, expected) <= REFERENCE[h]


@pytest.mark.parametrize("h", EXTENDED)
@pytest.mark.parametrize("size", [0.01, 1.0, 3.0])
def test_incremental_against_extended_precision(make_net, make_batch, h, size):
    net, (x, t) = make_net(size=size), make_batch()
    expected = book.central_difference(net.params, x, t, h, np.longdouble)
    grads = net.numerical_gradient(x, t, h=h)
    assert largest_difference(grads, expected) <= EXTENDED[h]


@pytest.mark.parametrize("method", METHODS)
def test_a_large_step_differs_from_backprop(make_net, make_batch, method):
    net, (x, t) = make_net(), make_batch()
    grads = net.numerical_gradient(x, t, h=0.5, method=method)
    assert largest_difference(grads, net.gradient(x, t)) > 1e-3


@pytest.mark.parametrize(
    ("case", "h"),
    [
        ({"largest": 255.0}, 1e-4),
        ({"largest": 255.0}, 0.5),
        ({"smallest": -1.0}, 1e-4),
        ({"smallest": -255.0}, 1e-4),
        ({"smallest": -255.0}, 0.5),
        ({"size": 50.0}, 1e-4),
        ({"size": 50.0}, 0.5),
        ({"size": 2000.0}, 0.5),
        ({"size": 50.0, "largest": 255.0}, 10.0),
        ({"hidden": 1}, 1e-4),
        ({"hidden": 1}, 0.5),
        ({"classes": 1}, 1e-4),
        ({"classes": 1}, 0.5),
        ({"inputs": 1}, 1e-4),
        ({"samples": 1}, 1e-4),
    ],
    ids=str,
)
def test_extreme_networks_against_extended_precision(make_net, make_batch, case, h):
    sizes = {"inputs": case.get("inputs", 7), "classes": case.get("classes", 4)}
    net = make_net(hidden=case.get("hidden", 5), size=case.get("size", 1.0), **sizes)
    limits = {"largest": case.get("largest", 1.0), "smallest": case.get("smallest", 0.0)}
    x, t = make_batch(case.get("samples", 6), **limits, **sizes)
    expected = book.central_difference(net.params, x, t, h, np.longdouble)
    for method in ("incremental", "full"):
        grads = net.numerical_gradient(x, t, h=h, method=method)
        assert largest_difference(grads, expected) <= REFERENCE[1e-4 if h == 1e-4 else 0.5]


def test_saturated_units_and_a_probability_that_underflows(make_net, make_batch):
    net, (x, t) = make_net(), make_batch()
    net.params["b1"][:] = [800.0, -800.0, 40.0, -40.0, 0.0]
    net.params["b2"][:] = [0.0, 0.0, 0.0, -900.0]
    t[:3] = 3  # exp(-900) is 0: the loss of these samples is -log(1e-7), and flat
    for h in (1e-4, 0.5, 1000.0):
        expected = book.central_difference(net.params, x, t, h, np.longdouble)
        grads = net.numerical_gradient(x, t, h=h)
        assert largest_difference(grads, expected) <= REFERENCE[0.5]


def test_the_small_derivatives_of_a_saturated_unit_are_relatively_right(make_net, make_batch):
    # At a = 30 the output rounds to 1 within 1e-13, and z (1 - z) would lose three digits.
    net, (x, t) = make_net(), make_batch()
    net.params["b1"][:] += 30.0
    expected = book.central_difference(net.params, x, t, 0.5, np.longdouble)["W1"]
    assert np.abs(expected).max() < 1e-10
    grad = net.numerical_gradient(x, t, h=0.5)["W1"]
    # The oracle itself rounds at 1e-19, over h.
    np.testing.assert_allclose(grad, expected.astype(float), rtol=1e-5, atol=2e-18)


@pytest.mark.parametrize("h", [1e-4, 1e-3, 3e-3, 1e-2, 0.1])
def test_both_sides_of_the_switch_between_curves_and_libm(make_net, make_batch, h):
    # At these sizes the switch lies between 1e-4 and 1e-2, for one layer sooner than the other.
    net, (x, t) = make_net(), make_batch()
    expected = book.central_difference(net.params, x, t, h, np.longdouble)
    assert largest_difference(net.numerical_gradient(x, t, h=h), expected) <= EXTENDED[1e-4]


@pytest.mark.slow
def test_all_parameters_of_the_article_s_network(rng):
    from fastgrad import load_mnist

    (x, t), _ = load_mnist()
    x, t = x[:100], t[:100]
    net = TwoLayerNet(784, 50, 10, rng=rng)
    for _ in range(30):  # away from the start, where many derivatives are alike
        for name, grad in net.gradient(x, t).items():
            net.params[name] -= grad
    expected = net.numerical_gradient(x, t, method="naive")
    for method in ("full", "incremental"):
        grads = net.numerical_gradient(x, t, method=method, workers=2)
        assert largest_difference(grads, expected) <= REFERENCE[1e-4]


@pytest.mark.parametrize("method", METHODS)
def test_one_hot_labels_and_class_numbers_are_the_same(make_net, make_batch, method):
    net, (x, t) = make_net(), make_batch()
    one_hot = np.eye(4)[t]
    assert net.loss(x, t) == net.loss(x, one_hot)
    assert net.accuracy(x, t) == net.accuracy(x, one_hot)
    first, second = (net.numerical_gradient(x, labels, method=method) for labels in (t, one_hot))
    assert same_bits(first, second)
    assert same_bits(net.gradient(x, t), net.gradient(x, one_hot))


@pytest.mark.parametrize("method", METHODS)
def test_one_sample_without_the_batch_axis(make_net, make_batch, method):
    net, (x, t) = make_net(), make_batch(1)
    assert net.predict(x[0]).shape == (4,)
    assert net.loss(x[0], t[0]) == net.loss(x, t)
    assert net.accuracy(x[0], t[0]) == net.accuracy(x, t)
    batch = net.numerical_gradient(x, t, method=method)
    assert same_bits(net.numerical_gradient(x[0], int(t[0]), method=method), batch)


@pytest.mark.parametrize("samples", [1, 10, 1000])
def test_batches_of_any_size(make_net, make_batch, samples):
    net, (x, t) = make_net(3, 2, 4), make_batch(samples, 3)
    expected = book.central_difference(net.params, x, t, 1e-4)
    for method in ("incremental", "full"):
        grads = net.numerical_gradient(x, t, method=method)
        assert largest_difference(grads, expected) <= REFERENCE[1e-4]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_pixels_of_any_type_are_taken_at_their_value(make_net, rng, dtype):
    net = make_net()
    x, t = rng.integers(0, 256, (6, 7)).astype(dtype), rng.integers(0, 4, 6)
    grads = net.numerical_gradient(x, t)
    assert same_bits(grads, net.numerical_gradient(x.astype(float), t))


@pytest.mark.parametrize("order", ["F", "strided", "readonly"])
def test_memory_layout_does_not_matter(make_net, make_batch, order):
    net, (x, t) = make_net(), make_batch()
    other = {"F": np.asfortranarray(x), "strided": np.repeat(x, 2, 1)[:, ::2], "readonly": x.copy()}
    other["readonly"].flags.writeable = False
    assert same_bits(net.numerical_gradient(other[order], t), net.numerical_gradient(x, t))
    params = dict(net.params)
    net.params["W1"] = np.asfortranarray(params["W1"])
    assert same_bits(net.numerical_gradient(x, t), TwoLayerNetOf(params).numerical_gradient(x, t))


def TwoLayerNetOf(params):  # noqa: N802
    net = TwoLayerNet(*params["W1"].shape, len(params["b2"]))
    net.params = dict(params)
    return net


@pytest.mark.parametrize("method", ["full", "incremental"])
@pytest.mark.parametrize("h", [1e-4, 0.5])
@pytest.mark.parametrize(
    ("workers", "backend"),
    [(2, "threads"), (3, "threads"), (-1, "threads"), (2, "processes"), (2, "threading")],
)
def test_the_same_bits_on_any_workers(
    make_net, make_batch, monkeypatch, method, h, workers, backend
):
    net, (x, t) = make_net(), make_batch()
    serial = net.numerical_gradient(x, t, h=h, method=method)
    monkeypatch.setattr("fastgrad.executors.Executor.pays", lambda self, seconds: True)
    grads = net.numerical_gradient(x, t, h=h, method=method, workers=workers, backend=backend)
    assert same_bits(grads, serial)


@pytest.mark.parametrize("hidden", [9, 50])
def test_the_same_bits_wherever_the_blocks_begin(make_net, make_batch, monkeypatch, hidden):
    # Wide enough for the vectorised loops, and their remainders, to begin anywhere.
    net, (x, t) = make_net(20, hidden), make_batch(30, 20)
    serial = net.numerical_gradient(x, t)
    monkeypatch.setattr("fastgrad.executors.Executor.pays", lambda self, seconds: True)
    for blocks in (1, 2, 3, 7, 1000):
        cut = lambda items, *_, blocks=blocks: partition(items, blocks)  # noqa: E731
        monkeypatch.setattr("fastgrad.engine.taper", cut)
        for backend in ("threads", "threading"):  # without blocks, and with them
            grads = net.numerical_gradient(x, t, workers=2, backend=backend)
            assert same_bits(grads, serial)


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_keep_their_bits(make_net, make_batch, method):
    net, (x, t) = make_net(), make_batch()
    before = {name: array.copy() for name, array in net.params.items()}
    arrays = dict(net.params)
    net.numerical_gradient(x, t, method=method)
    assert same_bits(net.params, before)
    assert all(net.params[name] is arrays[name] for name in arrays)


def test_weights_are_drawn_as_the_book_draws_them():
    np.random.seed(3)
    W1, W2 = 0.01 * np.random.randn(4, 3), 0.01 * np.random.randn(3, 2)
    after = np.random.random()
    np.random.seed(3)
    net = TwoLayerNet(4, 3, 2)
    assert np.array_equal(net.params["W1"], W1)
    assert np.array_equal(net.params["W2"], W2)
    assert not net.params["b1"].any()
    assert not net.params["b2"].any()
    assert np.random.random() == after


def test_a_generator_leaves_the_global_one_alone():
    state = np.random.get_state()[1].copy()
    first = TwoLayerNet(4, 3, 2, rng=np.random.default_rng(1))
    second = TwoLayerNet(4, 3, 2, rng=np.random.default_rng(1))
    assert same_bits(first.params, second.params)
    assert np.array_equal(np.random.get_state()[1], state)


def test_backprop_is_the_derivative(make_net, make_batch):
    net, (x, t) = make_net(), make_batch()
    expected = book.central_difference(net.params, x, t, 1e-5, np.longdouble)
    # The book's backprop leaves the loss's 1e-7 out.
    assert largest_difference(net.gradient(x, t), expected) < 1e-5


def test_accuracy_counts_and_goes_over_block_borders(make_net, make_batch, monkeypatch):
    net, (x, t) = make_net(), make_batch(50)
    expected = np.mean(np.argmax(net.predict(x), axis=1) == t)
    assert 0 < expected < 1
    assert net.accuracy(x, t) == expected
    for module in ("objectives.classes", "objectives.images", "two_layer_net"):
        monkeypatch.setattr(f"fastgrad.{module}.PART", 7)
    assert net.accuracy(x, t) == expected


def likeliest(net, x):
    """Return what `accuracy` takes for the likeliest classes: it is right for no others."""
    t = np.argmax(net.predict(x), axis=1)
    assert net.accuracy(x, t) == 1
    assert net.accuracy(x, (t + 1) % net.predict(x).shape[1]) == 0
    return t


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-30, 0.01, 1.0, 2000.0])
def test_accuracy_is_that_of_predict(make_net, make_batch, dtype, size):
    net, (x, _) = make_net(30, 20, 10, size=size), make_batch(500, 30, largest=2.5)
    likeliest(net, x.astype(dtype))


@pytest.mark.parametrize("gap", [1e-11, 1e-8, 1e-7, 1e-6])
def test_accuracy_where_only_float64_can_tell(make_net, make_batch, gap):
    # Class 2 leads class 1 by less than float32 resolves, and so does 1 lead 2 in other samples.
    net, (x, _) = make_net(30, 20, 3), make_batch(2000, 30)
    net.params["W2"][:, 1] -= net.params["W2"][:, 1].mean()
    net.params["W2"][:, 2] = net.params["W2"][:, 1] * (1 + gap)
    net.params["W2"][:, 0] = -100.0
    net.params["b2"][:] = 0.0
    assert set(likeliest(net, x)) == {1, 2}


def test_accuracy_where_float32_loses_the_inputs(make_net):
    # What tells the classes is by how much one input misses the sum of two: float32's last digit.
    net, rng = make_net(3, 2, 2), np.random.default_rng(0)
    net.params["W1"][:], net.params["W2"][:] = [[1, -1], [1, -1], [-1, 1]], np.eye(2)
    net.params["b1"][:] = net.params["b2"][:] = 0.0
    x, miss = rng.uniform(1e3, 1e4, (2000, 3)), rng.normal(0.0, 1e-3, 2000)
    x[:, 2] = x[:, 0] + x[:, 1] + miss
    np.testing.assert_array_equal(likeliest(net, x), miss > 0)


@pytest.mark.parametrize("shift", [0.0, 1e-17, -1e-17])
def test_accuracy_of_ties_is_that_of_argmax(make_net, make_batch, shift):
    net, (x, _) = make_net(30, 20, 3), make_batch(200, 30)
    for name in ("W2", "b2"):
        net.params[name][:] = 0.0
    net.params["b2"][1] = shift  # too little for the softmax to show
    assert set(likeliest(net, x)) == {0}


@pytest.mark.parametrize("name", ["W1", "W2"])
def test_accuracy_where_float32_overflows(make_net, make_batch, name):
    net, (x, _) = make_net(30, 20, 10), make_batch(50, 30)
    net.params[name] *= 1e39
    likeliest(net, x)
    net, x = make_net(30, 20, 10), x * 1e39
    likeliest(net, x)


@pytest.mark.parametrize("size", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_float32_is_sure_of_most_and_never_wrong(make_net, make_batch, size, largest):
    net, (x, _) = make_net(30, 20, 10, size=size), make_batch(2000, 30, largest=largest)
    classes = differentiate(Classes(net.params, x), choose(1, None))[0]
    sure = classes != UNSURE
    assert np.mean(sure) > 0.95
    assert np.array_equal(classes[sure], np.argmax(net.predict(x), axis=1)[sure])


def test_accuracy_on_any_workers(make_net, make_batch, monkeypatch):
    net, (x, t) = make_net(), make_batch(500)
    expected = net.accuracy(x, t)
    monkeypatch.setattr("fastgrad.executors.Executor.pays", lambda self, seconds: True)
    assert net.accuracy(x, t, workers=2) == expected
    with pytest.raises(ValueError, match="workers must not be 0"):
        net.accuracy(x, t, workers=0)


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
    ({"h": 0}, ValueError, "h must be a finite step above 0, got 0"),
    ({"h": -1e-4}, ValueError, "h must be"),
    ({"h": np.inf}, ValueError, "h must be"),
    ({"h": np.nan}, ValueError, "h must be"),
    ({"h": "small"}, TypeError, "h must be a number, got 'small'"),
    ({"h": 1e-30}, ValueError, "lost beside a parameter"),
    ({"workers": 0}, ValueError, "workers must not be 0"),
    ({"workers": 1.5}, TypeError, "workers must be a whole number"),
    ({"workers": True}, TypeError, "workers must be a whole number"),
    ({"backend": "gpu"}, ValueError, "backend must be one of .*processes.*threads.*got 'gpu'"),
    ({"backend": 3}, TypeError, "backend must be a name"),
    (
        {"method": "magic"},
        ValueError,
        "method must be one of incremental, full, naive, got 'magic'",
    ),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD, ids=lambda value: None)
@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused_and_changes_nothing(
    make_net, make_batch, method, change, error, words
):
    net, (x, t) = make_net(), make_batch()
    before = {name: array.copy() for name, array in net.params.items()}
    arguments = {"x": x, "t": t, "method": method} | change
    with pytest.raises(error, match=words):
        net.numerical_gradient(arguments.pop("x"), arguments.pop("t"), **arguments)
    assert same_bits(net.params, before)


@pytest.mark.parametrize("call", ["loss", "accuracy", "gradient"])
@pytest.mark.parametrize(("change", "error", "words"), BAD[:13], ids=lambda value: None)
def test_bad_batches_are_refused_everywhere(make_net, make_batch, call, change, error, words):
    net, (x, t) = make_net(), make_batch()
    arguments = {"x": x, "t": t} | change
    with pytest.raises(error, match=words):
        getattr(net, call)(**arguments)


def test_parameters_that_would_lose_the_step_are_refused(make_net, make_batch):
    net, (x, t) = make_net(), make_batch()
    net.params["W2"] = net.params["W2"].astype(int)
    with pytest.raises(
        TypeError, match=r"params\['W2'\] must be a floating point array, got int64"
    ):
        net.numerical_gradient(x, t)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
@pytest.mark.parametrize(
    "options",
    [
        *({"method": method} for method in METHODS),
        {"workers": 2},
        {"workers": 2, "backend": "processes"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("always")
def test_one_parameter_that_would_lose_the_step_is_refused(make_net, make_batch, name, options):
    net, (x, t) = make_net(), make_batch()
    net.params[name].flat[-1] = -1e13
    with pytest.raises(ValueError, match=r"h=0.0001 is lost beside a parameter of size 1e\+13"):
        net.numerical_gradient(x, t, **options)
    net.params[name].flat[-1] = -1e10
    net.numerical_gradient(x, t, **options)


@pytest.mark.parametrize("name", ["b1", "W2", "b2"])
@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_that_is_no_number_hides_no_lost_step(make_net, make_batch, name, method):
    net, (x, t) = make_net(), make_batch()
    net.params["W1"][0, 0] = np.nan
    net.params[name].flat[-1] = 1e14
    with pytest.raises(ValueError, match=r"h=0.0001 is lost beside a parameter of size 1e\+14"):
        net.numerical_gradient(x, t, method=method)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
@pytest.mark.filterwarnings("error")
def test_a_lost_step_comes_without_warnings(make_net, make_batch, name):
    net, (x, t) = make_net(), make_batch()
    for size in (1e300, np.inf):
        net.params[name].flat[0] = size
        with np.errstate(all="raise"), pytest.raises(ValueError, match="lost beside a parameter"):
            net.numerical_gradient(x, t)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.usefixtures("always")
def test_threads_that_outlive_a_gradient_do_not_write_to_the_next(
    make_net, make_batch, monkeypatch, error
):
    net, (x, t) = make_net(), make_batch(samples=40)
    kernel, used, started = shared_work.samples_kernel, [], threading.Event()
    monkeypatch.setattr(engine, "cores", lambda: 2)

    def slow(*given):
        if threading.current_thread() is threading.main_thread():
            assert started.wait(10)
            raise error
        used.extend((given[3], given[-1], given[-3]))  # values, state, pre-activations
        started.set()
        time.sleep(0.1)
        return kernel(*given)

    with monkeypatch.context() as patch:
        patch.setattr(shared_work, "samples_kernel", slow)
        with pytest.raises(error):
            net.numerical_gradient(x, t, workers=2)
    net.numerical_gradient(x, t)
    memory = take()
    for name in ("state", "values", "pre-activations"):
        assert not any(np.shares_memory(memory.vector(name, 1), array) for array in used)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("always")
def test_a_gradient_in_a_signal_handler_does_not_change_the_one_it_interrupts(
    make_net, make_batch, monkeypatch, workers
):
    net, (x, t) = make_net(), make_batch(samples=40)
    expected, kernels = net.numerical_gradient(x, t), []
    monkeypatch.setattr(engine, "cores", lambda: 2)

    def interrupted(kernel):
        def call(*given):
            if threading.current_thread() is threading.main_thread() and kernel not in kernels:
                kernels.append(kernel)
                make_net().numerical_gradient(-x, t)
            return kernel(*given)

        return call

    for name in ("samples_kernel", "both_layers_kernel"):
        kernel = getattr(shared_work, name)
        monkeypatch.setattr(shared_work, name, interrupted(kernel))
    assert same_bits(net.numerical_gradient(x, t, workers=workers), expected)
    assert len(kernels) == 2


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", np.float16, np.longdouble, np.uint16])
@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_compiled_code_does_not_know(make_net, make_batch, dtype, method):
    net, (x, t) = make_net(), make_batch()
    x, h = np.round(4 * abs(x)), np.float16(1e-4)
    expected = book.central_difference(net.params, x, t, float(h))
    found = net.numerical_gradient(x.astype(dtype), t, h=h, method=method)
    assert largest_difference(found, expected) <= REFERENCE[1e-4]


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, -1, 1), (1, 1, 2.5), (1, True, 1)])
def test_sizes_that_are_no_sizes(sizes):
    with pytest.raises(ValueError, match="must be a whole number from 1"):
        TwoLayerNet(*sizes)
