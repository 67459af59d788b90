"""The kernels as plain Python, with poisoned outputs, and in what they compile to."""

import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from conftest import poisoned

from fastgrad import _scratch
from fastgrad._scratch import Memory
from fastgrad.kernels import curves, direct, exponential, forward, nonzero, panels, samples
from fastgrad.objectives import incremental, shared_work
from fastgrad.objectives.network import check_moves, compress
from fastgrad.objectives.shared_work import SharedWork

NO_JIT = """
import numpy as np, fastgrad, numba
assert numba.config.DISABLE_JIT
rng = np.random.default_rng(0)
net = fastgrad.TwoLayerNet(5, 3, 4, 1.0, rng=rng)
x, t = rng.random((4, 5)), rng.integers(0, 4, 4)
for h in (1e-4, 0.5):
    naive = net.numerical_gradient(x, t, h=h, method="naive")
    for method in ("full", "incremental"):
        grads = net.numerical_gradient(x, t, h=h, method=method)
        assert max(np.abs(grads[k] - naive[k]).max() for k in naive) < 5e-11
"""


def test_without_the_compiler_the_kernels_compute_the_same():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", NO_JIT], check=True, env=environment)


@pytest.mark.parametrize("h", [1e-4, 0.5])
def test_what_stands_in_an_output_buffer_does_not_matter(make_net, make_batch, monkeypatch, h):
    net, (x, t) = make_net(), make_batch()
    expected = net.numerical_gradient(x, t, h=h)
    full = net.numerical_gradient(x, t, h=h, method="full")
    monkeypatch.setattr(_scratch, "_kept", threading.local())
    monkeypatch.setattr(np, "empty", poisoned)
    for name, grad in net.numerical_gradient(x, t, h=h).items():
        assert np.array_equal(grad, expected[name])
    for name, grad in net.numerical_gradient(x, t, h=h, method="full").items():
        assert np.array_equal(grad, full[name])


def test_one_specialisation_of_each_kernel(make_net, make_batch):
    # Whatever the caller's dtype and layout, a kernel is compiled once.
    net, (x, t) = make_net(), make_batch()
    for h in (1e-4, 0.5):
        for method in ("full", "incremental"):
            net.numerical_gradient(np.asfortranarray(x), t.astype(np.uint8), h=h, method=method)
            net.numerical_gradient(x.astype(np.float32), np.eye(4)[t], h=h, method=method)
        net.numerical_gradient(x, t, h=h, workers=2, backend="processes")  # here: it is short
    for kernel in (
        samples.samples_kernel,
        curves.both_layers_kernel,
        curves.rows_kernel,
        curves.last_rows_kernel,
        direct.direct_kernel,
        forward.full_kernel,
    ):
        assert len(kernel.signatures) == 1, kernel.py_func.__name__


@pytest.mark.skipif(not hasattr(os, "uname") or os.uname().machine != "x86_64", reason="x86-64")
@pytest.mark.parametrize(
    "kernel",
    [
        curves.both_layers_kernel,
        curves.rows_kernel,
        curves.last_rows_kernel,
        samples.samples_kernel,
    ],
)
def test_the_inner_loops_are_vectorised(make_net, make_batch, kernel):
    net, (x, t) = make_net(), make_batch()
    net.numerical_gradient(x, t)
    net.numerical_gradient(x, t, workers=2, backend="processes")
    # What comes from the cache cannot be inspected: compile it again, with the same options.
    fresh = numba.jit(**kernel.targetoptions)(kernel.py_func)
    fresh.compile(kernel.signatures[0])
    (assembly,) = fresh.inspect_asm().values()
    if "vfmadd" not in assembly:
        pytest.skip("this processor has no FMA")
    packed = [line for line in assembly.splitlines() if "vfmadd" in line and "pd" in line]
    assert any("%ymm" in line or "%zmm" in line for line in packed)


@pytest.mark.parametrize("largest", [1e-10, 1.0, 40.0, 708.0])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 10_000])
def test_the_exponential_function_of_an_array(rng, largest, size):
    a, out = rng.uniform(-largest, largest, size), np.full(size + 1, np.nan)
    exponential.decay(a, out[:size])
    expected = np.exp(-np.abs(a).astype(np.longdouble))
    assert (np.abs(out[:size] - expected) <= 2 * np.spacing(expected.astype(float))).all()
    assert np.isnan(out[size])


