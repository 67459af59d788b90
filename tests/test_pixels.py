"""Accuracy in integers: the products, what counts as pixels, and that the error bound holds."""

import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest

from fastgrad import TwoLayerNet, load_mnist
from fastgrad.kernels import pixels
from fastgrad.kernels.pairs import UNITS, multiply_pairs
from fastgrad.objectives import images
from fastgrad.objectives.classes import UNSURE, Classes
from fastgrad.objectives.images import Images, scale_of
from fastgrad.objectives.pixels import Pixels
from fastgrad.training import train


@numba.njit
def compiled_multiply(columns, pairs, W, first, out):
    multiply_pairs(columns, pairs, W, first, out)


@pytest.mark.parametrize("multiply", [multiply_pairs, compiled_multiply])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_products_of_pairs_are_those_of_whole_numbers(multiply, count):
    rng = np.random.default_rng(count)
    x = rng.integers(-255, 256, (count, 2)).astype(np.int16)
    weights = rng.integers(-32767, 32768, (12, 2, 2 * UNITS)).astype(np.int16)
    columns = rng.permutation(12)[:count].astype(np.int32)
    out = np.full(2 * UNITS, 7, np.int32)
    W = np.ascontiguousarray(weights.transpose(0, 2, 1)).reshape(12, -1)
    multiply(columns, x.reshape(-1).view(np.int32), W, UNITS, out)
    expected = np.einsum("ki,kij->j", x.astype(int), weights[columns].astype(int))
    assert np.array_equal(out[UNITS:], expected[UNITS:])
    assert np.all(out[:UNITS] == 7)


NO_JIT = """
import numpy as np, fastgrad, numba
assert numba.config.DISABLE_JIT
rng = np.random.default_rng(0)
net = fastgrad.TwoLayerNet(5, 3, 4, 0.01, rng=rng)
x = rng.integers(0, 256, (20, 5)).astype(np.uint8)
t = np.argmax(net.predict(x), axis=1)
classes = fastgrad.objectives.classes.Classes(net.params, x)
out = np.empty(20)
classes.partials(range(1), out)
assert np.array_equal(out, t)
assert net.accuracy(x / 255, np.argmax(net.predict(x / 255), axis=1)) == 1
"""


def test_without_the_compiler_the_classes_are_the_same():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", NO_JIT], check=True, env=environment)


@pytest.mark.skipif(not hasattr(os, "uname") or os.uname().machine != "x86_64", reason="x86-64")
def test_products_of_pairs_are_one_instruction_each():
    fresh = numba.njit(compiled_multiply.py_func)
    vector = numba.int32[::1]
    fresh.compile((vector, vector, numba.int16[:, ::1], numba.int64, vector))
    (assembly,) = fresh.inspect_asm().values()
    if "ymm" not in assembly:
        pytest.skip("this processor has no AVX2")
    assert len(re.findall(r"vpmaddwd.*%ymm", assembly)) >= UNITS // 8
    assert "vpmulld" not in assembly


@pytest.mark.parametrize(
    ("x", "scale", "expected"),
    [
        ([0, 1, 255, -255], 1, [0, 1, 255, -255]),
        ([0.0, 1 / 255, 254 / 255, 1.0, -1 / 255], 255, [0, 1, 254, 255, -1]),
        ([0.0, 255.0, 2.0**-14], 1, [0, 255, 0]),
        ([256.0], 1, None),
        ([1e30], 1, None),
        ([2.0**31 + 5], 1, None),
        ([0.5, 3.0], 1, None),
        ([3.0, 2.0**-12], 1, None),
        ([np.nan, 0.0], 1, None),
        ([0.0, -np.inf], 1, None),
    ],
)
def test_what_counts_as_whole_numbers(x, scale, expected):
    q = np.empty(len(x), np.int16)
    whole = pixels.whole_numbers(np.array(x, np.float32), np.float32(scale), q)
    assert whole == (expected is not None)
    if whole:
        assert q.tolist() == expected


def test_all_255ths_of_float32_and_of_float64_are_whole_numbers():
    for every in (np.arange(256) / np.float32(255), (np.arange(256) / 255).astype(np.float32)):
        q = np.empty(256, np.int16)
        assert pixels.whole_numbers(every.astype(np.float32), np.float32(255), q)
        assert np.array_equal(q, np.arange(256))


def test_the_sigmoid_is_as_near_as_promised():
    far, near = np.linspace(-200, 200, 400_001), np.linspace(-8, 8, 400_001)
    minus = np.concatenate([far, near, [-1e30, 1e30, 0.0]]).astype(np.float32)
    z = np.empty_like(minus)
    pixels.logistic(minus, z)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(minus.astype(float)))
    assert np.max(np.abs(z - exact)) < pixels.SIGMOID_OFF


