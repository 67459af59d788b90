"""What the tests of other packages ask: ``python -m benchmarks.peers`` writes results/peers.md.

Functions, points, values and tolerances are those of their tests, whose names stand beside them:
scipy 1.17, numdifftools 0.11, jacobi 0.9, statsmodels 0.15 and optimagic 0.5. Where a tolerance
depends on their method it is that of central differences, or of the default.
"""

from __future__ import annotations

import math
import platform
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import cos, exp, log, sin
from scipy import optimize, sparse, special, stats

from benchmarks.table import rows
from fastgrad import (
    __version__,
    directional_derivative,
    hessian,
    jacobian,
    numerical_gradient,
)
from fastgrad._files import replacing

RESULTS = Path(__file__).parent / "results"

HEAD = """# What the tests of other packages ask of fastgrad

Written by `python -m benchmarks.peers`. The functions, points, values and tolerances are those of
the packages' own tests, whose names stand in the first column: scipy 1.17, numdifftools 0.11,
jacobi 0.9, statsmodels 0.15, optimagic 0.5. A figure is the largest error in units of what the
test allows: up to 1 it passes. Hessians, directions and sparse Jacobians have no `h="auto"`. Of
other Jacobians by `h="auto"` every row is a gradient.
"""

TRUNCATION = "h = 1e-4: truncation, h² f''' / 6"
ROUNDING = "h = 1e-4: rounding, eps f / h"
WAYS = {
    "gradient": numerical_gradient,
    "jacobian": jacobian,
    "hessian": hessian,
    "directional": directional_derivative,
}


class Case(NamedTuple):
    """f at x, and within what of `expected` its derivative must be: ``atol + rtol |expected|``.

    `why` says why it does not pass by the default step, and `why_auto` by h="auto".
    """

    source: str
    test: str
    f: Any
    x: Any
    expected: Any
    rtol: float = 1e-7
    atol: float = 0.0
    how: str = "gradient"
    options: Any = None
    why: str = ""
    why_auto: str = ""


def derivative(case, way):
    """Return the derivative by the default step, or by h="auto"; None where that has no meaning."""
    options = case.options or {}
    if way == "default":
        return WAYS[case.how](case.f, case.x, **options)
    if case.how not in ("gradient", "jacobian") or "sparsity" in options:
        return None
    auto = partial(numerical_gradient, x=case.x, h="auto", bounds=options.get("bounds"))
    if case.how == "gradient":
        return auto(case.f)
    shape = np.shape(case.f(case.x))
    lines = [auto(lambda x, k=k: case.f(x).flat[k]) for k in range(math.prod(shape))]
    return np.array(lines).reshape(shape + np.shape(case.x))


def flat(structure):
    """Return all numbers of an array, a sparse array or a dict."""
    if isinstance(structure, dict):
        return np.concatenate([flat(value) for value in structure.values()])
    return np.ravel(structure.toarray() if sparse.issparse(structure) else structure)


def excess(case, way):
    """Return the largest error over what is allowed: it passes up to 1. None: see `derivative`."""
    with np.errstate(all="ignore"):
        found = derivative(case, way)
        if found is None:
            return None
        error = np.abs(flat(found) - flat(case.expected))
        over = error / (case.atol + case.rtol * np.abs(flat(case.expected)))
    return float(np.nan_to_num(np.where(error == 0, 0.0, over), nan=np.inf).max())


def at(*x):
    return np.array(x, float)


def each(f):
    """Return the sum of f over an array: its gradient is f's derivative element by element."""
    return lambda x: np.sum(f(x))


def within(f, low, high):
    """Return f, NaN outside."""
    return lambda x: np.where((x >= low) & (x <= high), f(x), np.nan)


def same(x):
    return x


def vectors(x):
    return np.array([x[0] * sin(x[1]), x[1] * cos(x[0]), x[0] ** 3 * x[1] ** -0.5])


def by_vectors(x):
    last = [3 * x[0] ** 2 * x[1] ** -0.5, -0.5 * x[0] ** 3 * x[1] ** -1.5]
    return np.array([[sin(x[1]), x[0] * cos(x[1])], [-x[1] * sin(x[0]), cos(x[0])], last])