def test_the_exponential_function_at_its_ends():
    a = np.array([0.0, -0.0, np.nan, 709.0, -1e300, np.inf, -np.inf])
    out = np.empty_like(a)
    exponential.decay(a, out)
    assert out[:2].tolist() == [1.0, 1.0]
    assert np.isnan(out[2])
    assert ((out[3:] > 0) & (out[3:] < 4e-308)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
@pytest.mark.parametrize(
    "x",
    [[[0, 3, 0, 5], [0, 0, 0, 0], [7, 0, 0, 0]], [[0]], [[9]], [[1, 2], [3, 4]]],
    ids=["mixed", "empty", "single", "full"],
)
def test_compressed_inputs_are_the_inputs(x, dtype):
    inputs = compress(np.array(x, dtype), Memory())
    starts, columns, values = inputs.entries
    ones = np.ones((len(x), 1))
    assert np.array_equal(inputs.dense(), np.hstack([np.array(x, float), ones]))
    assert starts[-1] == len(columns) == len(values) == np.count_nonzero(x) + len(x)
    assert inputs.largest == max(1, np.max(x))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31])
def test_where_a_row_is_not_zero(rng, dtype, size):
    row = (rng.normal(size=size) * (rng.random(size) < 0.5)).astype(dtype)
    if row.dtype.kind == "f":
        row[: size // 3] = [np.nan, -0.0, -np.inf, np.nan, 0.0, 5e-324, 0.0, 0.0, 0.0, 0.0][
            : size // 3
        ]
    columns = np.full(3 + size + nonzero.TOGETHER, -7, np.int32)
    stop = nonzero.nonzero(row, columns, 3)
    assert np.array_equal(columns[3:stop], np.flatnonzero(row))
    assert np.all(columns[:3] == -7)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_largest_input(wrong):
    assert not np.isfinite(compress(np.array([[0.0, wrong], [2.0, 0.0]]), Memory()).largest)


