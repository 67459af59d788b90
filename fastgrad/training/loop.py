"""The book's training loop: its steps, its accuracies, its checkpoints."""

from __future__ import annotations

import contextlib
import logging
import math
import reprlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from fastgrad._checks import check_flags, check_kind, count, generator, positive
from fastgrad._parallel import blas, threads
from fastgrad.training import arguments, state
from fastgrad.training.arguments import METHODS, Data
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.checkpoints import Checkpoints
from fastgrad.training.history import DivergedError, History

_logger = logging.getLogger(__name__)


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
        How the gradient is taken; "backprop" is the network's own `gradient`.
    h, workers
        As in `fastgrad.TwoLayerNet.numerical_gradient`.
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
    >>> len(history.loss)
    20
    """
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {reprlib.repr(method)}")
    threads.count(workers)
    check_flags(progress=progress)
    draw = generator(rng)
    check_kind("checkpoints", checkpoints, Checkpoints, "Checkpoints(folder, every=100)")
    check_kind("resume", resume, Checkpoint, "fastgrad.training.read(folder)")
    check_kind("stop", stop, Callable, "fastgrad.training.Stop()")
    check_kind("on_evaluation", on_evaluation, Callable, "a function of the history")
    config = {
        "iterations": count("iterations", iterations),
        "batch_size": count("batch_size", batch_size),
        "learning_rate": positive("learning_rate", learning_rate),
        "method": method,
        "h": positive("h", h),
        "eval_every": count("eval_every", eval_every),
    }
    data = arguments.arrays(data)
    arguments.check_network(net, data)
    run = Run(net, data, config, draw, workers, checkpoints, on_evaluation)
    return run.go(resume, stop or (lambda: False), progress)


@dataclass
class Run:
    """A training run; a run that goes on from its checkpoint must have the same `config`."""

    net: Any
    data: Data
    config: dict[str, Any]
    rng: Any  # a generator, or numpy.random
    workers: int | None
    checkpoints: Checkpoints | None
    on_evaluation: Callable[[History], None] | None
    history: History = field(default_factory=History)
    start: float = field(default_factory=time.perf_counter)

    def go(self, saved: Checkpoint | None, stop: Callable[[], bool], progress: bool) -> History:
        """Take the steps that are left, from a checkpoint or from the beginning.

        After an error before the first step is done, parameters and generator are as before.
        """
        if self.checkpoints:
            often = {"every": self.checkpoints.every, "minutes": self.checkpoints.minutes}
            self.config = {**self.checkpoints.about, **often, **self.config}
        if self.checkpoints or saved:
            self.config |= {"data": state.digest(self.data), "net": state.kind(self.net)}
        if saved:
            state.check(saved, self.net.params, self.rng, self.config)
            self.history = state.history(saved)
        done, total, before = len(self.history.loss), self.config["iterations"], self.checkpoint()
        hidden = None if progress else True  # None: shown at a terminal
        try:
            with (
                self.checkpoints.opened(saved) if self.checkpoints else contextlib.nullcontext(),
                blas.one_thread(),
                tqdm(total=total, initial=done, unit="step", disable=hidden) as bar,
            ):
                if saved:
                    state.restore(saved, self.net.params, self.rng)
                    self.start -= saved.seconds
                    _logger.info("went on after %d iterations, from %s", done, saved.path)
                if done:
                    self.evaluate()  # a checkpoint is written before the accuracies of its step
                for step in range(done, total):
                    self.step()
                    bar.update()
                    stopped = stop()
                    last = stopped or step == total - 1
                    if self.checkpoints and (last or self.checkpoints.due(step + 1)):
                        self.checkpoints.save(self.checkpoint())
                    if stopped:
                        break
                    self.evaluate()
        except Exception:
            if len(self.history.loss) == done:
                state.restore(before, self.net.params, self.rng)
            raise
        return self.history

    def step(self) -> None:
        """Draw a batch, take its gradient, move the parameters."""
        batch = self.rng.choice(len(self.data[0][0]), self.config["batch_size"])
        x, t = (array[batch] for array in self.data[0])
        begin = time.perf_counter()
        if self.config["method"] == "backprop":
            grads = self.net.gradient(x, t)
        else:
            method, h = self.config["method"], self.config["h"]
            grads = self.net.numerical_gradient(x, t, h=h, workers=self.workers, method=method)
        self.history.gradient_seconds.append(time.perf_counter() - begin)
        arguments.check_gradient(grads, self.net.params)
        for name, grad in grads.items():
            self.net.params[name] -= self.config["learning_rate"] * grad
        self.history.loss.append(float(self.net.loss(x, t)))
        self.check_convergence()

    def check_convergence(self) -> None:
        """Raise if no gradient helps any more: nothing can go on from there."""
        loss = self.history.loss[-1]
        largest = float(np.max([np.abs(a).max(initial=0) for a in self.net.params.values()]))
        h = math.inf if self.config["method"] == "backprop" else self.config["h"]
        if math.isfinite(loss) and largest + h > largest:
            return
        last = self.checkpoints and self.checkpoints.last
        raise DivergedError(
            f"training has diverged in iteration {len(self.history.loss) - 1}: the loss is {loss}, "
            f"the parameters reach {largest:.3g}; most likely the learning rate, "
            f"{self.config['learning_rate']}, is too high; the last good checkpoint is "
            f"{last or 'none'}",
            self.history,
        )

    def evaluate(self) -> None:
        """Take the accuracies if they are due after the last step."""
        history, step = self.history, len(self.history.loss) - 1
        if step % self.config["eval_every"] and step < self.config["iterations"] - 1:
            return
        train, test = (self.net.accuracy(x, t, workers=self.workers) for x, t in self.data)
        history.evaluated.append(step)
        history.train_accuracy.append(train)
        history.test_accuracy.append(test)
        history.seconds.append(time.perf_counter() - self.start)
        if self.on_evaluation is not None:
            self.on_evaluation(history)

    def checkpoint(self) -> Checkpoint:
        """Return the state of the run, in arrays of its own."""
        return Checkpoint(
            iteration=len(self.history.loss),
            params={name: array.copy() for name, array in self.net.params.items()},
            history={
                name: np.array(column, int if name == "evaluated" else float)
                for name, column in vars(self.history).items()
            },
            generator=state.generator(self.rng),
            config=self.config,
            seconds=time.perf_counter() - self.start,
        )
