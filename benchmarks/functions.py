"""Functions whose derivatives are known in closed form, at points that are not easy.

The problems with a number are those of J. J. Moré, B. S. Garbow and K. E. Hillstrom, Testing
unconstrained optimization software, ACM Transactions on Mathematical Software 7 (1981), 17-41, at
their starting points: sums of squares, whose gradient is ``2 J.T r`` with J written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Problem:
    """A function, its gradient, and where it is asked for.

    Attributes
    ----------
    f, gradient : callable
        ``gradient(x)`` follows the dtype of x: in longdouble it is the truth.
    x : ndarray
        Where.
    length : float or ndarray or None
        Over which distance f changes, for each coordinate; None is |x|, or 1 where x is 0.
    noise : float
        Share of f that is noise; 0 where rounding is all.
    """

    name: str
    f: Callable[[Any], float]
    gradient: Callable[[Any], Any]
    x: Any
    length: Any = None
    noise: float = 0.0

    def truth(self):
        """Return the exact gradient, rounded once."""
        return np.asarray(self.gradient(self.x.astype(np.longdouble)), float)

    @property
    def lengths(self):
        """The length for each coordinate."""
        return np.where(self.x == 0, 1.0, abs(self.x)) if self.length is None else self.length

    def unit(self):
        """Return for each coordinate what rounding does to a difference over its length.

        The rounding of f is measured, as its largest difference from f in extended precision at 50
        points close by; it counts as eps |f| where it is less, or as the noise where f has some.
        """
        scatter = np.random.default_rng(0).uniform(-1e-3, 1e-3, (50, self.x.size))
        near = [] if self.noise else self.x + self.lengths * scatter
        misses = [abs(self.f(x) - self.f(x.astype(np.longdouble))) for x in near]
        rounding = float(max(max(EPS, self.noise) * abs(self.f(self.x)), *misses, 0.0))
        return rounding / self.lengths + EPS * abs(self.truth())


def one(name, f, derivative, *points, length=None):
    """Yield a problem in one variable for each point."""
    for point in points:
        yield Problem(
            f"{name} at {point:g}",
            lambda x: f(x[0]),
            lambda x: np.array([derivative(x[0])]),
            np.array([point]),
            length,
        )


def squares(name, residuals, x, **options):
    """Return a sum of squares; `residuals` returns r and J."""

    def gradient(x):
        r, J = residuals(x)
        return 2 * (J.T @ r)

    return Problem(name, lambda x: np.sum(residuals(x)[0] ** 2), gradient, x, **options)


def rows(*rows):
    """Return a matrix of the dtype of its entries; an entry may be a column of them."""
    return np.array(np.broadcast_arrays(*rows)).T


def rosenbrock(x):
    """1."""
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]), np.array([[-20 * x[0], 10], [-1, 0]])


def freudenstein_roth(x):
    """2."""
    a, b = x
    r = np.array([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])
    return r, np.array([[1, 10 * b - 3 * b**2 - 2], [1, 3 * b**2 + 2 * b - 14]])


def powell_badly_scaled(x):
    """3."""
    a, b = x
    r = np.array([1e4 * a * b - 1, np.exp(-a) + np.exp(-b) - 1.0001])
    return r, np.array([[1e4 * b, 1e4 * a], [-np.exp(-a), -np.exp(-b)]])


def brown_badly_scaled(x):
    """4."""
    a, b = x
    return np.array([a - 1e6, b - 2e-6, a * b - 2]), np.array([[1, 0], [0, 1], [b, a]])


def beale(x):
    """5."""
    a, b = x
    r = np.array([1.5 - a * (1 - b), 2.25 - a * (1 - b**2), 2.625 - a * (1 - b**3)])
    return r, np.array([[b - 1, a], [b**2 - 1, 2 * a * b], [b**3 - 1, 3 * a * b**2]])


def jennrich_sampson(x):
    """6."""
    i = np.arange(1, 11)
    first, second = np.exp(i * x[0]), np.exp(i * x[1])
    return 2 + 2 * i - (first + second), rows(-i * first, -i * second)


def helical_valley(x):
    """7."""
    a, b, c = x
    turn = np.arctan(b / a) / (2 * np.longdouble(np.pi)).astype(x.dtype) + (a < 0) * 0.5
    pi = np.longdouble(np.pi).astype(x.dtype)
    square = a**2 + b**2
    radius = np.sqrt(square)
    J = [
        [100 * b / (2 * pi * square), -100 * a / (2 * pi * square), 10],
        [10 * a / radius, 10 * b / radius, 0],
        [0, 0, 1],
    ]
    return np.array([10 * (c - 10 * turn), 10 * (radius - 1), c]), np.array(J)


def bard(x):
    """8."""
    a, b, c = x
    y = [14, 18, 22, 25, 29, 32, 35, 39, 37, 58, 73, 96, 134, 210, 439]
    u = np.arange(1, 16)
    v, w = 16 - u, np.minimum(u, 16 - u)
    below = v * b + w * c
    r = np.array(y) / 100 - (a + u / below)
    return r, rows(-1 + 0 * below, u * v / below**2, u * w / below**2)


def gaussian(x):
    """9."""
    a, b, c = x
    half = [9, 44, 175, 540, 1295, 2420, 3521, 3989]
    y = np.array(half + half[-2::-1]) / 10000
    t = (8 - np.arange(1, 16)) / 2
    e = np.exp(-b * (t - c) ** 2 / 2)
    return a * e - y, rows(e, -a * e * (t - c) ** 2 / 2, a * e * b * (t - c))


def meyer(x):
    """10."""
    a, b, c = x
    y = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744]
    y = np.array([*y, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872])
    t = 45.0 + 5 * np.arange(1, 17)
    e = np.exp(b / (t + c))
    return a * e - y, rows(e, a * e / (t + c), -a * e * b / (t + c) ** 2)


def box(x):
    """12."""
    a, b, c = x
    t = np.arange(1, 11) / 10
    tail = np.exp(-t) - np.exp(-10 * t)
    r = np.exp(-t * a) - np.exp(-t * b) - c * tail
    return r, rows(-t * np.exp(-t * a), t * np.exp(-t * b), -tail)


def powell_singular(x):
    """13."""
    a, b, c, d = x
    five, ten = (np.sqrt(x.dtype.type(number)) for number in (5, 10))
    r = np.array([a + 10 * b, five * (c - d), (b - 2 * c) ** 2, ten * (a - d) ** 2])
    inner, outer = 2 * (b - 2 * c), 2 * ten * (a - d)
    J = [[1, 10, 0, 0], [0, 0, five, -five], [0, inner, -2 * inner, 0], [outer, 0, 0, -outer]]
    return r, np.array(J)


def wood(x):
    """14."""
    a, b, c, d = x
    ten, small = np.sqrt(x.dtype.type(10)), 1 / np.sqrt(x.dtype.type(10))
    wide = np.sqrt(x.dtype.type(90))
    r = [10 * (b - a**2), 1 - a, wide * (d - c**2), 1 - c, ten * (b + d - 2), small * (b - d)]
    J = [
        [-20 * a, 10, 0, 0],
        [-1, 0, 0, 0],
        [0, 0, -2 * wide * c, wide],
        [0, 0, -1, 0],
        [0, ten, 0, ten],
        [0, small, 0, -small],
    ]
    return np.array(r), np.array(J)


def kowalik_osborne(x):
    """15."""
    a, b, c, d = x
    y = np.array([1957, 1947, 1735, 1600, 844, 627, 456, 342, 323, 235, 246]) / 10000
    u = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    above, below = u**2 + u * b, u**2 + u * c + d
    slope = a * above / below**2
    return y - a * above / below, rows(-above / below, -a * u / below, slope * u, slope)


def brown_dennis(x):
    """16."""
    a, b, c, d = x
    t = np.arange(1, 21) / 5
    first, second = a + t * b - np.exp(t), c + d * np.sin(t) - np.cos(t)
    slopes = 2 * first, 2 * first * t, 2 * second, 2 * second * np.sin(t)
    return first**2 + second**2, rows(*slopes)


def biggs(x):
    """18."""
    a, b, c, d, e, g = x
    t = np.arange(1, 14) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    p, q, s = np.exp(-t * a), np.exp(-t * b), np.exp(-t * e)
    return c * p - d * q + g * s - y, rows(-t * c * p, t * d * q, p, -q, -t * g * s, s)


def penalty(x):
    """23."""
    root = np.sqrt(x.dtype.type(1e-5))
    r = np.append(root * (x - 1), x @ x - 0.25)
    return r, np.vstack([root * np.eye(x.size, dtype=x.dtype), 2 * x])


def variably_dimensioned(x):
    """25."""
    j = np.arange(1, x.size + 1)
    s = np.sum(j * (x - 1))
    return np.append(x - 1, [s, s**2]), np.vstack([np.eye(x.size), j, 2 * s * j])


def trigonometric(x):
    """26."""
    n, i = x.size, np.arange(1, x.size + 1)
    r = n - np.sum(np.cos(x)) + i * (1 - np.cos(x)) - np.sin(x)
    return r, np.sin(x) + np.diag(i * np.sin(x) - np.cos(x))


def brown_almost_linear(x):
    """27."""
    r = x + np.sum(x) - (x.size + 1)
    J = np.ones((x.size, x.size), x.dtype) + np.eye(x.size)
    r[-1] = np.prod(x) - 1
    J[-1] = [np.prod(np.delete(x, k)) for k in range(x.size)]
    return r, J


def broyden_tridiagonal(x):
    """30."""
    left, right = np.append(0 * x[:1], x[:-1]), np.append(x[1:], 0 * x[:1])
    J = np.diag(3 - 4 * x) - np.eye(x.size, k=-1) - 2 * np.eye(x.size, k=1)
    return (3 - 2 * x) * x - left - 2 * right + 1, J


def more_garbow_hillstrom():
    """Yield the problems at their starting points."""
    n = np.arange(1, 11)
    for residuals, x in (
        (rosenbrock, [-1.2, 1]),
        (freudenstein_roth, [0.5, -2]),
        (powell_badly_scaled, [0, 1]),
        (brown_badly_scaled, [1, 1]),
        (beale, [1, 1]),
        (jennrich_sampson, [0.3, 0.4]),
        (helical_valley, [-1, 0, 0]),
        (bard, [1, 1, 1]),
        (gaussian, [0.4, 1, 0]),
        (meyer, [0.02, 4000, 250]),
        (box, [0, 10, 20]),
        (powell_singular, [3, -1, 0, 1]),
        (wood, [-3, -1, -3, -1]),
        (kowalik_osborne, [0.25, 0.39, 0.415, 0.39]),
        (brown_dennis, [25, 5, -5, -1]),
        (biggs, [1, 2, 1, 1, 1, 1]),
        (penalty, n),
        (variably_dimensioned, 1 - n / 10),
        (trigonometric, np.full(10, 0.1)),
        (brown_almost_linear, np.full(10, 0.5)),
        (broyden_tridiagonal, np.full(10, -1)),
    ):
        name = f"{residuals.__doc__} {residuals.__name__.replace('_', ' ')}"
        yield squares(name, residuals, np.array(x, float))


def smooth():
    """Yield compositions of elementary functions."""
    yield from one("exp", np.exp, np.exp, 1.0, 0.0, -20.0, length=1.0)
    yield from one("sin", np.sin, np.cos, 1.0, 50.0, 0.01, length=1.0)
    yield from one(
        "sin(exp)",
        lambda x: np.sin(np.exp(x)),
        lambda x: np.exp(x) * np.cos(np.exp(x)),
        2.0,
        length=np.exp(-2.0),
    )
    yield from one(
        "exp(sin)",
        lambda x: np.exp(np.sin(x)),
        lambda x: np.exp(np.sin(x)) * np.cos(x),
        3.0,
        -0.3,
        length=1.0,
    )
    yield from one("log", np.log, lambda x: 1 / x, 0.01, 3.0)
    yield from one("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), 2.0)
    yield from one(
        "1/(1+x²)",
        lambda x: 1 / (1 + x**2),
        lambda x: -2 * x / (1 + x**2) ** 2,
        0.5,
        3.0,
        length=1.0,
    )
    yield from one(
        "tanh(5x)",
        lambda x: np.tanh(5 * x),
        lambda x: 5 / np.cosh(5 * x) ** 2,
        0.3,
        0.0,
        length=0.2,
    )
    yield from one("x^10", lambda x: x**10, lambda x: 10 * x**9, 1.5)
    yield from one(
        "exp(-x²)", lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2)), 2.0, length=1.0
    )
    yield from one(
        "x exp(-x/5) cos",
        lambda x: x * np.exp(-x / 5) * np.cos(x),
        lambda x: np.exp(-x / 5) * ((1 - x / 5) * np.cos(x) - x * np.sin(x)),
        7.0,
        length=1.0,
    )
    x = np.linspace(-2, 3, 6)
    yield Problem(
        "log-sum-exp",
        lambda x: np.log(np.sum(np.exp(x))),
        lambda x: np.exp(x) / np.sum(np.exp(x)),
        x,
        1.0,
    )
    yield Problem(
        "exp(sum of sin)",
        lambda x: np.exp(np.sum(np.sin(x))),
        lambda x: np.exp(np.sum(np.sin(x))) * np.cos(x),
        x,
        1.0,
    )


def scaled():
    """Yield functions of very small and very large numbers."""
    yield from one("exp", np.exp, np.exp, 1e-8, length=1.0)
    yield from one("sin(1e8 x)", lambda x: np.sin(1e8 * x), lambda x: 1e8 * np.cos(1e8 * x), 1e-8)
    yield from one(
        "sin(1e-8 x)", lambda x: np.sin(1e-8 * x), lambda x: 1e-8 * np.cos(1e-8 * x), 1e8
    )
    yield from one(
        "exp(1000 x)",
        lambda x: np.exp(1000 * x),
        lambda x: 1000 * np.exp(1000 * x),
        0.01,
        0.0,
        length=1e-3,
    )
    yield from one("1/x", lambda x: 1 / x, lambda x: -1 / x**2, 1e-8, 1e8)
    yield from one("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), 1e-8, 1e8)
    yield from one("log", np.log, lambda x: 1 / x, 1e-8, 1e8)
    yield from one("1e6 + x²", lambda x: 1e6 + x**2, lambda x: 2 * x, 3.0, 3e-3, length=1e3)
    yield from one("cos", np.cos, lambda x: -np.sin(x), 1e-8, length=1.0)
    for size in (1e-8, 1e8):
        scale = np.array([1.0, size])

        def residuals(x, scale=scale):
            r, J = rosenbrock(x / scale)
            return r, J / scale

        yield squares(f"Rosenbrock, x1 in units of {size:g}", residuals, scale * [-1.2, 1.0])
        yield Problem(
            f"sum of exp(sin), x in units of {size:g}",
            lambda x, size=size: np.sum(np.exp(np.sin(x / size))),
            lambda x, size=size: np.exp(np.sin(x / size)) * np.cos(x / size) / size,
            size * np.array([0.3, 1.0, 2.5]),
            size,
        )


CURVES = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "arctan": (np.arctan, lambda u: 1 / (1 + u**2)),
    "u³-u": (lambda u: u**3 - u, lambda u: 3 * u**2 - 1),
    "log(1+u²)": (lambda u: np.log(1 + u**2), lambda u: 2 * u / (1 + u**2)),
}


def drawn(count=35):
    """Yield compositions that nobody chose: curves, widths, sizes and points are drawn."""
    rng = np.random.default_rng(2024)
    for number in range(1, count + 1):
        outer, inner = rng.choice(list(CURVES), 2)
        n, size, unit = int(rng.integers(1, 8)), *10.0 ** rng.integers(-8, 9, 2)
        a, b = rng.uniform(0.3, 2, n) * rng.choice([-1, 1], n) / size, rng.uniform(-1, 1)

        def f(x, f=CURVES[outer][0], g=CURVES[inner][0], a=a, b=b, unit=unit):
            return unit * f(np.mean(g(a * x)) + b)

        def gradient(x, f=CURVES[outer][1], g=CURVES[inner], a=a, b=b, unit=unit):
            return unit * f(np.mean(g[0](a * x)) + b) * g[1](a * x) * a / x.size

        x = size * rng.uniform(-2, 2, n)
        yield Problem(f"{number}: {outer} of mean {inner}", f, gradient, x, size)


def noise(x):
    """Return a number in [-1, 1) that looks drawn at random, and is the same for the same x."""
    return (
        2
        * math.modf(
            abs(math.sin(float(np.sum(x * np.sqrt(np.arange(2, x.size + 2)))) * 1e11) * 1e5)
        )[0]
        - 1
    )


def noisy():
    """Yield functions with noise: a share of their size that is far above rounding."""
    for level in (1e-6, 1e-10):
        yield Problem(
            f"exp(sum of sin), noise {level:g}",
            lambda x, level=level: float(np.exp(np.sum(np.sin(x)))) * (1 + level * noise(x)),
            lambda x: np.exp(np.sum(np.sin(x))) * np.cos(x),
            np.linspace(0.5, 3, 4),
            1.0,
            level,
        )
        yield Problem(
            f"Rosenbrock, noise {level:g}",
            lambda x, level=level: float(np.sum(rosenbrock(x)[0] ** 2)) * (1 + level * noise(x)),
            lambda x: 2 * rosenbrock(x)[1].T @ rosenbrock(x)[0],
            np.array([-1.2, 1.0]),
            None,
            level,
        )
    yield Problem(
        "exp(sum of sin) in float32",
        lambda x: float(np.exp(np.sum(np.sin(x.astype(np.float32))))),
        lambda x: np.exp(np.sum(np.sin(x))) * np.cos(x),
        np.linspace(0.5, 3, 4),
        1.0,
        float(np.finfo(np.float32).eps),
    )


GROUPS = {
    "smooth": list(smooth()),
    "Moré, Garbow, Hillstrom": list(more_garbow_hillstrom()),
    "badly scaled": list(scaled()),
    "drawn at random": list(drawn()),
    "noisy": list(noisy()),
}
