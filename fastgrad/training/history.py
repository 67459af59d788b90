"""The record of a training run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from fastgrad._files import replacing


@dataclass
class History:
    """The record of a training run.

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
        columns = (self.evaluated, self.train_accuracy, self.test_accuracy, self.seconds)
        evaluations = {step: row for step, *row in zip(*columns, strict=True)}
        with replacing(path, "w") as file:
            print("iteration,train_loss,train_acc,test_acc,seconds", file=file)
            for step, loss in enumerate(self.loss):
                print(step, loss, *evaluations.get(step, ["", "", ""]), sep=",", file=file)


class DivergedError(ArithmeticError):
    """The parameters are so large that no gradient helps any more; `history` is the record."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history
