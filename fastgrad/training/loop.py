"""The book's training loop."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fastgrad._parallel import threads
from fastgrad.training import arguments
from fastgrad.training.arguments import METHODS, Data, check_kind, count, positive
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.checkpoints import Checkpoints
from fastgrad.training.history import History
from fastgrad.training.run import Run


def train(
    net: Any,
    data: Data,
    *,
    iterations: int = 100,
    batch_size: int = 100,
    learning_rate: float = 1.0,
    method: str = "incremental",
    h: float = 1e-4,
    workers: int | None = None,
    eval_every: int = 1,
    rng: np.random.Generator | None = None,
    on_evaluation: Callable[[History], None] | None = None,
    progress: bool = False,
    checkpoints: Checkpoints | None = None,
    resume: Checkpoint | None = None,
    stop: Callable[[], bool] | None = None,
) -> History:
    """Train by stochastic gradient descent, as in *Deep Learning from Scratch*, section 4.5.

    Each step draws a batch with replacement, takes its gradient, and moves every parameter by
    ``-learning_rate * gradient``.

    Parameters
    ----------
    net : fastgrad.TwoLayerNet, or any object with its methods
        Trained in place: ``params``, a dict of float arrays, and ``predict, loss, accuracy,
        gradient, numerical_gradient`` are used.
    data : ((x_train, t_train), (x_test, t_test))
        As `fastgrad.load_mnist` returns it.
    iterations, batch_size : int
        Number of steps, and of samples in each.
    learning_rate : float
        Above 0.
    method : {"incremental", "full", "naive", "backprop"}
        How the gradient is taken, see `fastgrad.TwoLayerNet.numerical_gradient`; "backprop" is
        `fastgrad.TwoLayerNet.gradient`.
    h, workers
        See `fastgrad.TwoLayerNet.numerical_gradient`.
    eval_every : int, default 1
        The accuracies on all of the data are taken after steps 0, `eval_every`,
        ``2 * eval_every`` ... and after the last.
    rng : numpy.random.Generator, optional
        Where batches are drawn from; without it NumPy's global generator, by the book's
        ``np.random.choice``.
    on_evaluation : callable, optional
        Called with the history after each evaluation.
    progress : bool, default False
        Show a bar with the time left, on a terminal or in a notebook.
    checkpoints : Checkpoints, optional
        Where and how often to save the run. Without it, nothing is written. Where the disk is full
        there is a RuntimeWarning, and training goes on.
    resume : Checkpoint, optional
        Go on from there, to the bits that an uninterrupted run ends with: `net` and the generator
        are set to the saved state. `iterations` counts all steps, including those done, and may
        be larger than before; `workers` may differ. All else must be the same.
    stop : callable, optional
        Called after each step, see `Stop`. When it returns True, training ends after a last
        checkpoint and without the accuracies of that step.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit. Then nothing has been changed.
    BlockingIOError
        If another process writes checkpoints in the same folder.
    DivergedError
        If the loss is not finite after a step, or a parameter so large that the step `h` is lost
        beside it. It carries the history.

    Examples
    --------
    >>> import fastgrad
    >>> history = train(fastgrad.TwoLayerNet(784, 10, 10), fastgrad.load_mnist(), iterations=20)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {reprlib.repr(method)}")
    threads.count(workers)
    check_kind("rng", rng, np.random.Generator, "numpy.random.default_rng(seed)")
    check_kind("checkpoints", checkpoints, Checkpoints, "Checkpoints(folder, every=100)")
    check_kind("resume", resume, Checkpoint, "fastgrad.training.read(folder)")
    check_kind("stop", stop, Callable, "fastgrad.training.Stop()")
    check_kind("on_evaluation", on_evaluation, Callable, "a function of the history")
    config: dict[str, Any] = {
        "iterations": count("iterations", iterations),
        "batch_size": count("batch_size", batch_size),
        "learning_rate": positive("learning_rate", learning_rate),
        "method": method,
        "h": positive("h", h),
        "eval_every": count("eval_every", eval_every),
    }
    if checkpoints:
        often = {"every": checkpoints.every, "minutes": checkpoints.minutes}
        config = {**checkpoints.about, **often, **config}
    data = arguments.arrays(data)
    arguments.check_network(net, data)
    run = Run(net, data, config, rng, workers, checkpoints, on_evaluation)
    return run.go(resume, stop or (lambda: False), progress)
