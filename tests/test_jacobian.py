"""`jacobian`: every output against the plain loop, every kind of x and f, every failure."""

import doctest
import math
import sys
import tracemalloc
from collections import namedtuple

import functions_of_x
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import FLOAT32, rounding

from fastgrad import STENCILS, jacobian, numerical_gradient, reference

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def plain(f, x, h, **options):
    """Return the Jacobian by the plain loop, one output after the other."""
    shape = np.shape(f(x))
    rows = [
        reference.numerical_gradient(lambda x, k=k: np.array(f(x)).reshape(-1)[k], x, h=h)
        for k in range(int(np.prod(shape)))
    ]
    return np.array(rows).reshape(shape + x.shape)


def same(first, second):
    return first.shape == second.shape and first.tobytes() == second.tobytes()


@settings(max_examples=60)
@given(data=st.data(), order=st.sampled_from("CF"))
def test_every_output_has_the_bits_of_the_plain_loop(data, order):
    x = data.draw(hnp.arrays(float, SHAPES, elements=st.floats(-4, 4)))
    shape = data.draw(SHAPES)
    mixed = np.random.default_rng(1).standard_normal((int(np.prod(shape)), x.size))

    def f(x):
        return np.sin(mixed @ x.reshape(-1)).reshape(shape) + np.sum(x**3)

    x = np.asarray(x, order=order)
    before = x.tobytes()
    J = jacobian(f, x, 0.01)
    assert J.shape == shape + x.shape
    assert x.tobytes() == before
    if x.size:
        assert same(J, plain(f, x, 0.01))


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("bounds", [None, (0.0, 4.0)])
def test_a_linear_map_is_its_own_jacobian(rng, stencil, bounds):
    A = rng.integers(-9, 9, (5, 7)).astype(float)
    x = rng.integers(0, 5, 7).astype(float)
    J = jacobian(lambda x: A @ x, x, 0.5, stencil=stencil, bounds=bounds)
    if stencil in ("forward", "central", "backward"):
        np.testing.assert_array_equal(J, A)  # Halves of small integers: nothing is rounded.
    else:
        size = np.abs(A).sum() * 4
        np.testing.assert_allclose(J, A, rtol=0, atol=rounding(stencil, float, size, 0.5))


def test_nothing_outside_the_bounds_is_evaluated():
    x = np.array([0.0, 0.5, 1.0])
    seen = []

    def f(x):
        seen.append(x.copy())
        return np.array([x[0] ** 2 + x[1], x[1] * x[2]])

    J, info = jacobian(f, x, 0.25, bounds=(0.0, 1.0), full_output=True)
    assert len(seen) == info.evaluations == 8
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1
    # The one-sided formulas of second order are exact for second degree polynomials.
    np.testing.assert_array_equal(J, [[0.0, 1.0, 0.0], [0.0, 1.0, 0.5]])


def test_a_function_of_one_number_has_its_gradient_as_jacobian():
    x = np.array([[1.0, 2.0, 3.0]])
    f = functions_of_x.rosenbrock
    assert same(jacobian(lambda x: f(x[0]), x), numerical_gradient(lambda x: f(x[0]), x))


