"""What f may do to x, read from outside and return; and the kinds of x and f that there are.

f gets an array of its own at each evaluation. The expected values are those of the plain loop over
a function that copies its argument first, or those of calculus.
"""

import array
import collections
import dataclasses
import decimal
import fractions
import functools
import itertools
import json
import math
import operator
import threading
import time
import warnings

import book
import joblib
import numba
import numpy as np
import pytest
from functions_of_x import never
from tolerances import FLOAT32, HALF, TRUNCATION

from fastgrad import (
    directional_derivative,
    grad,
    hessian,
    hessian_vector_product,
    jacobian,
    numerical_gradient,
    reference,
)

CALLS = {
    "numerical_gradient": numerical_gradient,
    "grad": lambda f, x: grad(f)(x),
    "jacobian": jacobian,
    "hessian": hessian,
    "hessian_vector_product": lambda f, x: hessian_vector_product(f, x, np.ones_like(x)),
    "directional_derivative": lambda f, x: directional_derivative(f, x, np.ones_like(x)),
    "auto": lambda f, x: numerical_gradient(f, x, "auto"),
    "quick": lambda f, x: numerical_gradient(f, x, "quick"),
    "five-point": lambda f, x: numerical_gradient(f, x, stencil="five-point"),
    "forward": lambda f, x: numerical_gradient(f, x, stencil="forward"),
    "bounds": lambda f, x: numerical_gradient(f, x, bounds=(-10.0, 10.0)),
}


def loop(f, x, h=1e-4):
    """Return the plain loop's gradient of f, which gets a copy at each evaluation."""
    return reference.numerical_gradient(lambda x: f(x.copy()), x.copy(), h=h)


def same(first, second):
    return np.asarray(first).tobytes() == np.asarray(second).tobytes()


def no_zero(call):
    """Say whether the call raises a TypeError or a ValueError, as it must instead of a zero."""
    with pytest.raises((TypeError, ValueError)):
        call()


# f writes into x, keeps it, returns it ---------------------------------------------------------


def normalises(w):
    w /= w.sum()
    return float(w @ np.arange(1.0, w.size + 1))


def sorts(w):
    w.sort()
    return float(w @ np.arange(1.0, w.size + 1))


def fills(w):
    value = float(np.sum(w**3))
    w[...] = np.nan
    return value


def clips(w):
    np.clip(w, 0.0, 1.0, out=w)
    return float(np.sum(w**2))


def shuffles(w):
    value = float(w @ np.cos(np.arange(w.size)))
    np.random.default_rng(0).shuffle(w)
    return value


def freezes(w):
    value = float(np.prod(w))
    w.flags.writeable = False
    return value


WRITERS = [normalises, sorts, fills, clips, shuffles, freezes]


@pytest.mark.parametrize("f", WRITERS)
def test_f_may_write_into_its_argument(f):
    x = np.array([0.3, -0.7, 2.5])
    before = x.tobytes()
    assert same(numerical_gradient(f, x), loop(f, x))
    assert x.tobytes() == before
    assert x.flags.writeable


@pytest.mark.parametrize("call", CALLS)
def test_f_may_write_into_its_argument_whoever_calls_it(call):
    x = np.array([0.3, 0.7, 2.5])
    before = x.tobytes()
    got = CALLS[call](normalises, x)
    assert same(got, CALLS[call](lambda w: normalises(w.copy()), x))
    assert np.all(np.isfinite(got))
    assert x.tobytes() == before


def test_f_may_write_into_the_arrays_of_a_structure():
    x = {"W": np.array([[1.0, 2.0]]), "b": np.array([3.0])}

    def f(p):
        p["W"] *= p["b"]
        p["b"] = None
        return float(np.sum(p.pop("W") ** 2))

    gradient = numerical_gradient(f, x)
    np.testing.assert_allclose(gradient["W"], [[18.0, 36.0]], rtol=TRUNCATION)
    np.testing.assert_allclose(gradient["b"], [30.0], rtol=TRUNCATION)
    assert list(x) == ["W", "b"]
    assert x["W"].tolist() == [[1.0, 2.0]]
    assert x["b"].tolist() == [3.0]


def test_f_may_write_where_x_is_read_only():
    x = np.array([0.3, 0.7, 2.5])
    x.flags.writeable = False
    assert same(numerical_gradient(normalises, x), loop(normalises, x))
    assert not x.flags.writeable


def test_f_may_keep_its_argument():
    x, kept = np.arange(1.0, 4.0), []
    numerical_gradient(lambda w: kept.append(w) or float(w.sum()), x, 0.25)
    points = {tuple(w) for w in kept}
    assert points == {tuple(x + s * 0.25 * e) for s in (-1, 1) for e in np.eye(3)}
    assert len(kept) == 7
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations([x, *kept], 2))