def product(x):
    return sin(x[0] * x[1]) * log(x[0])


def by_product(x):
    inner = cos(x[0] * x[1]) * log(x[0])
    return np.array([x[1] * inner + sin(x[0] * x[1]) / x[0], x[0] * inner])


def neighbours(x):
    e = x[1:] ** 3 - x[:-1] ** 2
    return np.hstack((0, 3 * e)) + np.hstack((2 * e, 0))


def by_neighbours(x):
    diagonal = np.append(9 * x[:-1] ** 2 * (np.arange(49) > 0) - 4 * x[:-1], 9 * x[-1] ** 2)
    return np.diag(-6 * x[:-1], -1) + np.diag(diagonal) + np.diag(6 * x[1:] ** 2, 1)


def scipy_numdiff():
    case, cosines = partial(Case, "scipy test__numdiff"), at(100.0, -0.5)
    v = np.random.default_rng(11290049580398).uniform(-10, 10, 2)
    line, ends = np.linspace(0, 1, 100), 0.1 * (1 + np.arange(50))
    x, band = (1 - 1e-7) * ends * np.tile([-1, 1], 25), by_neighbours(np.ones(50)) != 0
    third = [[1], [cos(0.5) ** -2], [exp(0.5)]]
    yield case("scalar_scalar", np.sinh, 1.0, np.cosh(1), 1e-9, why=TRUNCATION)
    yield case("scalar_vector", lambda x: np.array([x[0] ** 2, np.tan(x[0]), exp(x[0])]), at(0.5),
               third, 1e-9, how="jacobian", why=TRUNCATION)  # fmt: skip
    yield case("vector_scalar", product, cosines, by_product(cosines), why=TRUNCATION)
    for test, x0, rtol, options, why in [
        ("vector_vector", at(-100, 0.2), 1e-6, {}, ""),
        ("custom_rel_step", at(-0.1, 0.1), 1e-4, {"relative_step": 1e-4}, ""),
        ("with_bounds_2_point", at(-1, 1), 1e-6, {"bounds": (-1, 1)}, ""),
        ("with_bounds_3_point, none", at(1, 2), 1e-9, {}, TRUNCATION),
        ("with_bounds_3_point, lower", at(1, 2), 1e-9, {"bounds": (1, np.inf)}, TRUNCATION),
        ("with_bounds_3_point, upper", at(1, 2), 1e-9, {"bounds": (-np.inf, 2)}, TRUNCATION),
        ("with_bounds_3_point, both", at(1, 2), 1e-9, {"bounds": (1, 2)}, TRUNCATION),
        ("tight_bounds", at(10, 10), 1e-6, {"bounds": (10 - 3e-9, 10 + 2e-9)}, ""),
    ]:
        yield case(test, vectors, x0, by_vectors(x0), rtol, 0, "jacobian", options, why)
    yield case("check_derivative", vectors, at(-10, 10), by_vectors(at(-10, 10)), 1e-9, 1e-9,
               "jacobian", why=TRUNCATION)  # fmt: skip
    yield case("check_derivative, zero", lambda x: np.array([x[0] * x[1], cos(x[0] * x[1])]),
               at(0, 0), np.zeros((2, 2)), 0, 0, "jacobian")  # fmt: skip
    yield case("options", lambda x: np.array([exp(-x[0]), exp(x[1])]), at(1, 1), np.diag([-exp(-1),
               exp(1)]), 1e-9, 0, "jacobian", {"bounds": (0, 2)}, TRUNCATION)  # fmt: skip
    for x0 in (0.0, 1e-8):
        yield case(f"bound_switches, {x0}", within(same, -1e-8, 1e-8), np.array(x0), 1, 1e-9,
                   options={"bounds": (-1e-8, 1e-8)})  # fmt: skip
    yield case("non_numpy", math.exp, 1.0, math.exp(1.0), 1e-8)
    yield case("fp, linear", lambda p: p[0] + p[1] * line, np.float32([-1, -1]),
               np.stack([line**0, line], 1), 0, 1e-3, "jacobian")  # fmt: skip
    for kind, atol in {"f2": 0.04, "f4": 4.3e-4, "f8": 1.9e-8}.items():
        yield case(f"fp, {kind}", sin, np.array(1, kind), cos(1.0), 0, atol)
    for test, options in (("test_all", {"bounds": (-ends, ends)}), ("no_precomputed_groups", {})):
        yield case(f"sparse, {test}", neighbours, x, by_neighbours(x), 1e-6, 0, "jacobian",
                   {"sparsity": band, **options})  # fmt: skip
    yield case("LinearOperator, vector_scalar", product, cosines, by_product(cosines) @ v, 5e-6, 0,
               "directional", {"v": v}, TRUNCATION)  # fmt: skip
    yield case("LinearOperator, vector_vector", vectors, at(-100, 0.2), by_vectors(
               at(-100, 0.2)) @ v, 1e-6, 0, "directional", {"v": v})  # fmt: skip


