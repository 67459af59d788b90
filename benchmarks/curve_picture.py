"""The idea of the networks' gradient in one picture: a unit's curve, its nodes, its reads.

python -m benchmarks.curve_picture docs/curve.png
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib import pyplot

from fastgrad import load_mnist
from fastgrad.networks import MultiLayerNet
from fastgrad.networks._curves import differences, nodes
from fastgrad.networks._forward import ForwardPass

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"


def curve(unit=3, h=2.0):
    """Draw the central quotients of one sample's loss over the shift of one hidden unit.

    The step is so large that the curve bends: at the book's 1e-4 it is flat to eight digits.
    """
    (x, t), _ = load_mnist()
    net = MultiLayerNet(784, [50, 50], 10, "sigmoid", "xavier", rng=np.random.default_rng(0))
    layers = [(net.params[f"W{k}"], net.params[f"b{k}"]) for k in (1, 2, 3)]
    forward = ForwardPass(layers, "sigmoid", x[:1], t[:1].astype(np.int64))

    def quotients(d):
        return differences(forward, 0, 0, unit, d) / (2 * d)

    u, to_powers = nodes(4)
    d, pixels = np.linspace(0.01, 1, 200) * h, np.unique(h * x[0][x[0] > 0])
    values = np.append(forward.derivatives()[0][0, unit], quotients(h * np.sqrt(u[1:])))
    fitted = np.polynomial.Polynomial(to_powers @ values)((pixels / h) ** 2)
    figure, ax = pyplot.subplots(figsize=(8, 4), layout="constrained")
    ax.plot(d, quotients(d), color=GREY, label="(l(d) - l(-d)) / 2d: the rest of the network")
    ax.plot(h * np.sqrt(u), values, "o", color=BLUE, label="evaluated at a few shifts")
    ax.plot(
        pixels, fitted, "|", color=ORANGE, ms=14, label="read for each weight, at h times its input"
    )
    ax.set(xlabel="shift d of the unit's pre-activation", ylabel="central quotient of the loss")
    ax.set_title("One curve a unit, for all of its 784 weights")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend()
    return figure


if __name__ == "__main__":
    curve().savefig(sys.argv[1])