@pytest.mark.parametrize("view", [lambda w: w[1:2], lambda w: w[1], lambda w: w[1:2].reshape(())])
def test_f_may_return_a_view_of_its_argument(view):
    np.testing.assert_allclose(numerical_gradient(view, np.ones(3)), [0.0, 1.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("view", [np.s_[:], np.s_[::-1], np.s_[1:2]], ids=str)
def test_a_jacobian_of_views_is_not_zero(view):
    np.testing.assert_allclose(jacobian(lambda w: w[view], np.ones(3)), np.eye(3)[view], atol=1e-9)


def test_f_may_compare_with_the_point_before():
    # A simulation that starts from where it was; the value does not depend on it.
    last = []

    def f(w):
        last[:] = [w, *last[:1]]
        assert len(last) == 1 or last[0] is not last[1]
        return float(w @ w)

    np.testing.assert_allclose(numerical_gradient(f, np.ones(3)), 2.0, rtol=TRUNCATION)


def test_threads_that_share_one_x_get_the_gradient_each():
    x, start, results = np.linspace(1.0, 2.0, 24), threading.Barrier(4), []
    before = x.tobytes()

    def f(w):
        time.sleep(2e-4)  # the others' turn
        return float(np.sum(w**3))

    def work():
        start.wait(30)
        for _ in range(10):
            results.append(numerical_gradient(f, x))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = loop(f, x)
    assert len(results) == 40
    assert all(same(gradient, expected) for gradient in results)
    assert x.tobytes() == before


# f reads x from outside ------------------------------------------------------------------------


@pytest.fixture
def net(rng):
    """Return the parameters of the book's network, and a batch."""
    params = {"W1": rng.standard_normal((5, 4)), "b1": np.zeros(4)}
    params |= {"W2": rng.standard_normal((4, 3)), "b2": np.zeros(3)}
    return params, rng.random((6, 5)), rng.integers(0, 3, 6)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_the_book_s_closures_have_the_bits_of_the_loop(net, name, lam):
    params, x, t = net
    before = params[name].tobytes()

    def loss(W):
        return book.loss(params, x, t) + (0.5 * lam * np.sum(W**2) if lam else 0.0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = numerical_gradient(loss, params[name])
    assert same(ours, reference.numerical_gradient(loss, params[name]))
    assert np.count_nonzero(ours)
    assert params[name].tobytes() == before


def test_a_closure_over_a_dict_of_parameters(net):
    params, x, t = net
    ours = numerical_gradient(lambda _: book.loss(params, x, t), params)
    for name, W in params.items():
        assert same(ours[name], reference.numerical_gradient(lambda _: book.loss(*net), W))


@pytest.mark.parametrize("call", CALLS)
def test_a_closure_works_whoever_calls_it(call):
    x = np.array([0.3, 0.7, 2.5])
    before = x.tobytes()
    got = CALLS[call](lambda _: float(np.prod(np.sin(x))), x)
    plain = CALLS[call](lambda w: float(np.prod(np.sin(w))), x)
    np.testing.assert_allclose(got, plain, rtol=1e-9)
    assert np.count_nonzero(got)
    assert x.tobytes() == before


class Broken(BaseException):
    """What no library catches."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, Broken])
@pytest.mark.parametrize("closure", [True, False])
def test_x_is_restored_whichever_evaluation_breaks(error, closure):
    x = np.array([0.0, -0.0, 5e-324, 1e12])
    before = x.tobytes()

    def f(w, last):
        if next(calls) == last:
            raise error
        return float(np.sum((x if closure else w) ** 2))

    for last in range(1, 10):
        calls = itertools.count(1)
        with pytest.raises(error):
            numerical_gradient(f, x, args=(last,))
        assert x.tobytes() == before, f"after evaluation {last}"


def test_to_find_out_moves_x_a_little_and_says_no_word():
    x = np.array([1e-3, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient = numerical_gradient(lambda _: float(np.sum(np.log(x))), x)
    assert same(gradient, reference.numerical_gradient(lambda _: float(np.sum(np.log(x))), x))


@pytest.mark.parametrize("closure", [True, False])
def test_to_find_out_moves_x_to_no_place_outside_its_bounds(closure):
    x, seen = np.array([0.0, 1.0, 0.5]), []

    def f(w):
        seen.extend([x.copy(), w.copy()])
        return float(np.sum((x if closure else w) ** 2))

    gradient = numerical_gradient(f, x, bounds=(0.0, 1.0))
    np.testing.assert_allclose(gradient, [0.0, 2.0, 1.0], atol=TRUNCATION)
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1


def test_to_find_out_moves_x_to_both_sides():
    x = np.zeros(40)
    gradient = numerical_gradient(lambda _: float(np.sum(np.maximum(0, -x))), x)
    np.testing.assert_allclose(gradient, -0.5)


def test_a_closure_over_the_array_that_x_is_a_part_of():
    whole = np.arange(1.0, 13.0)
    x = whole[2:8].reshape(2, 3).T
    gradient = numerical_gradient(lambda _: float(np.sum(whole**3)), x)
    assert same(gradient, reference.numerical_gradient(lambda _: float(np.sum(whole**3)), x))
    np.testing.assert_allclose(gradient, 3 * x**2, rtol=TRUNCATION)
    assert whole.tolist() == list(range(1, 13))


def test_a_closure_over_one_entry_of_many():
    x = np.zeros(1000)
    gradient = numerical_gradient(lambda _: float(np.sin(x[617])), x)
    assert np.flatnonzero(gradient).tolist() == [617]


def test_an_object_that_holds_x_is_a_closure_too():
    class Model:
        def __init__(self):
            self.w = np.array([1.0, 2.0])

        def loss(self, _):
            return float(np.sum(self.w**3))

        __call__ = loss

    model = Model()
    for f in (model, model.loss, functools.partial(Model.loss, model)):
        np.testing.assert_allclose(numerical_gradient(f, model.w), [3.0, 12.0], rtol=TRUNCATION)
    assert model.w.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("reads", [True, False])
def test_a_random_f_is_evaluated_as_it_is(reads):
    noise, x = np.random.default_rng(3), np.array([1.0, -2.0, 3.0])
    before = x.tobytes()
    calls = []

    def f(w):
        calls.append(w)
        return float(np.sum(w**2) + 1e-9 * noise.standard_normal())

    if reads:  # f looks at x, but what it returns does not depend on it
        f = functools.partial(lambda f, w: f(w) + 0.0 * float(x.sum()), f)
    np.testing.assert_allclose(numerical_gradient(f, x, 0.5), 2 * x, atol=1e-6)
    assert x.tobytes() == before
    assert all(a is not x for a in calls)


def test_a_counter_is_random_too():
    counter = itertools.count()
    gradient = numerical_gradient(lambda w: float(w @ w) + 1e-12 * next(counter), np.ones(3))
    np.testing.assert_allclose(gradient, 2.0, rtol=TRUNCATION)


FIXED = 3.0


def immovable():
    """Return x that cannot be moved in place, and functions that read it from outside."""
    number, numbers, pair = 3.5, [1.0, 2.0], (np.ones(2), 2.5)
    frozen, of_bytes = np.ones(3), np.frombuffer(np.ones(3).tobytes())
    frozen.flags.writeable = False
    params = {"w": 3.0, "b": np.ones(2)}
    nested = {"layer": [np.ones(2), {"scale": 2.0}]}
    return {
        "number": (number, lambda _: number**2),
        "global": (FIXED, lambda _: FIXED**2),
        "list": (numbers, lambda _: sum(v**2 for v in numbers)),
        "read-only": (frozen, lambda _: float(np.sum(frozen**2))),
        "bytes": (of_bytes, lambda _: float(np.sum(of_bytes**2))),
        "dict": (params, lambda _: params["w"] ** 2 + float(np.sum(params["b"] ** 2))),
        "dict, number alone": (params, lambda _: params["w"] ** 2),
        "dict, mixed": (params, lambda p: params["w"] ** 2 + float(np.sum(p["b"]))),
        "tuple": (pair, lambda _: float(np.sum(pair[0])) * pair[1]),
        "nested": (nested, lambda _: nested["layer"][1]["scale"] ** 2),
    }


@pytest.mark.parametrize("kind", immovable())
def test_what_cannot_be_moved_and_is_read_from_outside_is_an_error(kind):
    x, f = immovable()[kind]
    before = repr(x)
    no_zero(lambda: numerical_gradient(f, x))
    assert repr(x) == before


@pytest.mark.parametrize("kind", immovable())
def test_a_constant_has_the_gradient_0_at_what_cannot_be_moved(kind):
    def zeros(g):
        inner = g.values() if isinstance(g, dict) else g
        if isinstance(g, dict | list | tuple):
            return all(zeros(item) for item in inner)
        return not np.any(g)

    x, _ = immovable()[kind]
    assert zeros(numerical_gradient(lambda _: 7.0, x))


# Numbers and structures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (functools.lru_cache(lambda v: v**2), 5.0),
        (lambda v: float(json.loads(json.dumps({"v": v}))["v"]) ** 2, 5.0),
        (math.sin, math.cos(2.5)),
        (numba.njit("float64(float64)")(lambda v: v * v), 5.0),
        (numba.njit(lambda v: v * v), 5.0),
        (np.polynomial.Polynomial([1.0, 2.0, 3.0]), 17.0),
        (lambda v: {2.5: 0.0}.get(v, v) * 2, 2.0),
        (lambda v: v.as_integer_ratio()[0] / v.as_integer_ratio()[1], 1.0),
    ],
    ids=["lru_cache", "json", "math", "signature", "njit", "Polynomial", "dict", "method"],
)
def test_a_number_arrives_as_a_float(f, derivative):
    gradient = numerical_gradient(f, 2.5)
    np.testing.assert_allclose(gradient, derivative, rtol=TRUNCATION)
    assert np.shape(gradient) == ()


@pytest.mark.parametrize("call", [numerical_gradient, jacobian, hessian])
def test_its_type_is_float(call):
    seen = set()
    call(lambda v: seen.add(type(v)) or v * v, 2.5)
    assert seen == {float}


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.longdouble])
def test_a_numpy_number_is_a_number(kind):
    gradient = numerical_gradient(lambda v: v * v, kind(2.5))
    assert float(gradient) == pytest.approx(5.0, rel=1e-3)


Layer = collections.namedtuple("Layer", "W b scale")


def test_a_namedtuple_arrives_as_it_is_and_so_does_its_gradient():
    x = Layer(np.ones((2, 2)), np.array([2.0]), 3.0)

    def f(layer):
        assert type(layer) is Layer
        assert type(layer.scale) is float
        return float(layer.W.sum() * layer.scale + layer.b[0] ** 2)

    gradient = numerical_gradient(f, x)
    assert type(gradient) is Layer
    np.testing.assert_allclose(gradient.W, 3.0)
    np.testing.assert_allclose(gradient.b, [4.0])
    np.testing.assert_allclose(gradient.scale, 4.0)


def test_a_namedtuple_of_numbers_arrives_as_it_is():
    point = collections.namedtuple("Point", "x y")
    gradient = numerical_gradient(lambda p: p.x**2 * p.y, point(3.0, 2.0))
    assert type(gradient) is point
    np.testing.assert_allclose([gradient.x, gradient.y], [12.0, 9.0], rtol=TRUNCATION)


def test_a_namedtuple_within_a_dict_within_a_list():
    x = [{"layer": Layer(np.ones(2), np.ones(1), 2.0)}, np.ones(3)]

    def f(p):
        assert type(p) is list
        assert type(p[0]["layer"]) is Layer
        return p[0]["layer"].scale * float(p[1].sum())

    gradient = numerical_gradient(f, x)
    assert type(gradient[0]["layer"]) is Layer
    np.testing.assert_allclose(gradient[0]["layer"].scale, 3.0)
    np.testing.assert_allclose(gradient[1], 2.0)


def test_a_dict_of_numbers_and_arrays_arrives_with_its_keys_and_types():
    x = {"w": 3.0, ("b", 1): np.ones(2), 7: (np.ones(1), 2.0)}

    def f(p):
        assert list(p) == ["w", ("b", 1), 7]
        assert type(p["w"]) is type(p[7][1]) is float
        return p["w"] ** 2 + float(p["b", 1].sum()) * p[7][1]

    gradient = numerical_gradient(f, x)
    np.testing.assert_allclose(gradient["w"], 6.0)
    np.testing.assert_allclose(gradient["b", 1], 2.0)
    np.testing.assert_allclose(gradient[7][1], 2.0)


def test_a_structure_is_not_shared_with_f():
    x = {"a": [np.ones(2), np.ones(2)], "n": 1.0}

    def f(p):
        value = float(p["a"][0].sum()) * p["n"]
        p["a"].clear()
        p["n"] = "gone"
        return value

    np.testing.assert_allclose(numerical_gradient(f, x)["n"], 2.0)
    assert len(x["a"]) == 2
    assert x["n"] == 1.0


# Kinds of x ------------------------------------------------------------------------------------


def cubes(x):
    return float(np.sum(np.asarray(x, float) ** 3))


def wide(x):
    view = np.zeros(2 * x.size)[::2]
    view[...] = x
    return view


X = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize(
    "x",
    [
        X, memoryview(X), array.array("d", X), list(X), tuple(X), wide(X), X[::-1][::-1],
        np.broadcast_to(X, (1, 3)), X.astype(">f8"), X.astype("<f4"), X.astype(">f4"),
        X.astype(np.longdouble), X.reshape(3, 1, 1), np.asfortranarray(X.reshape(1, 3)),
    ],
    ids=["array", "memoryview", "array.array", "list", "tuple", "every second", "reversed twice",
         "broadcast", "big-endian", "float32", "big-endian float32", "longdouble", "3-D", "F"],
)  # fmt: skip
def test_every_kind_of_x_has_the_gradient(x):
    gradient = numerical_gradient(cubes, x)
    allowed = 1e-4 if gradient.dtype.itemsize == 4 else TRUNCATION
    np.testing.assert_allclose(np.ravel(gradient).astype(float), 3 * X**2, rtol=allowed)
    assert np.ravel(x).tolist() == X.tolist()


def test_the_array_that_f_gets_has_the_layout_of_x():
    x = np.asfortranarray(np.random.default_rng(4).standard_normal((50, 30)))
    seen = []

    def f(w):
        seen.append(w.flags.f_contiguous)
        return float(np.sum(w**3))

    assert same(numerical_gradient(f, x), reference.numerical_gradient(f, x))
    assert all(seen)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_file_s_numbers_are_not_touched(tmp_path, mode):
    X.tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", float, mode)
    np.testing.assert_allclose(numerical_gradient(cubes, x), 3 * X**2, rtol=TRUNCATION)
    assert (tmp_path / "x").read_bytes() == X.tobytes()


def test_half_precision_is_right_to_two_digits():
    gradient = numerical_gradient(lambda w: float(np.sum(w.astype(float) ** 2)), np.float16([2.0]))
    assert gradient[0] == pytest.approx(4.0, rel=HALF)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2, 2)])
def test_nothing_is_evaluated_at_an_x_of_no_numbers(shape):
    calls = []
    gradient = numerical_gradient(lambda w: calls.append(w) or 0.0, np.empty(shape))
    assert gradient.shape == shape
    assert calls == []


def test_an_array_of_no_axes_arrives_as_one():
    seen = set()
    x = np.array(2.0)
    gradient = numerical_gradient(lambda w: seen.add((type(w), w.shape)) or float(w) ** 2, x)
    assert seen == {(np.ndarray, ())}
    np.testing.assert_allclose(gradient, 4.0)


@pytest.mark.parametrize(
    "x",
    [X[None].view(np.matrix), np.ma.masked_array([1.0, 2.0], [0, 1]), np.array([1j]), "12", b"12",
     None, {1.0, 2.0}, iter([1.0]), np.array([("a", 1.0)], "U1,f8"), np.array([1.0], object),
     np.array(["2026-01-01"], "M8[D]"), np.arange(3), True],
    ids=["matrix", "masked", "complex", "str", "bytes", "None", "set", "iterator", "record",
         "object", "date", "whole", "bool"],
)  # fmt: skip
def test_what_is_no_x_is_refused_before_f_is_called(x):
    with pytest.raises((TypeError, ValueError)):
        numerical_gradient(never, x)


def test_minus_zero_and_tiny_numbers_stay_to_the_bit():
    x = np.array([-0.0, 5e-324, -5e-324, 1e300])
    before = x.tobytes()
    numerical_gradient(lambda _: float(x[:3].sum()), x, np.array([1e-4, 1e-4, 1e-4, 1e290]))
    assert x.tobytes() == before


# Kinds of f ------------------------------------------------------------------------------------


class Squares:
    scale = 2.0

    def __call__(self, x):
        return self.scale * float(x @ x)

    def method(self, x):
        return self(x)

    @classmethod
    def of_class(cls, x):
        return cls.scale * float(x @ x)

    @staticmethod
    def static(x):
        return 2.0 * float(x @ x)


class Value(float):
    """A class whose instances are the values."""

    def __new__(cls, x):
        return super().__new__(cls, 2.0 * (x @ x))


def power(factor, x, /, *, exponent):
    return factor * float(np.sum(x**exponent))


total = 0


def changes_a_global(x):
    global total
    total += 1
    return 2.0 * float(x @ x)


@pytest.mark.parametrize(
    "f",
    [Squares(), Squares().method, Squares.of_class, Squares.static, Value, changes_a_global,
     functools.partial(power, 2.0, exponent=2),
     lambda *given: 2.0 * float(given[0] @ given[0]), lambda x, a=2.0, **more: a * float(x @ x)],
    ids=["object", "bound method", "classmethod", "staticmethod", "class", "global", "partial",
         "*args", "defaults"],
)  # fmt: skip
def test_every_kind_of_callable(f):
    np.testing.assert_allclose(numerical_gradient(f, X), 4 * X, rtol=TRUNCATION)


@pytest.mark.parametrize(
    ("f", "expected"),
    [(np.sum, [1, 1, 1]), (np.prod, [-6, 3, -2]), (np.linalg.norm, X / np.linalg.norm(X)),
     (math.fsum, [1, 1, 1]), (operator.itemgetter(1), [0, 1, 0]), (np.max, [0, 0, 1]),
     (operator.methodcaller("mean"), [1 / 3] * 3)],
)  # fmt: skip
def test_functions_of_libraries(f, expected):
    np.testing.assert_allclose(numerical_gradient(f, X), expected, atol=TRUNCATION)


def test_f_may_differentiate():
    def curvature(x):
        return float(np.sum(numerical_gradient(lambda y: float(np.sum(y**3)), x, 1e-3)))

    np.testing.assert_allclose(numerical_gradient(curvature, X, 1e-3), 6 * X, rtol=1e-5)


def test_f_may_differentiate_at_the_caller_s_x():
    inner = []

    def f(w):
        inner.append(numerical_gradient(lambda y: float(y @ y), X, 0.5))
        return float(w @ w)

    np.testing.assert_allclose(numerical_gradient(f, X, 0.5), 2 * X)
    # One evaluation finds out whether f reads x, with x a little elsewhere.
    assert sum(np.allclose(g, 2 * X) for g in inner) >= 6


def test_args_arrive_as_they_are():
    given = ((v for v in ()), threading.Lock(), [1.0], {"a": None}, X, 3)
    seen = []
    numerical_gradient(lambda w, *args: seen.append(args) or float(w @ w), np.ones(2), args=given)
    assert all(all(a is b for a, b in zip(args, given, strict=True)) for args in seen)


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, SystemExit, RecursionError])
def test_whatever_f_raises_arrives_as_it_is(error):
    def f(x):
        raise error("mine")

    for call in CALLS.values():
        with pytest.raises(error, match="mine"):
            call(f, X.copy())


def test_after_an_error_f_is_not_called_again():
    calls = []

    def f(x):
        calls.append(x[2] > 3)
        if x[2] > 3:
            raise LookupError
        return 0.0

    with pytest.raises(LookupError):
        numerical_gradient(f, np.array([1.0, 2.0, 3.0, 4.0]))
    assert calls.index(True) == len(calls) - 1


@pytest.mark.parametrize(
    "kind",
    [float, np.float64, np.longdouble, np.array, lambda v: np.array([[v]]), lambda v: np.array([v]),
     fractions.Fraction, decimal.Decimal, lambda v: [v], lambda v: (v,)],
    ids=["float", "float64", "longdouble", "0-d", "1 by 1", "1", "Fraction", "Decimal", "[v]",
         "(v,)"],
)  # fmt: skip
def test_what_f_returns_is_right_or_refused(kind):
    try:
        gradient = numerical_gradient(lambda x: kind(float(x @ x)), X)
    except TypeError:
        assert kind in (fractions.Fraction, decimal.Decimal) or isinstance(kind(1.0), list | tuple)
    else:
        np.testing.assert_allclose(gradient, 2 * X, rtol=TRUNCATION)


@pytest.mark.parametrize("kind", [int, np.int32, np.int64])
def test_whole_numbers_are_numbers(kind):
    np.testing.assert_array_equal(numerical_gradient(lambda x: kind(4 * x.sum()), X, 0.5), 4.0)


# Precision and what is not finite --------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, lambda v: np.array(v, np.float32),
                                  lambda v: np.array([v], np.float32)])  # fmt: skip
def test_the_coarsest_dtype_decides_the_step(kind):
    x = np.array([0.5, -3.0, 100.0])
    gradient, info = numerical_gradient(lambda w: kind(np.sum(w**2)), x, full_output=True)
    # Beyond 1 the nearest power of 2.
    step = np.array([np.cbrt(np.finfo(np.float32).eps), 2.0**-6, 2.0**-1])
    np.testing.assert_allclose(info.step, step, rtol=1e-3)
    assert (np.abs(gradient - 2 * x) <= FLOAT32 * (x @ x) / step).all()
    assert gradient.dtype == x.dtype


def test_the_step_that_was_asked_for_is_taken_whatever_f_returns():
    _, info = numerical_gradient(lambda w: np.float32(w.sum()), np.ones(2), 0.25, full_output=True)
    assert info.step == 0.25


def test_values_in_float16_get_steps_of_half_precision():
    gradient = numerical_gradient(lambda w: np.float16(w[0] ** 2), np.array([2.0]))
    assert gradient[0] == pytest.approx(4.0, rel=HALF)


def test_a_jacobian_of_float32_values_gets_their_step():
    x = np.array([1.1, 2.3, 30.7])
    matrix = jacobian(lambda w: (w**2).astype(np.float32), x)
    np.testing.assert_allclose(matrix, np.diag(2 * x), rtol=5e-5, atol=1e-4)


def test_a_hessian_of_float32_values_gets_their_step():
    matrix = hessian(lambda w: np.float32(w[0] ** 2 + w[0] * w[1]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(matrix, [[2.0, 1.0], [1.0, 0.0]], atol=0.02)


@pytest.mark.parametrize("stencil", ["central", "forward", "five-point"])
def test_nan_in_x_is_kept_element_by_element(stencil):
    x = np.array([1.0, np.nan, 3.0])
    before = x.tobytes()
    options = {"stencil": stencil, "nonfinite": "keep"}
    gradient = numerical_gradient(lambda w: float(np.nansum(w**2)), x, **options)
    assert np.isnan(gradient).tolist() == [False, True, False]
    np.testing.assert_allclose(gradient[[0, 2]], [2.0, 6.0], rtol=1e-3)
    matrix = jacobian(lambda w: w**2, x, **options)
    assert np.isnan(matrix[1, 1])
    np.testing.assert_allclose(
        matrix[np.ix_([0, 2], [0, 2])], np.diag([2.0, 6.0]), rtol=1e-3, atol=1e-3
    )
    assert x.tobytes() == before


def test_nan_in_a_structure_is_kept():
    x = {"a": np.array([np.nan, 2.0]), "b": 3.0}

    def f(p):
        return float(np.nansum(p["a"] ** 2)) + p["b"] ** 2

    gradient = numerical_gradient(f, x, nonfinite="keep")
    assert np.isnan(gradient["a"]).tolist() == [True, False]
    np.testing.assert_allclose([gradient["a"][1], gradient["b"]], [4.0, 6.0], rtol=TRUNCATION)


class Net:
    """Holds its parameters, as the book's networks do."""

    def __init__(self, x):
        self.params = {"W": x}

    def loss(self):
        return float(np.sum(self.params["W"] ** 2))


@pytest.mark.parametrize("remember", ["lru_cache", "Memory"])
@pytest.mark.parametrize("how", ["closure", "object", "bound method"])
def test_an_f_that_remembers_and_reads_x_from_outside_is_refused(remember, how, tmp_path):
    x = 1.0 if remember == "lru_cache" else np.array([1.0, 2.0])
    held = np.array([1.0, 2.0]) if remember == "lru_cache" else x
    net, memory = Net(x), joblib.Memory(tmp_path, verbose=0)
    reads = {
        "closure": lambda w: float(np.sum(x**2)),
        "object": lambda w: float(np.sum(net.params["W"] ** 2)),
        "bound method": lambda w: net.loss(),
    }[how]
    f = functools.lru_cache(reads) if remember == "lru_cache" else memory.cache(reads)
    assert held.all()
    with pytest.raises(TypeError, match="reads x from outside"):
        numerical_gradient(f, x)


def test_an_f_that_remembers_may_hold_x_where_it_does_not_read_it(tmp_path):
    x = np.array([1.0, 2.0])
    net, memory = Net(x), joblib.Memory(tmp_path, verbose=0)
    calls = []

    def pure(w):
        calls.append(1)
        return float(np.sum(w**2)) if net else 0.0

    f = memory.cache(pure, ignore=[])
    for evaluations in 5, 6:  # one finds out that f does not read x: its memory would not tell
        np.testing.assert_allclose(numerical_gradient(f, x), 2 * x, rtol=TRUNCATION)
        assert len(calls) == evaluations


def test_what_f_remembers_is_not_evaluated_again(tmp_path):
    calls = []
    f = joblib.Memory(tmp_path, verbose=0).cache(lambda w: calls.append(1) or float(np.sum(w**2)))
    first = numerical_gradient(f, np.ones(3))
    known = len(calls)
    assert numerical_gradient(f, np.ones(3)).tobytes() == first.tobytes()
    assert len(calls) == known


@pytest.mark.parametrize("h", [None, "auto"])
def test_a_number_that_f_reads_may_be_that_of_x_by_chance(h):
    x, shift = 0.0, 0.0
    assert shift is x  # Python keeps one of them
    assert numerical_gradient(lambda w: shift + w**2, x, h) == 0
    with pytest.raises(TypeError, match="f reads x from outside, as "):
        numerical_gradient(lambda w: shift + x**2, x, h)


@pytest.mark.parametrize(
    ("f", "right"),
    [
        (lambda x: x, np.eye(3)),
        (lambda x: x[::-1], np.eye(3)[::-1]),
        (lambda x: x.reshape(3, 1), np.eye(3)[:, np.newaxis]),
        (lambda x: [x[0], x[2]], np.eye(3)[[0, 2]]),
    ],
    ids=["itself", "a view", "another shape", "a list of elements"],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_what_f_returns_may_be_the_x_that_it_reads_from_outside(f, right, sparse):
    x = np.array([1.0, 2.0, 3.0])
    options = {"sparsity": np.ones((3, 3), bool)} if sparse and right.shape == (3, 3) else {}
    found = jacobian(lambda _: f(x), x, **options)
    found = found.toarray() if hasattr(found, "toarray") else found
    np.testing.assert_allclose(found, right, atol=1e-9)


@pytest.mark.parametrize("h", [None, "auto"])
def test_the_number_that_f_returns_may_be_the_x_that_it_reads_from_outside(h):
    x, one = np.array(2.0), np.array([1.0, 3.0])
    np.testing.assert_allclose(numerical_gradient(lambda _: x, x, h), 1.0)
    np.testing.assert_allclose(numerical_gradient(lambda _: one[1:], one, h), [0.0, 1.0])


@pytest.mark.parametrize("h", [None, "auto"])
def test_f_may_change_its_argument_and_read_x_from_outside(h):
    c = np.array([1.0, 2.0, 3.0])

    def centred(v):
        v -= v.mean()
        return float(v @ v) + 0.5 * float(c @ c)

    np.testing.assert_allclose(numerical_gradient(centred, c, h), [-1, 2, 5], rtol=TRUNCATION)
    assert c.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda q: q.update(W=2 * q["W"]),
        lambda q: q.pop("b"),
        lambda q: q.setdefault("c", np.ones(1)),
        lambda q: q["W"].fill(0.0),
    ],
    ids=["sets", "removes", "adds", "writes"],
)
def test_f_may_change_the_dict_that_it_gets_and_read_x_from_outside(change):
    p = {"W": np.array([1.0, 2.0]), "b": np.array([3.0])}

    def f(q):
        value = float(q["W"] @ q["W"]) + float(p["b"] @ p["b"])
        change(q)
        return value

    found = numerical_gradient(f, p)
    np.testing.assert_allclose(found["W"], [2, 4], rtol=TRUNCATION)
    np.testing.assert_allclose(found["b"], [6], rtol=TRUNCATION)
    assert {name: part.tolist() for name, part in p.items()} == {"W": [1, 2], "b": [3]}


class Held:
    """Numbers and protected memory, held by a class."""

    w = 3.0
    r = np.frombuffer(np.ones(2).tobytes())


Pair = collections.namedtuple("Pair", "a b")
PAIR, NUMBER = Pair(3.0, 2.5), 7.25
PROTECTED = {"a": np.frombuffer(np.ones(2).tobytes()), "b": np.ones(2)}


def square_of_the_global():
    return NUMBER**2


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda _: Held.w**2, Held.w),
        (lambda _: PAIR.a * PAIR.b, PAIR),
        (lambda _: square_of_the_global(), NUMBER),
        (lambda _: NUMBER**2, {"w": NUMBER}),
        (lambda _: float(Held.r.sum()), Held.r),
        (lambda _: float(PROTECTED["a"].sum()), PROTECTED),
    ],
    ids=["class", "namedtuple", "function", "in a dict", "protected", "one of two"],
)
@pytest.mark.parametrize("h", [None, "auto"])
def test_what_cannot_be_moved_is_an_error_wherever_f_finds_it(f, x, h):
    with pytest.raises(TypeError, match="f reads x from outside, as "):
        numerical_gradient(f, x, h)