def polar(z):
    return z[0] * np.array([cos(z[1]), sin(z[1])])


def spherical(z):
    r, a, b = z
    return r * np.array([sin(a) * cos(b), sin(a) * sin(b), cos(a)])


def by_spherical(z):
    r, a, b = z
    first = [sin(a) * cos(b), r * cos(a) * cos(b), -r * sin(a) * sin(b)]
    second = [sin(a) * sin(b), r * cos(a) * sin(b), r * sin(a) * cos(b)]
    return [first, second, [cos(a), -r * sin(a), 0]]


def mixed(x):
    return np.array([5 * x[1], 4 * x[0] ** 2 - 2 * sin(x[1] * x[2]), x[1] * x[2]])


def by_mixed(x):
    inner = -2 * cos(x[1] * x[2])
    return [[0, 5, 0], [8 * x[0], x[2] * inner, x[1] * inner], [0, x[2], x[1]]]


def scipy_differentiate():
    case, usual = partial(Case, "scipy test_differentiate"), 4 * np.finfo(float).eps ** 0.5
    points, x = np.linspace(-0.05, 1.05, 10), np.linspace(0, 2, 10)
    yield case("basic, 0.6", special.ndtr, 0.6, stats.norm.pdf(0.6), usual)
    yield case("basic", each(special.ndtr), points, stats.norm.pdf(points), usual)
    for name, shape in {"norm": (), "gamma": (1.9932305483800778,), "cauchy": (), "logistic": (),
                        "beta": (2.3098496451481823, 0.6268795430096368), "f": (29, 18),
                        "lognorm": (0.9536822696057533,), "chi2": (55,)}.items():  # fmt: skip
        of = getattr(stats, name)(*shape)
        near, why = float(of.median() + 0.1), TRUNCATION if name == "beta" else ""
        yield case(f"accuracy, {name}", of.cdf, near, of.pdf(near), usual, 1e-10, why=why)
    yield case(
        "preserve_shape",
        lambda x: np.stack([x, sin(3 * x), x + sin(10 * x), sin(20 * x) * (x - 1) ** 2]),
        0.0,
        [1, 3, 11, 20],
        usual,
        0,
        "jacobian",
        why=TRUNCATION,
    )
    yield case("convergence", special.ndtr, 1.0, stats.norm.pdf(1.0), 0, 1e-6)
    yield case("step_direction", each(within(exp, 0, 2)), x, exp(x), usual, 0, "gradient",
               {"bounds": (0, 2)})  # fmt: skip
    for kind in ("f4", "f8"):
        z = np.array([0.65, 0.7], kind)
        yield case(f"dtype, {kind}", each(exp), z, exp(z), np.finfo(kind).eps ** 0.5)
    yield case("special_cases, 99", lambda x: x**99 - 1, 7.0, 99 * 7.0**98, usual, why=TRUNCATION)
    for n, why in enumerate(["", ROUNDING, ROUNDING, TRUNCATION, TRUNCATION, TRUNCATION]):
        yield case(f"special_cases, {n}", lambda x, n=n: 2 * x**n, 1.5, 2 * n * 1.5 ** (n - 1),
                   1e-15, why=why)  # fmt: skip
    for test, f, by, m in (
        ("f1", lambda z: np.array([z[0] ** 2 * z[1], 5 * z[0] + sin(z[1])]),
         lambda z: [[2 * z[0] * z[1], z[0] ** 2], [5, cos(z[1])]], 2),
        ("f2", polar, lambda z: [[cos(z[1]), -z[0] * sin(z[1])], [sin(z[1]), z[0] * cos(z[1])]], 2),
        ("f3", spherical, by_spherical, 3), ("f5", mixed, by_mixed, 3),
        ("rosen", optimize.rosen, optimize.rosen_der, 5),
    ):  # fmt: skip
        for kind, rtol, atol in (("f8", usual, 1e-10), ("f4", 4 * 2.0**-11.5, 1.99e-3)):
            z = np.random.default_rng(458912319542).random(m)
            yield case(f"{test}, {kind}", f, z.astype(kind), by(z), rtol, atol, "jacobian")
    b = np.random.default_rng(23892589425245).random(3)
    low, high = b - at(0, 0.1 + 1e-7, np.inf), b + at(0.25, 0, np.inf)
    yield case("step_direction_size", lambda x: mixed(within(same, low, high)(x)), b, by_mixed(b),
               usual, 1e-8, "jacobian", {"bounds": (low, high)})  # fmt: skip
    z = np.random.default_rng(458912319542).random(3)
    yield case("hessian", optimize.rosen, z, optimize.rosen_hess(z), usual, 1e-8, "hessian")