def make(rng, D, H, C, size):
    net = TwoLayerNet(D, H, C, size, rng=rng)
    net.params["b1"][:], net.params["b2"][:] = rng.normal(size=H), rng.normal(size=C)
    return net


def errors(net, x):
    """Return by how much the scores err for the hidden units in integers, and what was promised."""
    W1, b1, W2 = (net.params[name] for name in ("W1", "b1", "W2"))
    z, promised = Pixels(W1, b1, np.abs(W2).max(axis=1), scale_of(x)).hidden(x)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-(x.astype(float) @ W1 + b1)))
    return np.abs((z - exact) @ W2).max(axis=1), promised


@pytest.mark.parametrize("D", [1, 2, 31, 784])
@pytest.mark.parametrize("H", [1, UNITS, UNITS + 1])
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_scores_err_by_no_more_than_promised(rng, D, H, size, dtype):
    net, x = (
        make(rng, D, H, 10, size),
        rng.integers(0, 256, (200, D)) * (rng.random((200, D)) < 0.5),
    )
    x = x.astype(dtype) / dtype(255) if dtype is np.float32 else x.astype(dtype)
    err, promised = errors(net, x)
    assert np.all(err <= promised)


def test_sums_as_large_as_they_can_be_stay_whole(rng):
    # All inputs and all weights as large as they can be, and of one sign.
    net, x = make(rng, 784, 3, 2, 1.0), np.full((3, 784), 255, np.uint8)
    net.params["W1"][:] = [[1.0, -1.0, 1e-9]]
    net.params["b1"][:] = [-784 * 255, 784 * 255, 0.0]
    err, promised = errors(net, x)
    assert np.all(err <= promised)
    z, _ = Pixels(net.params["W1"], net.params["b1"], np.ones(3), scale_of(x)).hidden(x)
    assert np.all(np.abs(z - 0.5) < 0.499)


def test_pixels_are_told_from_other_numbers_sample_by_sample(rng, make_net):
    net, x = make_net(30, 20, 10), rng.integers(0, 256, (40, 30)) / 255
    x[::3, 7] += 1e-3
    _, promised = Pixels(net.params["W1"], net.params["b1"], np.ones(20), scale_of(x)).hidden(x)
    assert np.array_equal(np.isinf(promised), np.arange(40) % 3 == 0)
    t = np.argmax(net.predict(x), axis=1)
    assert net.accuracy(x, t) == 1


def test_integers_are_sure_of_most_digits():
    (x, t), _ = load_mnist()
    net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(0))
    train(net, ((x[:1000], t[:1000]),) * 2, iterations=50, rng=np.random.default_rng(0))
    classes = Classes(net.params, x)
    classes._singles = None  # would do the rest
    found = classes._likeliest(*classes._pixels.hidden(x))
    assert np.mean(found != UNSURE) > 0.98
    likeliest = np.argmax(net.predict(x), axis=1)
    assert np.array_equal(found[found != UNSURE], likeliest[found != UNSURE])


@pytest.mark.parametrize("divisor", [1, np.float32(255)])
def test_images_that_are_kept_give_the_same_classes(rng, make_net, monkeypatch, divisor):
    monkeypatch.setattr(images, "PART", 7)
    monkeypatch.setattr("fastgrad.objectives.classes.PART", 7)
    x = rng.integers(0, 256, (50, 30)).astype(np.uint8) / divisor
    x = x.astype(np.uint8) if divisor == 1 else x
    kept = Images(x)
    for _ in range(3):
        net = make_net(30, 20, 10, size=0.3)
        t = np.argmax(net.predict(x), axis=1)
        assert net.accuracy(kept, t) == net.accuracy(kept, t, workers=2) == 1
    assert np.asarray(kept) is x
    assert np.asarray(kept, float).dtype == float


def test_training_looks_at_the_zeros_of_its_images_once(make_net, monkeypatch):
    calls, compressed = [], images._compressed
    monkeypatch.setattr(images, "_compressed", lambda *a: calls.append(len(a[0])) or compressed(*a))
    (x, t), (x_test, t_test) = load_mnist()
    net = TwoLayerNet(784, 5, 10, rng=np.random.default_rng(0))
    data = (x[:1500], t[:1500]), (x_test[:300], t_test[:300])
    history = train(net, data, iterations=4, rng=np.random.default_rng(0))
    assert sorted(calls) == [300, 500, 1000]
    assert history.test_accuracy[-1] == net.accuracy(*data[1])