W = np.ones(2)


def test_an_attribute_that_has_the_name_of_x_is_not_x():
    Named = collections.namedtuple("Named", "W")

    @numba.njit
    def compiled(p):
        return (p.W**2).sum()

    remembered = functools.lru_cache(lambda p: float(p.W**2))
    np.testing.assert_allclose(numerical_gradient(compiled, Named(W)).W, 2.0)
    np.testing.assert_allclose(numerical_gradient(remembered, Named(2.0)).W, 4.0)


def test_a_compiled_f_that_calls_one_which_froze_x_is_refused():
    x = np.array([1.0, 2.0])

    @numba.njit
    def inner():
        return (x**2).sum()

    @numba.njit
    def outer(w):
        return inner() + 0 * w[0]

    with pytest.raises(TypeError, match="f reads x from outside, as x, which numba"):
        numerical_gradient(outer, x)


@pytest.mark.parametrize("x", [[0.0, 0.0], np.broadcast_to(0.0, (2,)), (0.0, 0.0)])
def test_at_a_minimum_f_may_read_the_size_of_an_x_that_cannot_be_moved(x):
    found = numerical_gradient(lambda w: float(np.sum(np.square(w))) / len(x), x)
    np.testing.assert_array_equal(found, [0.0, 0.0])


def test_noise_does_not_hide_that_f_reads_x_from_outside():
    x, rng = np.array([1.0, 2.0, 3.0]), np.random.default_rng(0)
    found = numerical_gradient(lambda _: float(np.sum(x**2)) + 1e-6 * rng.standard_normal(), x)
    np.testing.assert_allclose(found, 2 * x, atol=0.1)