def numdifftools():
    case, t, v = partial(Case, "numdifftools"), np.arange(0, 1, 0.1), at(1, -1) / 2**0.5
    e, turn = exp(3), np.linspace(0, 2 * np.pi, 13)

    def rosen(x):
        return (1 - x[0]) ** 2 + 105 * (x[1] - x[0] ** 2) ** 2

    def mix(x):
        return x[0] * x[1] * x[2] + exp(x[0]) * x[1]

    yield case("directional_diff", rosen, at(2, 3), 743.87633380824832, how="directional",
               options={"v": v})  # fmt: skip
    yield case("high_order_derivative_cos, 1", cos, np.pi / 2, -1, atol=1e-4)
    yield case("high_order_derivative_cos, 2", cos, np.pi / 2, 0, 0, 1e-4, "hessian")
    for x in (7.6564547238847105, 8.9428143931508, 2.2204460492503134e-14):
        why = ROUNDING if x < 1 else ""
        yield case(f"derivative_of_cos_x, {x}", cos, x, -sin(x), 1e-6, 1e-14, why=why)
    yield case("additional_parameters, 0", lambda x: 2 * x**3, 0.0, 0, 0, 1e-13, why=TRUNCATION)
    yield case("additional_parameters, 1", lambda x: 2 * x**3, 1.0, 6)
    yield case("additional_parameters, Hessian", lambda x: 2 * x**3, 1.0, 12, how="hessian")
    yield case("derivative_cube", each(lambda x: x**3), 2 * np.ones((3, 2)), 12 * np.ones(6), 1e-8)
    yield case("derivative_exp", exp, 0.0, 1, 1e-8)
    yield case("derivative_sin", each(sin), turn, cos(turn), 1e-7, 1e-8)
    yield case("backward_on_sinh", np.sinh, 0.0, 1, options={"bounds": (-np.inf, 0)})
    yield case("derivative_on_log", log, 0.001, 1000, why=TRUNCATION)
    for x in (-1000.0, 0.0, 1e-5, 3.7, 1000.0):
        yield case(f"scalar_to_vector, {x}", lambda x: np.array([x, x**2, x**3]), x,
                   [1, 2 * x, 3 * x**2], 1e-3, 1e-6, "jacobian")  # fmt: skip
    yield case("Jacobian on_scalar_function", mix, at(3, 5, 7), [135.42768462, 41.08553692, 15])
    yield case("on_vector_valued_function", lambda c: (c[0] + c[1] * exp(c[2] * t) - 1 - 2 * exp(
               0.75 * t)) ** 2, at(1, 2, 0.75), np.zeros((10, 3)), 0, 1e-12, "jacobian",
               why=TRUNCATION)  # fmt: skip
    for test, f, x, value in (
        ("on_matrix", lambda x: np.array([sum(x**2), sum(x**3)]), at(3, 4), [[6, 8], [27, 48]]),
        ("issue_68", lambda x: np.array([sum(x**2) - 1]), at(1, 2), [[2, 4]]),
        ("issue_25", lambda x: np.array([x, x]), at(1, 2), [np.eye(2)] * 2),
        ("issue_27a", lambda x: x**2, np.ones(20), 2 * np.eye(20)),
    ):
        yield case(test, f, x, value, how="jacobian")
    yield case("issue_39", lambda x: 1 / (exp(x[0]) + cos(x[1]) + 10), at(1, 2),
               [-0.017961123762187736, 0.0060082083648822])  # fmt: skip
    yield case("Hessdiag", lambda x: x[0] + x[1] ** 2 + x[2] ** 3, at(1, 2, 3),
               np.diag([0, 2, 18]), 1e-7, 1e-8, "hessian")  # fmt: skip
    yield case("hessian_cos_x_y", lambda x: cos(x[0] - x[1]), at(0, 0), [[-1, 1], [1, -1]],
               how="hessian")  # fmt: skip
    yield case("Hessian on_scalar_function", mix, at(3, 5, 7),
               [[5 * e, e + 7, 5], [e + 7, 0, 3], [5, 3, 0]], 1e-7, 1e-4, "hessian")  # fmt: skip


