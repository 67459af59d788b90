"""Check a network's backprop against numerical gradients, in every parameter."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from digits import DEFAULT, add_options, load

from fastgrad._checking.report import CheckReport
from fastgrad._files import replacing
from fastgrad.plotting import plot_check


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return 0 if the gradient is right, 1 if it is not."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="exit status: 0 if the gradient is right, 1 if it is not, 2 for a bad option",
    )
    parser.add_argument(
        "--samples", type=int, default=3, help=f"training images to check it on {DEFAULT}"
    )
    add_options(parser.add_argument)
    parser.add_argument("--picture", type=Path, help="PNG file for a heat map of the differences")
    options = parser.parse_args(argv)
    try:
        report = _check(options)
        print(report)
        if options.picture is not None:
            _draw(report, options.picture)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    return 0 if report.passed else 1


def _check(options: argparse.Namespace) -> CheckReport:
    picture: Path | None = options.picture
    if picture is not None and (picture.is_dir() or not picture.parent.is_dir()):
        raise ValueError(f"--picture must be a file in a folder that exists, got {picture}")
    ((x, t), _), net = load(options)
    if not 1 <= options.samples <= len(x):
        raise ValueError(
            f"--samples must be a whole number from 1 to {len(x)}, got {options.samples}"
        )
    if options.network == "conv":
        # At 0, where biases start, blank pixels are at the kink of the ReLU: no gradient is there.
        net.params["b1"] += 0.01
    x, t = x[: options.samples], t[: options.samples]
    report: CheckReport = net.check_gradient(x, t, h=options.step, workers=options.workers)
    return report


def _draw(report: CheckReport, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = len(report.arrays) // 2  # a layer's weights, and its biases
    figure, axes = pyplot.subplots(rows, 2, figsize=(11, 3.5 * rows), layout="constrained")
    for name, ax in zip(report.arrays, axes.flat, strict=True):
        plot_check(report, name, ax)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


if __name__ == "__main__":
    sys.exit(main())
