"""One training run: its steps, its accuracies, its checkpoints."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from fastgrad._parallel import blas
from fastgrad._typing import Array
from fastgrad.training import generators, resume
from fastgrad.training.arguments import Data, Trainable, check_gradient
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.checkpoints import Checkpoints
from fastgrad.training.history import DivergedError, History

_logger = logging.getLogger(__name__)


@dataclass
class Run:
    """A training run; a run that goes on from its checkpoint must have the same `config`."""

    net: Trainable
    data: Data
    config: dict[str, Any]
    rng: np.random.Generator | None
    workers: int | None
    checkpoints: Checkpoints | None
    on_evaluation: Callable[[History], None] | None
    history: History = field(default_factory=History)
    start: float = field(default_factory=time.perf_counter)

    def go(self, saved: Checkpoint | None, stop: Callable[[], bool], progress: bool) -> History:
        """Take the steps that are left, from a checkpoint or from the beginning."""
        if self.checkpoints or saved:
            self.config["data"] = resume.digest(self.data)
        if self.checkpoints:
            self.config = {**self.checkpoints.settings(), **self.config}
        if saved:
            self.accept(saved)
        done, total = len(self.history.loss), self.config["iterations"]
        disable = None if progress else True  # None: where there is no terminal
        with (
            self.checkpoints.opened(saved) if self.checkpoints else contextlib.nullcontext(),
            blas.one_thread(),
            tqdm(total=total, initial=done, unit="step", disable=disable) as bar,
            self.undone_unless_begun(),
        ):
            if saved:
                self.restore(saved)
            self.evaluate()  # a checkpoint is written before the accuracies of its step
            for step in range(done, total):
                self.step()
                bar.update()
                stopped = stop()
                if stopped or step == total - 1 or self._due():
                    self.save()
                if stopped:
                    break
                self.evaluate()
        return self.history

    def accept(self, saved: Checkpoint) -> None:
        """Check that `saved` belongs to this run, and take its history over."""
        resume.check(saved, self.net.params, self.rng, self.config)
        self.history = resume.history(saved)

    def restore(self, saved: Checkpoint) -> None:
        """Set the parameters, the generator and the clock to those of a checkpoint."""
        resume.restore(saved, self.net.params, self.rng)
        self.start -= saved.seconds
        _logger.info("went on after %d iterations, from %s", saved.iteration, saved.path)

    @contextlib.contextmanager
    def undone_unless_begun(self) -> Iterator[None]:
        """Put parameters and generator back after an error before the first step was done."""
        done, before = len(self.history.loss), self.checkpoint()
        try:
            yield
        except Exception:
            if len(self.history.loss) == done:
                resume.restore(before, self.net.params, self.rng)
            raise

    def step(self) -> None:
        """Draw a batch, take its gradient, move the parameters."""
        choice = np.random.choice if self.rng is None else self.rng.choice
        batch = choice(len(self.data[0][0]), self.config["batch_size"])
        x, t = (array[batch] for array in self.data[0])
        begin = time.perf_counter()
        grads = self._gradient(x, t)
        self.history.gradient_seconds.append(time.perf_counter() - begin)
        for name, grad in grads.items():
            self.net.params[name] -= self.config["learning_rate"] * grad
        self.history.loss.append(float(self.net.loss(x, t)))
        if not math.isfinite(self.history.loss[-1]):
            raise self._diverged(f"the loss is {self.history.loss[-1]}")

    def _gradient(self, x: Array, t: Array) -> dict[str, Array]:
        method, h = self.config["method"], self.config["h"]
        try:
            if method == "backprop":
                grads = self.net.gradient(x, t)
            else:
                grads = self.net.numerical_gradient(x, t, h=h, workers=self.workers, method=method)
        except ValueError as error:
            if self.history.loss and self._too_large():
                raise self._diverged(str(error)) from error
            raise
        check_gradient(grads, self.net.params)
        return grads

    def evaluate(self) -> None:
        """Take the accuracies if they are due after the last step."""
        history, step = self.history, len(self.history.loss) - 1
        due = step % self.config["eval_every"] == 0 or step == self.config["iterations"] - 1
        if step < 0 or not due:
            return
        train, test = (self.net.accuracy(x, t, workers=self.workers) for x, t in self.data)
        history.evaluated.append(step)
        history.train_accuracy.append(train)
        history.test_accuracy.append(test)
        history.seconds.append(time.perf_counter() - self.start)
        if self.on_evaluation is not None:
            self.on_evaluation(history)

    def _due(self) -> bool:
        return self.checkpoints is not None and self.checkpoints.due(len(self.history.loss))

    def save(self) -> None:
        """Write a checkpoint, if there is a place for it."""
        if self.checkpoints is None:
            return
        if self._too_large():
            raise self._diverged("a parameter is too large")
        self.checkpoints.save(self.checkpoint())

    def checkpoint(self) -> Checkpoint:
        """Return the state of the run, in arrays of its own."""
        return Checkpoint(
            iteration=len(self.history.loss),
            params={name: array.copy() for name, array in self.net.params.items()},
            history={
                name: np.array(column, int if name == "evaluated" else float)
                for name, column in vars(self.history).items()
            },
            generator=generators.state(self.rng),
            config=self.config,
            seconds=time.perf_counter() - self.start,
        )

    def _too_large(self) -> bool:
        """Return whether a step is lost beside the largest parameter, or that is not finite."""
        h = math.inf if self.config["method"] == "backprop" else self.config["h"]
        # By their sum, so that NaN counts whichever array it is in.
        largest = sum(float(np.abs(array).max(initial=0)) for array in self.net.params.values())
        return not largest + h > largest

    def _diverged(self, what: str) -> DivergedError:
        last = self.checkpoints.last if self.checkpoints else None
        return DivergedError(
            f"training has diverged in iteration {len(self.history.loss) - 1}: {what}; most likely "
            f"the learning rate, {self.config['learning_rate']}, is too high; the last good "
            f"checkpoint is {last or 'none'}",
            self.history,
        )