def jacobi():
    case, x, eye = partial(Case, "jacobi"), at(1, 2, 3), np.eye(3)
    outer = np.einsum("ik,j->ijk", eye, x) + np.einsum("jk,i->ijk", eye, x)
    for test, f, value in (
        ("1", lambda x: np.array(1.0), np.zeros(3)), ("exp", exp, np.diag(exp(x))),
        ("x**2", lambda x: x**2, np.diag(2 * x)), ("ones", np.ones_like, np.zeros((3, 3))),
        ("1 / x", lambda x: x**-1, np.diag(-(x**-2))), ("outer", lambda x: np.outer(x, x), outer),
        ("root", lambda x: (x + 1) ** 0.5, np.diag(0.5 * (x + 1) ** -0.5)),
        ("mean", lambda x: np.mean(x**2), 2 * x / 3),
    ):  # fmt: skip
        yield case(f"jacobi, {test}", f, x, value, how="jacobian")
    yield case("squeeze", exp, 0.0, 1)
    yield case("0d", lambda x: np.ones(3) * x**2, 2.0, [4, 4, 4], how="jacobian")
    yield case("abs_at_zero", np.abs, 0.0, 0)
    for name, bounds in {"": None, ", up": (0, np.inf), ", down": (-np.inf, 0)}.items():
        f = within(same, *(bounds or (-1, 1)))
        yield case(f"method_auto{name}", f, np.array(0.0), 1, options={"bounds": bounds})


def statsmodels():
    case, rs = partial(Case, "statsmodels"), np.random.RandomState(187678)
    x = rs.randn(200, 3)
    y = x @ np.ones(3) + 0.1 * rs.randn(200)
    for name, b in (("ones", np.ones(3)), ("least squares", np.linalg.pinv(x) @ y)):
        J = -2 * x * (y - x @ b)[:, np.newaxis]
        for test, f, value, atol, how in (
            ("DerivativeFun", lambda b: (x @ b).sum(), x.sum(0), 1.5e-6, "gradient"),
            ("DerivativeFun", lambda b: (x @ b).sum(), np.zeros((3, 3)), 1.5e-3, "hessian"),
            ("DerivativeFun1", lambda b: (y - x @ b) ** 2, J, 1.5e-6, "jacobian"),
            ("DerivativeFun2", lambda b: ((y - x @ b) ** 2).sum(), J.sum(0), 1.5e-6, "gradient"),
            ("DerivativeFun2", lambda b: ((y - x @ b) ** 2).sum(), 2 * x.T @ x, 1.5e-3, "hessian"),
        ):
            yield case(f"{test} {how}, {name}", f, b, value, 0, atol, how)
    yield case("dtypes", lambda x: 2 * x, at(1, 2), 2 * np.eye(2), how="jacobian")


