"""Functions that deceive the choice of a step, with their derivatives: some 11,000 points.

Periods that steps span, lines far from 0, bounds at x, noise, lengths that |x| does not tell.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SMOOTH = {
    "exp": (math.exp, math.exp),
    "sin": (math.sin, math.cos),
    "cos": (math.cos, lambda x: -math.sin(x)),
    "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2),
    "atan": (math.atan, lambda x: 1 / (1 + x * x)),
    "bell": (lambda x: math.exp(-x * x), lambda x: -2 * x * math.exp(-x * x)),
    "cubic": (lambda x: x**3 - 2 * x, lambda x: 3 * x * x - 2),
    "Runge": (lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    "log": (lambda x: math.log(1 + x * x), lambda x: 2 * x / (1 + x * x)),
    "softplus": (lambda x: math.log1p(math.exp(x)), lambda x: 1 / (1 + math.exp(-x))),
    "sqrt": (lambda x: math.sqrt(1 + x * x), lambda x: x / math.sqrt(1 + x * x)),
    "exp(sin)": (lambda x: math.exp(math.sin(x)), lambda x: math.exp(math.sin(x)) * math.cos(x)),
    "x cos": (lambda x: x * math.cos(3 * x), lambda x: math.cos(3 * x) - 3 * x * math.sin(3 * x)),
}


class Case(NamedTuple):
    """f of one number, where, its derivative there and how large derivatives of f are.

    `side` is 1 where f is defined at x and above alone, -1 at x and below, 0 on both sides.
    """

    f: Callable[[float], float]
    x: float
    truth: float
    size: float
    side: int = 0


def rastrigin(rng, count):
    """Yield Rastrigin's function."""
    for _ in range(count):
        x = rng.uniform(-5.12, 5.12)
        slope = 2 * x + 20 * math.pi * math.sin(2 * math.pi * x)
        yield Case(lambda x: 10 + x * x - 10 * math.cos(2 * math.pi * x), x, slope, 60)


def ackley(rng, count):
    """Yield Ackley's function in 1 to 10 dimensions, along one of them."""
    for k in range(count):
        point = np.array([rng.uniform(-5, 5) for _ in range(1 + k % 10)])
        x, n = float(point[0]), len(point)

        def f(x, point=point):
            point = np.append(x, point[1:])
            far, wave = np.sqrt(np.mean(point**2)), np.mean(np.cos(2 * np.pi * point))
            return float(20 + np.e - 20 * np.exp(-far / 5) - np.exp(wave))

        far, wave = np.sqrt(np.mean(point**2)), np.mean(np.cos(2 * np.pi * point))
        slope = 4 * np.exp(-far / 5) * x / (n * far)
        slope += np.exp(wave) * 2 * np.pi * np.sin(2 * np.pi * x) / n
        yield Case(f, x, float(slope), 1)


def seasons(rng, count):
    """Yield a wave of one year, half of the times at whole years."""
    for k in range(count):
        t = 1990.0 + k % 41 if k % 2 else rng.uniform(1990, 2030)
        slope = 2 * math.pi * math.cos(2 * math.pi * t)
        yield Case(lambda t: math.sin(2 * math.pi * t), t, slope, 2 * math.pi)


def line(rng, count):
    """Yield the chi-square of a spectral line, 2 wide, by where it stands: near 6563."""
    grid = np.arange(6540, 6590, 0.5)
    data = np.exp(-((grid - 6563.7) ** 2) / 8)
    for _ in range(count):
        x = rng.uniform(6561, 6566)
        model = np.exp(-((grid - x) ** 2) / 8)
        slope = float(np.sum((model - data) * model * (grid - x) / 2))
        yield Case(
            lambda x: float(np.sum((data - np.exp(-((grid - x) ** 2) / 8)) ** 2)), x, slope, 1
        )


def smooth(rng, count, length=lambda rng: 1.0, sides=(0,)):
    """Yield each smooth function in turn, stretched by a length, on a side of x."""
    for k in range(count):
        f, derivative = SMOOTH[list(SMOOTH)[k % len(SMOOTH)]]
        x, unit = rng.uniform(-3, 3), length(rng)
        x *= unit
        yield Case(
            lambda x, f=f, unit=unit: f(x / unit),
            x,
            derivative(x / unit) / unit,
            max(1, abs(derivative(x / unit))) / unit,
            rng.choice(sides),
        )


def noisy(rng, count):
    """Yield smooth functions with noise, 1e-12 to 1e-4 of their value."""
    for case in smooth(rng, count):
        level = 10 ** rng.uniform(-12, -4)

        def f(x, f=case.f, level=level):
            return f(x) * (1 + level * (zlib.crc32(np.float64(x).tobytes()) / 2**31 - 1))

        yield case._replace(f=f)


def waves(rng, count):
    """Yield waves, up to 1,000 times as short as x, half of them small ones on a trend."""
    for k in range(count):
        x, omega, a = rng.uniform(-3, 3), 10 ** rng.uniform(0, 3), 10 ** rng.uniform(-4, 0)
        b = k % 2
        yield Case(
            lambda x, w=omega, a=a, b=b: b * x * x + a * math.sin(w * x),
            x,
            2 * b * x + a * omega * math.cos(omega * x),
            b + a * omega,
        )


def far(rng, count):
    """Yield waves at |x| from 1e-12 to 1e12, as long as a hundredth of x or longer."""
    for _ in range(count):
        x = rng.choice([-1, 1]) * 10 ** rng.uniform(-12, 12)
        omega = 10 ** rng.uniform(-2, 2) / max(abs(x), 10 ** rng.uniform(-3, 3))
        phase = rng.uniform(0, 6)
        yield Case(
            lambda x, w=omega, p=phase: math.sin(w * x + p),
            x,
            omega * math.cos(omega * x + phase),
            omega,
        )


def groups():
    """Return the cases by name."""
    rng = random.Random(20)
    return {
        "Rastrigin": list(rastrigin(rng, 500)),
        "Ackley, 1 to 10 dimensions": list(ackley(rng, 500)),
        "sin(2πt), t from 1990 to 2030": list(seasons(rng, 500)),
        "chi-square of a line at 6563, 2 wide": list(line(rng, 500)),
        "13 smooth functions": list(smooth(rng, 1300)),
        "the same, x in units of 1e-12 to 1e12": list(
            smooth(rng, 1300, lambda rng: 10 ** rng.uniform(-12, 12))
        ),
        "the same, from one side": list(smooth(rng, 2600, sides=(-1, 1))),
        "the same, with noise": list(noisy(rng, 1300)),
        "waves, and small ones on x²": list(waves(rng, 1500)),
        "waves far from 0": list(far(rng, 1000)),
    }
