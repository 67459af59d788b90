"""One training run: its steps, its accuracies, its checkpoints."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from fastgrad._parallel import blas
from fastgrad.training import resume
from fastgrad.training.arguments import Data, check_gradient
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.checkpoints import Checkpoints
from fastgrad.training.history import DivergedError, History

_logger = logging.getLogger(__name__)


@dataclass
class Run:
    """A training run; a run that goes on from its checkpoint must have the same `config`."""

    net: Any
    data: Data
    config: dict[str, Any]
    rng: np.random.Generator | None
    workers: int | None
    checkpoints: Checkpoints | None
    on_evaluation: Callable[[History], None] | None
    history: History = field(default_factory=History)
    start: float = field(default_factory=time.perf_counter)

    def go(self, saved: Checkpoint | None, stop: Callable[[], bool], progress: bool) -> History:
        """Take the steps that are left, from a checkpoint or from the beginning.

        After an error before the first step is done, parameters and generator are as before.
        """
        if self.checkpoints or saved:
            self.config["data"] = resume.digest(self.data)
        if saved:
            resume.check(saved, self.net.params, self.rng, self.config)
            self.history = resume.history(saved)
        done, total, before = len(self.history.loss), self.config["iterations"], self.checkpoint()
        hidden = None if progress else True  # None: shown at a terminal
        try:
            with (
                self.checkpoints.opened(saved) if self.checkpoints else contextlib.nullcontext(),
                blas.one_thread(),
                tqdm(total=total, initial=done, unit="step", disable=hidden) as bar,
            ):
                if saved:
                    resume.restore(saved, self.net.params, self.rng)
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
                resume.restore(before, self.net.params, self.rng)
            raise
        return self.history

    def step(self) -> None:
        """Draw a batch, take its gradient, move the parameters."""
        choice = np.random.choice if self.rng is None else self.rng.choice
        batch = choice(len(self.data[0][0]), self.config["batch_size"])
        x, t = (array[batch] for array in self.data[0])
        begin = time.perf_counter()
        if self.config["method"] == "backprop":
            grads = self.net.gradient(x, t)
        else:
            method, h = self.config["method"], self.config["h"]
            grads = self.net.numerical_gradient(x, t, h=h, workers=self.workers, method=method)
        self.history.gradient_seconds.append(time.perf_counter() - begin)
        check_gradient(grads, self.net.params)
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
        last = self.checkpoints.last if self.checkpoints else None
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
            generator=resume.generator(self.rng),
            config=self.config,
            seconds=time.perf_counter() - self.start,
        )