def optimagic():
    case, ones, x = partial(Case, "optimagic"), np.ones(3), at(1, 2, 3)
    b, room = np.arange(9.0).reshape(3, 3), ({"a": x - 1, "b": 3}, {"a": x + 1, "b": 5})
    yield case("first_derivative_scalar", lambda x: x**2, 3.0, 6, 0, why=ROUNDING)
    yield case("second_derivative_scalar", lambda x: x**2, 3.0, 2, 0, 1.5e-6, "hessian")
    yield case("gradient_richardson", lambda x: sin(x[0]) + cos(x[1]) + x[2] - x[2], ones,
               [cos(1), -sin(1), 0], 0, 1.5e-6)  # fmt: skip
    yield case("jacobian_richardson", lambda x: np.array([sin(x[0]) + cos(x[1]), exp(x[2])]), ones,
               [[cos(1), -sin(1), 0], [0, 0, np.e]], 0, 1.5e-6, "jacobian")  # fmt: skip
    yield case("with_unpacking", lambda p: p @ p, ones, 2 * ones, 0, 1.5e-6)
    yield case("with_unpacking, second", lambda p: p @ p, ones, 2 * np.eye(3), 0, 1.5e-4, "hessian")
    for test, bounds in (("step_size", None), ("min_steps", room)):
        yield case(f"pytree_{test}", lambda p: p["a"] @ p["a"] + 2 * p["b"], {"a": x, "b": 4.0},
                   {"a": 2 * x, "b": 2}, 1e-5, 1e-8, options={"bounds": bounds})  # fmt: skip
    for test, f, x0, value, how in (
        ("scalar", lambda p: p**2, 1.0, 2, "gradient"),
        ("scalar", lambda p: p**2, 1.0, 2, "hessian"),
        ("array", lambda p: p @ p, x, 2 * x, "gradient"),
        ("array", lambda p: p @ p, x, 2 * np.eye(3), "hessian"),
        ("dict", lambda p: p["a"] * p["b"], {"a": 1.0, "b": 2.0}, {"a": 2, "b": 1}, "gradient"),
        ("array_dict", lambda p: p["a"].sum() * p["b"].prod(), {"a": x, "b": b},
         {"a": 0 * x, "b": 6 * 40320 * (b == 0)}, "gradient"),
        ("array_output", lambda p: np.array([p.sum(), p.prod()]), x, [[1, 1, 1], [6, 3, 2]],
         "jacobian"),
    ):  # fmt: skip
        yield case(f"compare with jax, {test}, {how}", f, x0, value, 0, 1.5e-5, how)


CASES = [
    *scipy_numdiff(), *scipy_differentiate(), *numdifftools(), *jacobi(), *statsmodels(),
    *optimagic(),
]  # fmt: skip


def main():
    """Measure and write."""
    lines, passed = [], {"default": [], "auto": []}
    for case in CASES:
        cells = []
        for way, all_passed in passed.items():
            over = excess(case, way)
            if over is not None:
                all_passed.append(over <= 1)
            cells.append("" if over is None else f"{over:.2g}" if over <= 1 else f"**{over:.2g}**")
        reason = "; ".join(filter(None, (case.why, case.why_auto)))
        lines.append((f"{case.source}: {case.test}", case.how, *cells, reason))
    counts = ", ".join(f"by `{way}` {sum(p)} of {len(p)}" for way, p in passed.items())
    versions = f"fastgrad {__version__}, Python {platform.python_version()}, NumPy {np.__version__}"
    head = ("test", "derivative", "default", "auto", "why not")
    text = f"{HEAD}\n{versions}. Of the tests pass {counts}.\n\n{rows(head, lines)}"
    with replacing(RESULTS / "peers.md", "w") as file:
        file.write(text)
    print(text)


if __name__ == "__main__":
    main()
