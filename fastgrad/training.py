"""The book's training loop."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from fastgrad import _blas, executors
from fastgrad._files import replacing
from fastgrad._typing import Array
from fastgrad.two_layer_net import METHODS, TwoLayerNet

Data = tuple[tuple[Array, Array], tuple[Array, Array]]


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
) -> History:
    """Train by stochastic gradient descent, as in *Deep Learning from Scratch*, section 4.5.

    Each step draws a batch with replacement, takes its gradient, and moves every parameter by
    ``-learning_rate * gradient``.

    Parameters
    ----------
    net : TwoLayerNet
        Trained in place.
    data : ((x_train, t_train), (x_test, t_test))
        As `fastgrad.load_mnist` returns it.
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

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; nothing has been changed then.

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
    gradient = _gradient(net, method, h, workers, backend)
    (x_train, t_train), (x_test, t_test) = data
    choice = np.random.choice if rng is None else rng.choice
    history = History()
    start = time.perf_counter()
    shown = None if progress else True
    with _blas.one_thread(), tqdm(total=iterations, unit="step", disable=shown) as bar:
        for step in range(iterations):
            batch = choice(len(x_train), batch_size)
            x, t = x_train[batch], t_train[batch]
            begin = time.perf_counter()
            grads = gradient(x, t)
            history.gradient_seconds.append(time.perf_counter() - begin)
            for name, grad in grads.items():
                net.params[name] -= learning_rate * grad
            history.loss.append(net.loss(x, t))
            if step % eval_every == 0 or step == iterations - 1:
                history.evaluated.append(step)
                history.train_accuracy.append(net.accuracy(x_train, t_train, workers=workers))
                history.test_accuracy.append(net.accuracy(x_test, t_test, workers=workers))
                history.seconds.append(time.perf_counter() - start)
                if on_evaluation is not None:
                    on_evaluation(history)
            bar.update()
    return history


def _gradient(
    net: TwoLayerNet, method: str, h: float, workers: int | None, backend: str | None
) -> Callable[[Array, Array], dict[str, Array]]:
    """Return the function of a batch that takes the gradient by `method`."""
    if method == "backprop":
        return net.gradient
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, backprop, got {method!r}")
    executors.choose(workers, backend)
    return lambda x, t: net.numerical_gradient(
        x, t, h=h, workers=workers, backend=backend, method=method
    )


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {count!r}")