def test_structures_give_one_jacobian_an_array():
    Layer = namedtuple("Layer", "W b")
    x = {"layer": Layer(np.arange(6.0).reshape(2, 3), np.ones(2)), "scale": 3.0}

    def f(x):
        return x["scale"] * (x["layer"].W @ [1.0, 2.0, 4.0] + x["layer"].b)

    J = jacobian(f, x, 0.5)
    assert isinstance(J["layer"], Layer)
    eye = np.eye(2)
    np.testing.assert_array_equal(J["layer"].W, 3 * eye[:, :, None] * [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(J["layer"].b, 3 * eye)
    np.testing.assert_array_equal(J["scale"], f(x) / 3)
    assert jacobian(lambda x: np.ones(3), {}) == {}


def test_many_outputs_of_many_coordinates_are_cut_into_pieces():
    # 3 x 40,000 numbers are more than are held at a time.
    x = np.arange(1.0, 4.0)
    powers = np.arange(40_000) % 3
    J = jacobian(lambda x: x[powers] ** 2, x, 0.5)
    np.testing.assert_array_equal(J, np.where(powers[:, None] == np.arange(3), 2 * x, 0.0))


def test_a_book_closure_that_ignores_its_argument():
    x = np.array([1.0, 2.0, 3.0])
    J = jacobian(lambda _: x**2, x, 0.5)
    np.testing.assert_array_equal(J, np.diag(2 * x))
    assert x.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("stencil", ["central", "forward"])
def test_what_f_returns_may_be_x_itself_or_one_buffer(stencil):
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(jacobian(lambda x: x, x, 0.5, stencil=stencil), np.eye(2))
    buffer = np.empty(2)
    J = jacobian(lambda x: np.multiply(x, 3.0, out=buffer), x, 0.5, stencil=stencil)
    np.testing.assert_array_equal(J, 3 * np.eye(2))


@pytest.mark.parametrize("kind", [list, tuple, np.float32, lambda y: y.astype(int)])
def test_arrays_of_all_kinds_are_accepted(kind):
    J = jacobian(lambda x: kind(x * 4), np.array([1.0, 2.0]), 1.0)
    np.testing.assert_array_equal(J, 4 * np.eye(2))


def test_args_relative_steps_and_steps_for_each_coordinate():
    x = np.array([1.0, 2.0])
    J = jacobian(lambda x, a, b: a * x**3 + b, x, [0.5, 0.25], args=(2.0, 1.0))
    np.testing.assert_array_equal(np.diag(J), 2 * (3 * x**2 + np.array([0.5, 0.25]) ** 2))
    J = jacobian(lambda x: x**3, x, relative_step=0.25)
    np.testing.assert_array_equal(np.diag(J), 3 * x**2 + (0.25 * x) ** 2)
    with pytest.raises(ValueError, match="shape of x"):
        jacobian(lambda x: x, x, [0.5, 0.25, 1.0])


def test_float32_keeps_its_dtype():
    x = np.linspace(0.5, 1.5, 5, dtype=np.float32)
    J = jacobian(lambda x: x**2, x)
    assert J.dtype == np.float32
    h = np.cbrt(np.finfo(np.float32).eps) * np.maximum(1, x)
    assert (np.abs(np.diag(J) - 2 * x) <= FLOAT32 * (x + h) ** 2 / h).all()


# Batched ---------------------------------------------------------------------------------------


def products(points):
    """Return an array of shape (2, n - 1) for each point."""
    pairs = points[..., 1:] * points[..., :-1]
    return np.stack([pairs, pairs**2], axis=-2)


@pytest.mark.parametrize("options", [{}, {"bounds": (-1.0, 1.0)}, {"stencil": "forward"}])
def test_batches_have_the_bits_of_single_points(rng, options):
    x = rng.uniform(-1, 1, 300)
    x[:3] = -1.0
    one = jacobian(products, x, 0.25, **options)
    many = jacobian(products, x, 0.25, batched=True, **options)
    assert one.shape == (2, 299, 300)
    assert same(many, one)


@pytest.mark.parametrize(("outputs", "most"), [(2**7, 64), (2**14, 8), (2**17, 1), (2**18, 1)])
def test_a_batch_is_as_small_as_its_outputs_are_many(monkeypatch, outputs, most):
    monkeypatch.setattr("fastgrad._evaluation.batched.BATCH_BYTES", 2**20)
    lengths = []

    def f(points):
        lengths.append(len(points))
        return np.repeat(points, outputs // 8, axis=1)

    J = jacobian(f, np.ones(8), 0.5, stencil="six-point", batched=True)
    assert J.sum() == outputs
    # The first one tells that f does not read x from outside.
    full, rest = divmod(8 * 6, most)
    assert lengths == [1, *[most] * full, *[rest] * (rest > 0)]


@pytest.mark.usefixtures("always")
def test_batches_do_not_depend_on_workers():
    lengths = []

    def f(points):
        lengths.append(len(points))
        return points

    x, expected = np.ones(2000), [1, *[4000 // 32] * 32]
    for workers in (1, 2):
        jacobian(f, x, batched=True, workers=workers, backend="threads")
        assert sorted(lengths) == expected
        lengths.clear()


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (lambda points: points[0], r"each of the 6 points"),
        (lambda points: points[:, : 1 + (len(points) > 1)], r"shape \(\d+, 1\), got .* \(\d+, 2\)"),
        (lambda points: points.sum(), r"each of the 6 points"),
        (lambda points: points * 1j, "complex128"),
    ],
)
def test_a_batched_f_must_return_one_array_a_point(f, match):
    with pytest.raises(TypeError, match=match):
        jacobian(f, np.ones(3), batched=True)


# Cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stencil", "each"),
    [("forward", 1), ("backward", 1), ("central", 2), ("five-point", 4), ("six-point", 6)],
)
def test_f_is_evaluated_as_often_as_documented(stencil, each):
    calls = []
    f = lambda x: calls.append(1) or x[:2]  # noqa: E731
    _, info = jacobian(f, np.ones(7), stencil=stencil, full_output=True)
    # One is f(x), one tells that f does not read x from outside.
    assert len(calls) == info.evaluations == 1 + 7 * each + 1
    calls.clear()
    jacobian(f, np.ones(7), stencil=stencil)
    assert len(calls) == (each == 1) + 7 * each + 1


def test_a_dense_jacobian_takes_no_memory_beside_its_result(rng):
    scale, x = rng.standard_normal((2, 1000))
    f = lambda x: scale * x  # noqa: E731
    jacobian(lambda x: x, x[:2])  # What is imported late is no part of it.
    tracemalloc.start()
    J = jacobian(f, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert J.nbytes == 8_000_000
    assert peak - J.nbytes < 3 * 2**20
    allowed = rounding("central", float, 10, 1e-4)
    np.testing.assert_allclose(J, np.diag(scale), rtol=0, atol=allowed)


def test_full_output_and_progress(capsys):
    x = np.array([[1.0, 2.0]])
    J, info = jacobian(lambda x: x * 2, x, 0.5, full_output=True, progress=True)
    assert J.shape == (1, 2, 1, 2)
    assert info.value.tolist() == [[2.0, 4.0]]
    assert (info.step, info.backend, info.workers) == (0.5, "serial", 1)
    assert 0 < info.seconds < 60
    assert "5/5" in capsys.readouterr().err


# Failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_x_is_restored_when_f_raises(error):
    x = {"W": np.array([[1.0, 2.0]])}

    def f(x):
        if x["W"][0, 1] > 2:
            raise error("mine")
        return x["W"]

    with pytest.raises(error, match="mine") as caught:
        jacobian(f, x)
    assert x["W"].tolist() == [[1.0, 2.0]]
    if sys.version_info >= (3, 11) and error is KeyError:
        assert caught.value.__notes__ == ["f was evaluated at x['W'][0, 1] = 2.0 + 0.0001"]


@pytest.mark.parametrize("batched", [False, True])
def test_a_value_that_is_not_finite_names_the_output_and_the_coordinate(batched):
    def f(x):
        with np.errstate(all="ignore"):
            return np.stack([x, np.log(x - 1)], axis=-2)

    x = np.array([3.0, 1.00005, 2.0])
    match = r"f\[1, 1\] is nan at x\[1\] = 1.00005 - 0.0001"
    with pytest.raises(FloatingPointError, match=match):
        jacobian(f, x, batched=batched)
    assert x.tolist() == [3.0, 1.00005, 2.0]
    kept = jacobian(f, x, nonfinite="keep", batched=batched)
    assert np.argwhere(np.isnan(kept)).tolist() == [[1, 1, 1]]
    with pytest.raises(FloatingPointError, match=r"f\[1, 0\] is -inf at x;"):
        jacobian(f, np.ones(3), stencil="forward", batched=batched)


def test_after_a_value_that_is_not_finite_f_is_not_called_again():
    calls = []

    def f(x):
        calls.append(x.copy())
        return x if x[1] == 1.0 else x * math.inf

    with pytest.raises(FloatingPointError, match=r"f\[0\] is inf at x\[1\] = 1.0 \+ 0.0001"):
        jacobian(f, np.ones(50))
    assert [x[1] == 1.0 for x in calls] == [True] * (len(calls) - 1) + [False]


def test_an_f_that_changes_its_shape_is_refused():
    x = np.ones(3)
    with pytest.raises(TypeError, match=r"it was \(1,\) before, and now \(2,\)") as caught:
        jacobian(lambda x: x[: 1 + (x[2] > 1)], x)
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["f was evaluated at x[2] = 1.0 + 0.0001"]
    assert x.tolist() == [1.0] * 3
    with pytest.raises(TypeError, match=r"it was \(\) before, and now \(1,\)"):
        jacobian(lambda x: x[:1] if x[2] > 1 else 1.0, x)


@pytest.mark.parametrize(
    ("value", "match"),
    [(1j, "complex128"), (None, "NoneType"), (["1"], "<U1"), ([True], "bool"), ({}, "dict")],
)
def test_anything_but_an_array_of_numbers_is_refused(value, match):
    with pytest.raises(TypeError, match=f"f must return an array of real numbers, got .*{match}"):
        jacobian(lambda x: value, np.ones(2))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"args": 3.0}, TypeError, "args must be a tuple"),
        ({"stencil": "centre"}, ValueError, "stencil must be one of"),
        ({"h": [1e-4, 0.0]}, ValueError, r"x\[1\] = 1.0 has the step 0.0"),
        ({"bounds": (2.0, 3.0)}, ValueError, "within its bounds"),
        ({"x": {"a": np.ones(2)}, "batched": True}, TypeError, "one array with batched"),
        ({"x": [np.ones(2)], "sparsity": [[True]]}, TypeError, "one array with sparsity"),
        ({"batched": True, "sparsity": [[True] * 2]}, ValueError, "either batched=True or"),
    ],
)
def test_bad_options_are_refused_before_f_is_called(options, error, match):
    def f(x):
        raise AssertionError("f was called")

    with pytest.raises(error, match=match):
        jacobian(f, **{"x": np.ones(2), **options})
    with pytest.raises(TypeError, match="f must be callable"):
        jacobian(3.0, np.ones(2))


