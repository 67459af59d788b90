"""Train one of the book's networks on digits, with gradients by numerical differentiation."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
import timeit
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numba
import numpy as np
from digits import DEFAULT, add_options, load, widths
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

import fastgrad
from fastgrad import reference
from fastgrad._files import made_folder, replacing
from fastgrad.plotting import plot_accuracy
from fastgrad.training import (
    Checkpoint,
    Checkpoints,
    DivergedError,
    History,
    Stop,
    newest_first,
    read,
    train,
)
from fastgrad.training.arguments import METHODS, Data
from fastgrad.training.state import check_agrees

PARAMETER_SAMPLE = 50
"""Parameters on which the nditer loop is timed."""

ABOUT = ("network", "hidden_size", "activation", "dataset", "seed")
"""Options that a checkpoint keeps beside the arguments of `train`."""

SAME = ("iterations", "batch_size", "learning_rate", "method", "eval_every")
SETTINGS = {"step": "h"} | {name: name for name in SAME}
"""Options that are arguments of `train`, and their names there."""

KEPT = {"checkpoint_every": "every", "checkpoint_minutes": "minutes"} | SETTINGS
KEPT |= {name: name for name in ABOUT}
"""Options that a resumed run takes from the checkpoint, and their names there.

No path is among them: a checkpoint may come from anyone.
"""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(argv)
    stop = Stop()
    try:
        with stop:
            saved = None if options.resume is None else read(options.resume)
            if saved is not None:
                # What is given again stands; `train` says where it differs from the checkpoint.
                kept = {option: saved.config[n] for option, n in KEPT.items() if n in saved.config}
                options = parser.parse_args(argv, argparse.Namespace(**kept))
                _check_about(saved, options)
            options.output_dir = _folder(options)
            with made_folder(options.output_dir):
                _train(options, saved, stop)
        if options.show:
            from matplotlib import pyplot

            pyplot.show()
    except BrokenPipeError:
        # Whoever read our lines has gone (`| head`): stop without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except DivergedError as error:
        sys.exit(f"{error}\nhistory.csv is in {options.output_dir}")
    except (ValueError, TypeError, ArithmeticError, OSError, MemoryError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(_what_is_left(options), file=sys.stderr)
        sys.exit(128 + stop.signum)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_options(add)
    add("--method", default="incremental", choices=METHODS, help=f"how to take gradients {DEFAULT}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--iterations", type=int, default=100, help=f"steps of training {DEFAULT}")
    length.add_argument("--epochs", type=int, help="instead: passes over the training images")
    add("--batch-size", type=int, default=100, help=f"images in one step {DEFAULT}")
    add("--learning-rate", type=float, default=1.0, help=f"factor on the gradient {DEFAULT}")
    add(
        "--eval-every",
        type=number_or_epoch,
        default=1,
        metavar="N",
        help=f"accuracies after so many iterations, or: epoch {DEFAULT}",
    )
    add("--no-progress", action="store_true", help="no progress bar")
    _add_files(add)
    return parser


def number_or_epoch(text: str) -> int | str:
    """Return a number, or the word."""
    return text if text == "epoch" else int(text)


def _add_files(add: Callable[..., object]) -> None:
    add(
        "--output-dir",
        type=Path,
        help="where the results go (default: a new folder in runs, named by the time)",
    )
    add(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="write a checkpoint after every N iterations, and keep the last two (default: none)",
    )
    add(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        metavar="M",
        help=f"write a checkpoint once M minutes have passed since the last {DEFAULT}",
    )
    add(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on from the newest checkpoint in DIR, or from that file, with its options; "
        "--iterations may be more than they were",
    )
    add("--show", action="store_true", help="also show the picture in a window")


def _check_about(saved: Checkpoint, options: argparse.Namespace) -> None:
    """Refuse other data or another network than the checkpoint's, before either is made."""
    was = {name: saved.config.get(name) for name in ABOUT}
    check_agrees(saved, was, {name: getattr(options, name) for name in ABOUT})
    sizes, numbers = options.hidden_size, sum(array.size for array in saved.params.values())
    numeric = isinstance(sizes, list) and sizes and all(type(size) is int for size in sizes)
    if not numeric or sum(a * b for a, b in pairwise(widths(options))) > numbers:
        # No file may make a network that is larger than itself.
        raise ValueError(f"{saved.path} is damaged: it holds no network of hidden_size {sizes!r}")


def _folder(options: argparse.Namespace) -> Path:
    """Return the folder for the results: where the checkpoint is, if nothing else is said."""
    if options.output_dir is None and options.resume is not None:
        return Path(options.resume if options.resume.is_dir() else options.resume.parent)
    return options.output_dir or Path("runs", time.strftime("%Y%m%d-%H%M%S"))


