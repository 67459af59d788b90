"""What the scripts share: options for digits and a network, and both made of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastgrad
from fastgrad.networks import MultiLayerNet, SimpleConvNet, TwoLayerNet
from fastgrad.training.arguments import Data

DEFAULT = "(default: %(default)s)"
CLASSES, PIXELS, CONV_FEATURES = 10, 28 * 28, 30 * 12 * 12


def add_options(add: Callable[..., object]) -> None:
    """Add the options that `load` reads, and the workers and the step of the gradient."""
    add(
        "--network",
        choices=["two-layer", "multi-layer", "conv"],
        help="default: two-layer, or multi-layer with several hidden layers or an activation",
    )
    add(
        "--hidden-size",
        type=int,
        nargs="+",
        default=[50],
        metavar="N",
        help="hidden units of each layer, such as 100 100 100 (default: 50)",
    )
    add("--activation", choices=["relu", "sigmoid", "tanh"], help="default: relu")
    sets = f"mnist-5k (embedded), mnist or fashion-mnist {DEFAULT}"
    add("--dataset", default="mnist-5k", help=sets)
    add("--data-dir", type=Path, help="where the data set's IDX files are already")
    add("--seed", type=int, help="seed of NumPy's global generator")
    add("--workers", type=int, help="workers at most; -1: one for each core (default: 1)")
    add("--step", type=float, default=1e-4, help=f"h of the central difference {DEFAULT}")


def load(options: argparse.Namespace) -> tuple[Data, TwoLayerNet | MultiLayerNet | SimpleConvNet]:
    """Return the data and a new network, and set what the options left open."""
    sizes: list[int] = options.hidden_size
    several = len(sizes) > 1 or options.activation is not None
    kind = options.network = options.network or ("multi-layer" if several else "two-layer")
    if kind == "multi-layer":
        options.activation = options.activation or "relu"
    elif several:
        raise ValueError(
            f"--network {kind} has one hidden layer and no choice of --activation: take "
            "--network multi-layer for others"
        )
    data = fastgrad.load_mnist(
        flatten=kind != "conv", dataset=options.dataset, data_dir=options.data_dir
    )
    if options.seed is not None:
        np.random.seed(options.seed)
    if kind == "multi-layer":
        return data, MultiLayerNet(PIXELS, sizes, CLASSES, options.activation)
    if kind == "conv":
        return data, SimpleConvNet(hidden_size=sizes[0])
    if kind == "two-layer":
        return data, TwoLayerNet(PIXELS, sizes[0], CLASSES)
    raise ValueError(f"--network must be two-layer, multi-layer or conv, got {kind!r}")


def widths(options: argparse.Namespace) -> list[int]:
    """Return the number of inputs, of units of each hidden layer, and of classes."""
    return [CONV_FEATURES if options.network == "conv" else PIXELS, *options.hidden_size, CLASSES]