# Workers ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_batches_have_the_bits_of_one_worker(rng, backend):
    x = rng.standard_normal(200)
    options = {"batched": True, "stencil": "forward"}
    expected = jacobian(products, x, **options)
    J, info = jacobian(products, x, workers=2, backend=backend, full_output=True, **options)
    assert (info.workers, info.backend) == (2, backend)
    assert same(J, expected)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_book_closure_finds_its_own_copy_of_x(rng, backend):
    x = rng.standard_normal((4, 5))
    before = x.tobytes()
    f = lambda _: x.T @ x  # noqa: E731
    J, info = jacobian(f, x, workers=2, backend=backend, full_output=True)
    assert info.workers == 2
    assert same(J, jacobian(f, x))
    assert x.tobytes() == before


def global_squares(_):
    return functions_of_x.W**2


@pytest.mark.usefixtures("always")
def test_a_copy_that_does_not_see_x_move_is_an_error():
    with pytest.raises(RuntimeError, match=r"f\[0\] is .* here and 1.0 in a worker, at the same x"):
        jacobian(global_squares, functions_of_x.W, workers=2, backend="processes")


@pytest.mark.parametrize(
    "name",
    [
        *("_derivatives.jacobian", "_derivatives.hessian", "_derivatives.directional"),
        *("_derivatives.hessian_vector", "_formulas.second_order"),
    ],
)
def test_the_doctests_hold(name):
    module = sys.modules[f"fastgrad.{name}"]
    failed, attempted = doctest.testmod(module, extraglobs={"np": np})
    assert attempted
    assert not failed
