"""Check the network's backprop against numerical gradients, in every parameter."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import fastgrad
from fastgrad._checking.report import CheckReport
from fastgrad._files import replacing
from fastgrad.plotting import plot_check

DEFAULT = "(default: %(default)s)"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return 0 if the gradient is right, 1 if it is not."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        report = _check(options)
        print(report)
        if options.picture is not None:
            _draw(report, options.picture)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="exit status: 0 if the gradient is right, 1 if it is not, 2 for a bad option",
    )
    add = parser.add_argument
    add("--samples", type=int, default=3, help=f"training images to check it on {DEFAULT}")
    add("--hidden-size", type=int, default=50, help=f"hidden units {DEFAULT}")
    add("--step", type=float, default=1e-4, help=f"h of the central difference {DEFAULT}")
    add("--seed", type=int, help="seed of the weights")
    add(
        "--dataset",
        default="mnist-5k",
        help=f"mnist-5k (embedded), mnist or fashion-mnist {DEFAULT}",
    )
    add("--data-dir", type=Path, help="where the data set's IDX files are already")
    add("--workers", type=int, help="workers at most; -1: one for each core (default: 1)")
    add("--picture", type=Path, help="PNG file for a heat map of the differences")
    return parser


def _check(options: argparse.Namespace) -> CheckReport:
    if options.samples < 1:
        raise ValueError(f"--samples must be a whole number from 1, got {options.samples}")
    if options.picture is not None and not options.picture.parent.is_dir():
        raise ValueError(f"--picture must be in a folder that exists, got {options.picture}")
    if options.seed is not None:
        np.random.seed(options.seed)
    (x, t), _ = fastgrad.load_mnist(dataset=options.dataset, data_dir=options.data_dir)
    if options.samples > len(x):
        raise ValueError(f"--samples must be at most {len(x)}, got {options.samples}")
    net = fastgrad.TwoLayerNet(x.shape[1], options.hidden_size, 10)
    x, t = x[: options.samples], t[: options.samples]
    report: CheckReport = net.check_gradient(x, t, h=options.step, workers=options.workers)
    return report


def _draw(report: CheckReport, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for name, ax in zip(report.arrays, axes.flat, strict=True):
        plot_check(report, name, ax)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


if __name__ == "__main__":
    sys.exit(main())