@pytest.mark.parametrize("columns", [1, panels.WIDTH - 1, panels.WIDTH, 2 * panels.WIDTH + 1])
@pytest.mark.parametrize("border", [0, 13, 30, 31])
def test_panels_multiply_as_the_matrix_does(rng, columns, border):
    W, b = rng.normal(size=(30, columns)), rng.normal(size=columns)
    which = np.flatnonzero(rng.random(31) < 0.7)
    values, sums = rng.normal(size=len(which)), []
    sizes = np.zeros((-(-columns // panels.WIDTH), panels.WIDTH))
    for number in range(-(-columns // panels.WIDTH)):
        out = np.zeros((2, panels.WIDTH))
        for start, stop in ((0, border), (border, 31)):
            panel = np.full((stop - start, panels.WIDTH), np.nan)
            panels.pack(W, b, number, start, stop, panel, sizes[number])
            begin, end = np.searchsorted(which, (start, stop))
            multiply(which, values, begin, end, start, panel, out)
        assert not out[0].any()
        sums.extend(out[1])
    expected = values @ np.vstack([W, b])[which]
    np.testing.assert_allclose(sums[:columns], expected, rtol=1e-13, atol=1e-13)
    assert not any(sums[columns:])
    largest = np.abs(np.vstack([W, b])).max(axis=0)
    assert np.array_equal(sizes.ravel(), np.pad(largest, (0, sizes.size - columns)))


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_many_inputs_are_taken_in_parts(make_net, make_batch, monkeypatch, rows):
    net, (x, t) = make_net(), make_batch()
    expected = net.numerical_gradient(x, t)
    inputs = compress(x, Memory())
    layers = [net.params[name] for name in ("W1", "b1", "W2", "b2")]
    monkeypatch.setattr(panels, "ROWS", rows)
    monkeypatch.setattr(samples, "ROWS", rows)
    monkeypatch.setattr(curves, "ROWS", rows)
    monkeypatch.setattr(shared_work, "ROWS", rows)
    monkeypatch.setattr(shared_work, "TOGETHER", 4)
    monkeypatch.setattr(curves, "panel_rows", curves.panel_rows.py_func)
    for kernel in (samples.samples_kernel, curves.both_layers_kernel):
        monkeypatch.setattr(shared_work, kernel.__name__, kernel.py_func)
    monkeypatch.setattr(incremental, "rows_kernel", curves.rows_kernel.py_func)
    # Units that a panel lacks have anything for curves; here NaN, on which NumPy has no opinion.
    monkeypatch.setattr(_scratch, "aligned", poisoned)
    shared = incremental.Samples(layers, inputs, t.astype(np.int64), 1e-4)
    for threads in (1, 2, 0):
        gradient = np.full(shared.rows.size, np.nan)
        if threads:
            for call in SharedWork(shared, threads, Memory()).gradient_calls(gradient):
                assert call()
        else:
            state = np.full(shared.size, np.nan)
            for call in SharedWork(shared, 1, Memory()).state_calls(state):
                assert call()
            network = incremental.IncrementalNetwork(shared, state)
            network.partials(range(network.items), gradient)
        for name, part in shared.rows.unpack(gradient).items():
            np.testing.assert_allclose(part, expected[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "row",
    [
        [0.0, 0.5],
        [-3.0, 2.0],
        [-0.0, 1e30, -1e-30],
        [5.0, -np.inf, 7.0],
        [np.inf, np.nan, -np.inf, 7.0],
        [-np.nan, 3.0],
    ],
)
def test_the_largest_size_of_inputs(row, dtype):
    x = np.array([row, [0.0] * len(row)], dtype)
    expected = np.maximum(1.0, np.abs(x).max())
    np.testing.assert_equal(compress(x, Memory()).largest, float(expected))


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 7), (50, 10)])
def test_a_matrix_turned_and_the_spread_of_its_rows(rng, shape):
    W = rng.normal(size=shape)
    V = np.empty(shape[::-1])
    spread = samples.turn(W, V)
    assert np.array_equal(V, W.T)
    assert spread == np.ptp(W, axis=1).max()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (0, 2), (2, 0), (2, 2)])
def test_the_spread_of_what_is_not_finite_is_nan(wrong, where):
    W = np.zeros((3, 3))
    W[where] = wrong
    assert np.isnan(samples.turn(W, np.empty_like(W)))


@pytest.mark.parametrize("size", [1e13, -1e13, np.inf, -np.inf])
def test_the_largest_of_the_parameters_has_to_move(size):
    moves = np.array([[0.0, 1.0], [-1.0, 1e10]])
    check_moves(1e-4, moves, -moves)
    with pytest.raises(
        ValueError, match=r"h=0.0001 is lost beside a parameter of size (1e\+13|inf)"
    ):
        check_moves(1e-4, moves, np.array([0.0, size, 1.0]))


def test_what_is_no_number_hides_what_does_not_move():
    check_moves(1e-4, np.array([np.inf, np.nan, -1e13]))


@numba.njit
def multiply(which, values, begin, end, start, panel, out):
    panels.multiply_panel(which, values, begin, end, start, panel, out, panels.WIDTH)


@numba.njit
def spread(which, values, begin, end, curves, at, factor, scale, start, panel):
    panels.spread_curves(which, values, begin, end, curves, at, factor, scale, start, panel)


@pytest.mark.parametrize("call", [spread, panels.spread_curves])
@pytest.mark.parametrize(("begin", "end"), [(0, 0), (0, 1), (2, 9), (8, 9), (9, 9)])
def test_curves_are_read_at_every_input(rng, call, begin, end):
    which, values = rng.permutation(9), rng.normal(size=9)
    c, panel = rng.normal(size=(3, 2, panels.WIDTH)), rng.normal(size=(9, panels.WIDTH))
    expected = panel.copy()
    for i, x in zip(which[begin:end], values[begin:end], strict=True):
        expected[i] += 0.3 * x * (c[1, 0] + (0.7 * x) ** 2 * c[1, 1])
    call(which + 5, values, begin, end, c, 2 * panels.WIDTH, 0.3, 0.7, 5, panel)
    np.testing.assert_allclose(panel, expected, rtol=1e-13, atol=1e-13)