def _what_is_left(options: argparse.Namespace) -> str:
    """Tell what a stopped run has left, and how to go on."""
    folder = options.output_dir or options.resume
    found = newest_first(folder) if folder is not None else []
    if not found:
        return "\nstopped before the first checkpoint; nothing was written"
    again = [*sys.orig_argv]
    if options.resume != folder:
        again += ["--resume", os.fspath(folder)]
    return f"\nstopped; {found[0]} is the newest checkpoint; go on with:\n{shlex.join(again)}"


def _train(options: argparse.Namespace, saved: Checkpoint | None, stop: Stop) -> None:
    data, net = load(options)
    if options.epochs is not None or options.eval_every == "epoch":
        epoch = max(1, len(data[0][0]) // max(1, options.batch_size))
        if options.epochs is not None:
            options.iterations = options.epochs * epoch
        if options.eval_every == "epoch":
            options.eval_every = epoch
    checkpoints = Checkpoints(
        options.output_dir,
        every=options.checkpoint_every,
        minutes=options.checkpoint_minutes,
        about={name: getattr(options, name) for name in ABOUT},
    )
    try:
        history = train(
            net,
            data,
            **{name: getattr(options, option) for option, name in SETTINGS.items()},
            workers=options.workers,
            on_evaluation=_print_evaluation,
            progress=not options.no_progress,
            checkpoints=checkpoints,
            resume=saved,
            stop=stop,
        )
    except DivergedError as error:
        error.history.write_csv(options.output_dir / "history.csv")
        raise
    history.write_csv(options.output_dir / "history.csv")
    stop.at_once()
    _report(options, net, data, history)


def _print_evaluation(history: History) -> None:
    tqdm.write(
        f"[iter={history.evaluated[-1]}] train_loss={history.loss[-1]:.10g}, "
        f"train_acc={history.train_accuracy[-1]:.10g}, test_acc={history.test_accuracy[-1]:.10g}"
    )


def _nditer_seconds(net: Any, data: Data, batch_size: int) -> float:
    """Return about how long the book's loop takes for one gradient, from a sample of parameters."""
    x, t = data[0][0][:batch_size], data[0][1][:batch_size]
    sample = net.params["W1"].reshape(-1)[:PARAMETER_SAMPLE]
    loop = partial(reference.numerical_gradient, lambda _: net.loss(x, t), sample)
    # One BLAS thread, since threads that wait for a busy core make small products slow; and the
    # best of five, since other programs do as well.
    with threadpool_limits(1, "blas"):
        seconds = min(timeit.repeat(loop, number=1, repeat=5))
    return float(seconds / sample.size * sum(array.size for array in net.params.values()))


def _report(options: argparse.Namespace, net: Any, data: Data, history: History) -> None:
    import matplotlib

    if not options.show:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    seconds, nditer = history.seconds[-1], _nditer_seconds(net, data, options.batch_size)
    # The first one may include compilation.
    milliseconds = 1e3 * float(np.median(history.gradient_seconds[1:] or history.gradient_seconds))
    which = "one gradient" if len(history.gradient_seconds) > 1 else "the first gradient"
    print(
        f"{options.iterations} iterations in {seconds:.2f} s\n"
        f"{which} ({options.method}): {milliseconds:.3g} ms\n"
        f"estimate, from {PARAMETER_SAMPLE} parameters and with one BLAS thread: the nditer loop "
        f"would have taken {nditer:.3g} s for one gradient, "
        f"{timedelta(seconds=round(nditer * options.iterations))} (h:mm:ss) for this run"
    )
    timing = {
        "seconds": seconds,
        "gradient_ms": milliseconds,
        "nditer_gradient_seconds_estimate": nditer,
    }
    folder, params = options.output_dir, dict[str, Any](net.params)
    with replacing(folder / "params.npz") as file:
        np.savez(file, **params)
    with replacing(folder / "config.json", "w") as file:
        json.dump(_config(options, timing), file, indent=2, default=os.fspath)
    units = "-".join(map(str, options.hidden_size))
    title = f"{options.network}, {units} hidden units, {options.dataset}, {options.method}"
    plot_accuracy(history, title=f"{title}, {seconds:.1f} s")
    with replacing(folder / "accuracy.png") as file:
        pyplot.savefig(file, format="png", dpi=150)
    if not options.show:
        pyplot.close()
    print(f"history.csv, params.npz, config.json and accuracy.png are in {folder}")


def _config(options: argparse.Namespace, timing: dict[str, float]) -> dict[str, Any]:
    versions = {module.__name__: module.__version__ for module in (fastgrad, np, numba, joblib)}
    machine = {"python": platform.python_version(), "cpu": platform.machine()}
    return {**vars(options), "timing": timing, "versions": versions, "machine": machine}


if __name__ == "__main__":
    main()
