"""From parameters to their gradient: cut into blocks, run them, put the pieces in place."""

from __future__ import annotations

import numpy as np

from fastgrad import executors
from fastgrad._typing import Floats
from fastgrad.objectives.base import Objective
from fastgrad.partition import partition

BLOCKS_PER_WORKER = 8
"""Rows of a network differ in cost (empty pixels are free): small blocks even that out."""


def differentiate(objective: Objective, executor: executors.Executor) -> Floats:
    """Return the gradient of `objective` as a flat array of its ``size`` parameters.

    The bits do not depend on the executor, nor on how many workers it has. Where splitting the
    work would cost more than it saves, all of it runs here.
    """
    gradient = np.empty(objective.size)
    if executor.pays(objective.seconds()):
        blocks = partition(objective.items, executor.workers * BLOCKS_PER_WORKER)
        executor.run(objective, blocks, gradient)
    else:
        objective.partials(range(objective.items), gradient)
    return gradient
