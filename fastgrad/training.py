"""The book's training loop."""

from __future__ import annotations

import csv
import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from tqdm import tqdm

from fastgrad import _blas, _generators, _resuming
from fastgrad._files import replacing
from fastgrad._methods import by_method
from fastgrad._typing import Array
from fastgrad.checkpoints import Checkpoint, Checkpoints
from fastgrad.objectives.images import Images
from fastgrad.two_layer_net import TwoLayerNet

Data = tuple[tuple[Array, Array], tuple[Array, Array]]


_logger = logging.getLogger(__name__)


@dataclass
class History:
    """What a training run recorded.

    Attributes
    ----------
    loss : list of float
        One a step: the loss of the step's batch after the update.
    gradient_seconds : list of float
        One a step: how long the gradient took.
    evaluated : list of int
        The steps after which the accuracies were taken.
    train_accuracy, test_accuracy : list of float
        One an evaluation, from 0 to 1.
    seconds : list of float
        One an evaluation: seconds since training began.
    """

    loss: list[float] = field(default_factory=list)
    gradient_seconds: list[float] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line a step, in full precision; accuracies stay empty between evaluations.

        The columns are iteration, train_loss, train_acc, test_acc, seconds.
        """
        evaluations = dict(
            zip(
                self.evaluated,
                zip(self.train_accuracy, self.test_accuracy, self.seconds, strict=True),
                strict=True,
            )
        )
        with replacing(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["iteration", "train_loss", "train_acc", "test_acc", "seconds"])
            for step, loss in enumerate(self.loss):
                writer.writerow([step, loss, *evaluations.get(step, ("", "", ""))])


class DivergedError(ArithmeticError):
    """The parameters have become so large that no gradient helps any more.

    Attributes
    ----------
    history : History
        What was recorded until then.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def train(
    net: TwoLayerNet,
    data: Data,
    *,
    iterations: int = 100,
    batch_size: int = 100,
    learning_rate: float = 1.0,
    method: str = "incremental",
    h: float = 1e-4,
    workers: int | None = None,
    backend: str | None = None,
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
    net : TwoLayerNet
        Trained in place.
    data : ((x_train, t_train), (x_test, t_test))
        As `fastgrad.load_mnist` returns it. It must not change while training goes on: what the
        accuracies need of it is made once, and takes about a quarter of float32 images' memory.
    iterations, batch_size : int
        Number of steps, and of samples in each.
    learning_rate : float
        Above 0.
    method : {"incremental", "full", "naive", "backprop"}
        How the gradient is taken, see `TwoLayerNet.numerical_gradient`; "backprop" is
        `TwoLayerNet.gradient`.
    h, workers, backend
        See `TwoLayerNet.numerical_gradient`.
    eval_every : int, default 1
        The accuracies on all of the data are taken after steps 0, `eval_every`,
        ``2 * eval_every`` ... and after the last.
    rng : numpy.random.Generator, optional
        Where batches are drawn from; without it NumPy's global generator, by the book's
        ``np.random.choice``.
    on_evaluation : callable, optional
        Called with the history after each evaluation.
    progress : bool, default False
        Show a bar with the time left, on a terminal only.
    checkpoints : fastgrad.checkpoints.Checkpoints, optional
        Where and how often to write down all that is needed to go on. Without it, not at all.
    resume : fastgrad.checkpoints.Checkpoint, optional
        Go on from there, to the same bits that the run would have ended with: `net` and the
        generator are set to what they were. `iterations` counts all steps, those done as well, and
        may be more than it was; so may `workers` and `backend` be others. All else must be as it
        was, also whether there is an `rng`, and of which kind.
    stop : callable, optional
        Asked after each step. When it says True, training ends after a last checkpoint and
        without the accuracies of that step, so that the history is shorter than `iterations`.
        See `fastgrad.stopping.Stop`.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; nothing has been changed then.
    BlockingIOError
        If another process writes checkpoints in the same folder.
    DivergedError
        If the loss is not finite after a step, or a parameter so large that the step `h` is lost
        beside it. It carries the history.

    Warns
    -----
    RuntimeWarning
        If a checkpoint cannot be written (a full disk); training goes on.

    Examples
    --------
    >>> import fastgrad
    >>> np.random.seed(0)
    >>> history = train(fastgrad.TwoLayerNet(784, 10, 10), fastgrad.load_mnist(), iterations=20)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    _check(iterations=iterations, batch_size=batch_size, eval_every=eval_every)
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be finite and above 0, got {learning_rate!r}")
    gradient, loss = by_method(net, method, h, workers, backend)
    config = {
        **(checkpoints.about if checkpoints else {}),
        "iterations": int(iterations),
        "batch_size": int(batch_size),
        "learning_rate": float(learning_rate),
        "method": method,
        "h": float(h),
        "eval_every": int(eval_every),
        "data": _resuming.digest(data) if checkpoints or resume else "",
    }
    images = [(Images(x), t) for x, t in data]
    run = _Run(net, images, gradient, loss, rng, config, workers, checkpoints, on_evaluation)
    if resume is not None:
        run.accept(resume)
    done = len(run.history.loss)
    with (
        checkpoints.opened(resume) if checkpoints else nullcontext(),
        _blas.one_thread(),
        tqdm(
            total=iterations, initial=done, unit="step", disable=None if progress else True
        ) as bar,
    ):
        if resume is not None:
            run.restore(resume)
        run.evaluate()  # a checkpoint is written before the accuracies of its step
        for step in range(done, iterations):
            run.step()
            bar.update()
            stopped = stop is not None and stop()
            if stopped or step == iterations - 1 or (checkpoints and checkpoints.due(step + 1)):
                run.save()
            if stopped:
                break
            run.evaluate()
    return run.history


@dataclass
class _Run:
    """What one run works on; `config` is what a resumed run must have in common with it."""

    net: TwoLayerNet
    data: list[tuple[Images, Array]]
    gradient: Callable[[Array, Array], dict[str, Array]]
    loss: Callable[[Array, Array], float]
    rng: np.random.Generator | None
    config: dict[str, Any]
    workers: int | None
    checkpoints: Checkpoints | None
    on_evaluation: Callable[[History], None] | None
    history: History = field(default_factory=History)
    start: float = field(default_factory=time.perf_counter)

    def accept(self, resume: Checkpoint) -> None:
        """Check everything, and take the history over."""
        _resuming.check(resume, self.net.params, self.rng, self.config)
        names = [column.name for column in fields(History)]
        self.history = History(**_resuming.columns(resume, names))

    def restore(self, resume: Checkpoint) -> None:
        """Set what is to go on."""
        _resuming.restore(resume, self.net.params, self.rng)
        self.start -= resume.seconds
        _logger.info("went on after %d iterations, from %s", resume.iteration, resume.path)

    def step(self) -> None:
        """Draw a batch, take its gradient, move the parameters."""
        choice = np.random.choice if self.rng is None else self.rng.choice
        batch = choice(len(self.data[0][0]), self.config["batch_size"])
        x, t = (array[batch] for array in self.data[0])
        begin = time.perf_counter()
        try:
            grads = self.gradient(x, t)
        except ValueError as error:
            if self.history.loss and self._too_large():
                raise self._diverged(str(error)) from error
            raise
        self.history.gradient_seconds.append(time.perf_counter() - begin)
        for name, grad in grads.items():
            self.net.params[name] -= self.config["learning_rate"] * grad
        self.history.loss.append(self.loss(x, t))
        if not math.isfinite(self.history.loss[-1]):
            raise self._diverged(f"the loss is {self.history.loss[-1]}")

    def evaluate(self) -> None:
        """Take the accuracies if they are due after the last step."""
        history, step = self.history, len(self.history.loss) - 1
        due = step % self.config["eval_every"] == 0 or step == self.config["iterations"] - 1
        if step < 0 or not due:
            return
        shares = [self.net.accuracy(x, t, workers=self.workers) for x, t in self.data]
        history.evaluated.append(step)
        history.train_accuracy.append(shares[0])
        history.test_accuracy.append(shares[1])
        history.seconds.append(time.perf_counter() - self.start)
        if self.on_evaluation is not None:
            self.on_evaluation(history)

    def save(self) -> None:
        """Write a checkpoint, if there is a place for it."""
        if self.checkpoints is None:
            return
        if self._too_large():
            raise self._diverged("a parameter is too large")
        self.checkpoints.save(
            Checkpoint(
                iteration=len(self.history.loss),
                params=self.net.params,
                history={
                    name: np.array(column, int if name == "evaluated" else float)
                    for name, column in vars(self.history).items()
                },
                generator=_generators.state(self.rng),
                config=self.config,
                seconds=time.perf_counter() - self.start,
            )
        )

    def _too_large(self) -> bool:
        """Tell whether a step is lost beside the largest parameter, or that is not finite."""
        h = math.inf if self.config["method"] == "backprop" else self.config["h"]
        # By their sum, so that NaN counts whichever array it is in.
        largest = sum(float(np.abs(array).max()) for array in self.net.params.values())
        return not largest + h > largest

    def _diverged(self, what: str) -> DivergedError:
        last = self.checkpoints.last if self.checkpoints else None
        return DivergedError(
            f"training has diverged in iteration {len(self.history.loss) - 1}: {what}; most likely "
            f"the learning rate, {self.config['learning_rate']}, is too high; the last good "
            f"checkpoint is {last or 'none'}",
            self.history,
        )


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {count!r}")