def test_what_f_raises_may_refuse_notes():
    @dataclasses.dataclass(frozen=True)
    class DivergedError(Exception):
        step: int

    def f(_):
        raise DivergedError(7)

    with pytest.raises(DivergedError):
        numerical_gradient(f, np.ones(2))


class Bunch(dict):
    """A dict whose items are attributes, too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@pytest.mark.parametrize(
    "make",
    [Bunch, collections.OrderedDict, lambda **items: collections.defaultdict(float, items)],
    ids=["Bunch", "OrderedDict", "defaultdict"],
)
def test_f_gets_a_dict_of_the_same_kind(make):
    p = make(w=np.array([1.0, 2.0]), b=3.0)
    kinds = set()

    def f(q):
        kinds.add(type(q))
        missing = q["other"] if isinstance(q, collections.defaultdict) else 0.0
        bias = q.b if isinstance(q, Bunch) else q["b"]
        return float(q["w"] @ q["w"]) * bias + missing

    found = numerical_gradient(f, p)
    assert kinds == {type(found)} == {type(p)}
    assert set(p) == set(found) == {"w", "b"}
    np.testing.assert_allclose(found["w"], [6, 12], rtol=TRUNCATION)
    np.testing.assert_allclose(found["b"], 5, rtol=TRUNCATION)
