"""Train one of the book's networks on digits, with gradients by numerical differentiation."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numba
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

import fastgrad
from fastgrad import reference
from fastgrad._files import made_folder, replacing
from fastgrad.networks import MultiLayerNet, SimpleConvNet, TwoLayerNet
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
from fastgrad.training.arguments import Data, Trainable

PARAMETER_SAMPLE = 50
"""Parameters on which the nditer loop is timed."""

ABOUT = ("network", "activation", "dataset", "seed")
"""Options that a checkpoint keeps beside the arguments of `train`."""

DEFAULT = "(default: %(default)s)"

KEPT = {
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "method": "method",
    "step": "h",
    "eval_every": "eval_every",
    "iterations": "iterations",
    "network": "network",
    "activation": "activation",
    "dataset": "dataset",
    "seed": "seed",
    "checkpoint_every": "every",
    "checkpoint_minutes": "minutes",
}
"""Options that a resumed run takes from the checkpoint, and their names there.

No path is among them: a checkpoint may come from anyone.
"""

CONV_FEATURES = 30 * 12 * 12
"""Inputs of the dense layers of the book's convolutional network."""

MAY_BE_NONE = {"seed", "checkpoint_every", "activation"}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(argv)
    stop = Stop()
    try:
        with stop:
            if options.resume is not None:
                saved = read(options.resume)
                # What is given again stands; `train` says where it differs from the checkpoint.
                options = parser.parse_args(argv, argparse.Namespace(**_stored(saved)))
            else:
                saved = None
            options.output_dir = _folder(options)
            _run(options, saved, stop)
        if options.show:
            from matplotlib import pyplot

            pyplot.show()
    except BrokenPipeError:
        # Whoever read our lines has gone (`| head`): stop without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except DivergedError as error:
        sys.exit(f"{error}\nhistory.csv is in {options.output_dir}")
    except (ValueError, TypeError, OSError, MemoryError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(_what_is_left(options), file=sys.stderr)
        sys.exit(128 + stop.signum)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    _add_network(parser.add_argument)
    _add_training(parser)
    _add_files(parser.add_argument)
    return parser


def _add_network(add: Callable[..., object]) -> None:
    add(
        "--network",
        choices=["two-layer", "multi-layer", "conv"],
        help="which network (default: two-layer, or multi-layer with several hidden layers or an "
        "activation)",
    )
    add(
        "--hidden-size",
        type=int,
        nargs="+",
        default=[50],
        metavar="N",
        help="hidden units of each layer, such as 100 100 100 (default: 50)",
    )
    add(
        "--activation",
        choices=["relu", "sigmoid", "tanh"],
        help="of the multi-layer network (default: relu)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workers", type=int, help="workers at most; -1: one for each core (default: 1)")
    add(
        "--method",
        default="incremental",
        choices=["incremental", "full", "naive", "backprop"],
        help=f"how the gradient is taken {DEFAULT}",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--iterations", type=int, default=100, help=f"steps of training {DEFAULT}")
    length.add_argument("--epochs", type=int, help="instead: passes over the training images")
    add("--batch-size", type=int, default=100, help=f"images in one step {DEFAULT}")
    add("--learning-rate", type=float, default=1.0, help=f"factor on the gradient {DEFAULT}")
    add("--step", type=float, default=1e-4, help=f"h of the central difference {DEFAULT}")
    add(
        "--eval-every",
        type=_eval_every,
        default=1,
        help=f"accuracies after so many iterations, or: epoch {DEFAULT}",
    )
    add("--seed", type=int, help="seed of weights and batches")
    add("--no-progress", action="store_true", help="no progress bar")


def _add_files(add: Callable[..., object]) -> None:
    add(
        "--dataset",
        default="mnist-5k",
        help=f"mnist-5k (embedded), mnist or fashion-mnist {DEFAULT}",
    )
    add("--data-dir", type=Path, help="where the data set's IDX files are already")
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


def _eval_every(text: str) -> int | str:
    return text if text == "epoch" else int(text)


def _stored(saved: Checkpoint) -> dict[str, Any]:
    """Return the options that a checkpoint fixes."""
    kinds = {
        "dataset": str,
        "method": str,
        "network": str,
        "activation": str,
        "learning_rate": float,
        "step": float,
        "checkpoint_minutes": float,
    }
    options: dict[str, Any] = {"hidden_size": _hidden_sizes(saved)}
    for option, name in KEPT.items():
        value = saved.config.get(name)
        none = value is None and option in MAY_BE_NONE
        if not none and not isinstance(value, kinds.get(option, int)):
            raise ValueError(f"{saved.path} was not written by this program: {name} is {value!r}")
        options[option] = value
    return options


def _hidden_sizes(saved: Checkpoint) -> list[int]:
    """Return the sizes of the hidden layers, from the arrays that are there.

    A network is made of these sizes: no file may make one that is larger than itself.
    """
    weights = [saved.params[name] for name in sorted(saved.params) if name.startswith("W")]
    conv = saved.config.get("network") == "conv"
    sizes = [CONV_FEATURES if conv else 28 * 28]
    for W in weights[conv:-1]:
        if W.ndim != 2 or len(W) != sizes[-1]:
            break
        sizes.append(W.shape[1])
    if len(sizes) < 2 or len(sizes) != len(weights) - conv:
        raise ValueError(f"{saved.path} was not written by this program: no such network")
    return sizes[1:]


def _folder(options: argparse.Namespace) -> Path:
    """Return the folder for the results: where the checkpoint is, if nothing else is said."""
    folder: Path | None = options.output_dir
    resume: Path | None = options.resume
    if folder is None and resume is not None:
        return resume if resume.is_dir() else resume.parent
    return folder or Path("runs", time.strftime("%Y%m%d-%H%M%S"))


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


def _run(options: argparse.Namespace, saved: Checkpoint | None, stop: Stop) -> None:
    with _writable(options.output_dir):
        _train(options, saved, stop)


def _train(options: argparse.Namespace, saved: Checkpoint | None, stop: Stop) -> None:
    if options.seed is not None:
        np.random.seed(options.seed)
    data, net = _data_and_network(options)
    epoch = max(1, len(data[0][0]) // max(1, options.batch_size))
    if options.epochs is not None:
        options.iterations = options.epochs * epoch
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
            iterations=options.iterations,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            method=options.method,
            h=options.step,
            workers=options.workers,
            eval_every=epoch if options.eval_every == "epoch" else options.eval_every,
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
    if saved is None and options.checkpoint_every is None:
        checkpoints.remove()


def _data_and_network(
    options: argparse.Namespace,
) -> tuple[Data, TwoLayerNet | MultiLayerNet | SimpleConvNet]:
    sizes: list[int] = options.hidden_size
    several = len(sizes) > 1 or options.activation is not None
    kind = options.network = options.network or ("multi-layer" if several else "two-layer")
    data = fastgrad.load_mnist(
        flatten=kind != "conv", dataset=options.dataset, data_dir=options.data_dir
    )
    if kind == "multi-layer":
        options.activation = options.activation or "relu"
        return data, MultiLayerNet(28 * 28, sizes, 10, options.activation)
    if several:
        raise ValueError(
            f"--network {kind} has one hidden layer and no choice of --activation: take "
            "--network multi-layer for others"
        )
    if kind == "conv":
        return data, SimpleConvNet(hidden_size=sizes[0])
    if kind == "two-layer":
        return data, TwoLayerNet(28 * 28, sizes[0], 10)
    raise ValueError(f"--network must be two-layer, multi-layer or conv, got {kind!r}")


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make the output folder, and make sure that it can be written to; leave no empty one."""
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folder(folder))
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(
                f"--output-dir must be a folder that can be written to, got {folder}: {error}"
            ) from error
        yield


def _print_evaluation(history: History) -> None:
    tqdm.write(
        f"[iter={history.evaluated[-1]}] train_loss={history.loss[-1]:.10g}, "
        f"train_acc={history.train_accuracy[-1]:.10g}, test_acc={history.test_accuracy[-1]:.10g}"
    )


def _nditer_seconds(net: Trainable, data: Data, batch_size: int) -> float:
    """Return about how long the book's loop takes for one gradient, from a sample of parameters."""
    x, t = data[0][0][:batch_size], data[0][1][:batch_size]
    sample = net.params["W1"].reshape(-1)[:PARAMETER_SAMPLE]
    loop = partial(reference.numerical_gradient, lambda _: net.loss(x, t), sample)
    # One BLAS thread, since threads that wait for a busy core make small products slow; and the
    # best of five, since other programs do as well.
    with threadpool_limits(1, "blas"):
        seconds = min(timeit.repeat(loop, number=1, repeat=5))
    return seconds / sample.size * sum(array.size for array in net.params.values())


def _print_timing(timing: dict[str, float], iterations: int, method: str) -> None:
    nditer = timing["nditer_gradient_seconds_estimate"]
    print(f"{iterations} iterations in {timing['seconds']:.2f} s")
    print(f"one gradient ({method}): {timing['gradient_ms']:.3g} ms")
    print(
        f"estimate, from {PARAMETER_SAMPLE} parameters and with one BLAS thread: the nditer loop "
        "would have taken "
        f"{nditer:.3g} s for one gradient, {_duration(nditer * iterations)} for this run"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _report(options: argparse.Namespace, net: Trainable, data: Data, history: History) -> None:
    timing = {
        "seconds": history.seconds[-1],
        "gradient_ms": 1e3 * float(np.median(history.gradient_seconds)),
        "nditer_gradient_seconds_estimate": _nditer_seconds(net, data, options.batch_size),
    }
    _print_timing(timing, options.iterations, options.method)
    _write(options.output_dir, net, history, _config(options, timing), options)


def _config(options: argparse.Namespace, timing: dict[str, float]) -> dict[str, Any]:
    config = {name: _plain(value) for name, value in vars(options).items()}
    versions = {module.__name__: module.__version__ for module in (fastgrad, np, numba, joblib)}
    machine = {"python": platform.python_version(), "cpu": platform.machine()}
    return {**config, "timing": timing, "versions": versions, "machine": machine}


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, Path) else value


def _write(
    folder: Path,
    net: Trainable,
    history: History,
    config: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    import matplotlib

    if not options.show:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    params: dict[str, Any] = net.params
    with replacing(folder / "params.npz") as file:
        np.savez(file, **params)
    with replacing(folder / "config.json", "w") as file:
        json.dump(config, file, indent=2)
    title = f"{options.dataset}, {options.method}, {config['timing']['seconds']:.1f} s"
    plot_accuracy(history, title=title)
    with replacing(folder / "accuracy.png") as file:
        pyplot.savefig(file, format="png", dpi=150)
    if not options.show:
        pyplot.close()
    print(f"history.csv, params.npz, config.json and accuracy.png are in {folder}")


if __name__ == "__main__":
    main()
