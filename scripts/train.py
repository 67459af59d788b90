"""Train the book's two-layer network on digits, with gradients by numerical differentiation."""

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
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numba
import numpy as np
from tqdm import tqdm

import fastgrad
from fastgrad import _processes, reference
from fastgrad._files import replacing
from fastgrad.checkpoints import Checkpoint, Checkpoints, newest_first, read
from fastgrad.plotting import plot_accuracy
from fastgrad.stopping import Stop
from fastgrad.training import Data, DivergedError, History, train

PARAMETER_SAMPLE = 50
"""Parameters on which the nditer loop is timed."""


KEPT = {
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "method": "method",
    "step": "h",
    "eval_every": "eval_every",
    "iterations": "iterations",
    "dataset": "dataset",
    "seed": "seed",
}
"""Options that a resumed run takes from the checkpoint, and their names there.

No path, no address and no backend is among them: a checkpoint may come from anyone.
"""


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
        if options.backend in ("processes", "loky"):
            _processes.end()
        sys.exit(128 + stop.signum)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add(
        "--workers",
        type=int,
        help="workers at most; -1: one for each core (default: 1, on a cluster all of it)",
    )
    add("--backend", help="threads, processes or a joblib backend (default: threads)")
    add("--scheduler", help="address of a Dask cluster, tcp://host:port, for --backend dask")
    add(
        "--method",
        default="incremental",
        choices=["incremental", "full", "naive", "backprop"],
        help="how the gradient is taken",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--iterations", type=int, default=100, help="steps of training")
    length.add_argument("--epochs", type=int, help="instead: passes over the training images")
    add("--batch-size", type=int, default=100, help="images in one step")
    add("--learning-rate", type=float, default=1.0, help="factor on the gradient")
    add("--hidden-size", type=int, default=50, help="hidden units")
    add("--step", type=float, default=1e-4, help="h of the central difference")
    add("--eval-every", type=_eval_every, default=1, help="iterations, or: epoch")
    add("--dataset", default="mnist-5k", help="mnist-5k (embedded), mnist or fashion-mnist")
    add("--data-dir", type=Path, help="where the data set's IDX files are already")
    add("--seed", type=int, help="seed of weights and batches")
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
        help="write a checkpoint once M minutes have passed since the last",
    )
    add(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on from the newest checkpoint in DIR, or from that file, with its options; "
        "--iterations may be more than they were",
    )
    add("--show", action="store_true", help="also show the picture in a window")
    add("--no-progress", action="store_true", help="no progress bar")
    return parser


def _eval_every(text: str) -> int | str:
    return text if text == "epoch" else int(text)


def _stored(saved: Checkpoint) -> dict[str, Any]:
    """Return the options that a checkpoint fixes."""
    W1 = saved.params.get("W1")
    # A network is made of that size: it must be the one of arrays that are there.
    if W1 is None or W1.ndim != 2 or len(W1) != 28 * 28:
        raise ValueError(f"{saved.path} was not written by this program: no W1 for 784 pixels")
    kinds = {"dataset": str, "method": str, "learning_rate": float, "step": float}
    options: dict[str, Any] = {"hidden_size": W1.shape[1]}
    for option, name in KEPT.items():
        value = saved.config.get(name)
        if not isinstance(value, kinds.get(option, int)) and (option, value) != ("seed", None):
            raise ValueError(f"{saved.path} was not written by this program: {name} is {value!r}")
        options[option] = value
    return options


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
    _writable(options.output_dir)
    with _cluster(options):
        _train(options, saved, stop)


def _cluster(options: argparse.Namespace) -> AbstractContextManager[object]:
    """Connect to the Dask cluster of the options, if there is one."""
    if (options.backend == "dask") != (options.scheduler is not None):
        raise ValueError("--backend dask and --scheduler tcp://host:port need each other")
    if options.scheduler is None:
        return nullcontext()
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--backend dask needs: pip install 'fastgrad[dask]'") from None
    client: AbstractContextManager[object] = Client(options.scheduler, timeout=10)
    return client


def _train(options: argparse.Namespace, saved: Checkpoint | None, stop: Stop) -> None:
    if options.seed is not None:
        np.random.seed(options.seed)
    data = fastgrad.load_mnist(dataset=options.dataset, data_dir=options.data_dir)
    net = fastgrad.TwoLayerNet(data[0][0].shape[1], options.hidden_size, 10)
    epoch = max(1, len(data[0][0]) // max(1, options.batch_size))
    if options.epochs is not None:
        options.iterations = options.epochs * epoch
    checkpoints = Checkpoints(
        options.output_dir,
        every=options.checkpoint_every,
        minutes=options.checkpoint_minutes,
        about={"dataset": options.dataset, "seed": options.seed},
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
            backend=options.backend,
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
    timing = {
        "seconds": history.seconds[-1],
        "gradient_ms": 1e3 * float(np.median(history.gradient_seconds)),
        "nditer_gradient_seconds_estimate": _nditer_seconds(net, data, options.batch_size),
    }
    _print_timing(timing, options.iterations, options.method)
    _write(options.output_dir, net, history, _config(options, timing), options)
    if saved is None and options.checkpoint_every is None:
        checkpoints.remove()


def _writable(folder: Path) -> None:
    """Create the output folder, and make sure before training that files can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"--output-dir must be a folder that can be written to, got {folder}: {error}"
        ) from error


def _print_evaluation(history: History) -> None:
    tqdm.write(
        f"[iter={history.evaluated[-1]}] train_loss={history.loss[-1]:.10g}, "
        f"train_acc={history.train_accuracy[-1]:.10g}, test_acc={history.test_accuracy[-1]:.10g}"
    )


def _nditer_seconds(net: fastgrad.TwoLayerNet, data: Data, batch_size: int) -> float:
    """Return about how long the book's loop takes for one gradient, from a sample of parameters."""
    x, t = data[0][0][:batch_size], data[0][1][:batch_size]
    row = len(net.params["W1"]) // 2
    sample = net.params["W1"][row : row + 1, :PARAMETER_SAMPLE]
    loop = partial(reference.numerical_gradient, lambda _: net.loss(x, t), sample)
    # The best of five: what else the machine does must not make the loop look slow.
    seconds = min(timeit.repeat(loop, number=1, repeat=5))
    return seconds / sample.size * sum(array.size for array in net.params.values())


def _print_timing(timing: dict[str, float], iterations: int, method: str) -> None:
    nditer = timing["nditer_gradient_seconds_estimate"]
    print(f"{iterations} iterations in {timing['seconds']:.2f} s")
    print(f"one gradient ({method}): {timing['gradient_ms']:.3g} ms")
    print(
        f"estimate, from {PARAMETER_SAMPLE} parameters: the nditer loop would have taken "
        f"{nditer:.3g} s for one gradient, {_duration(nditer * iterations)} for this run"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _config(options: argparse.Namespace, timing: dict[str, float]) -> dict[str, Any]:
    config = {name: _plain(value) for name, value in vars(options).items()}
    versions = {module.__name__: module.__version__ for module in (fastgrad, np, numba, joblib)}
    machine = {"python": platform.python_version(), "cpu": platform.machine()}
    return {**config, "timing": timing, "versions": versions, "machine": machine}


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, Path) else value


def _write(
    folder: Path,
    net: fastgrad.TwoLayerNet,
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
    print(f"history.csv, params.npz, config.json and accuracy.png are in {folder}")


if __name__ == "__main__":
    main()
