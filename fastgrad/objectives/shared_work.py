"""The work on a network's gradient as calls to the kernels that threads make together.

A call shares its work by itself, see `fastgrad.kernels.tickets`. All threads make all of them, one
after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from fastgrad._scratch import scratch
from fastgrad._typing import Floats
from fastgrad.kernels.curves import LAST, both_layers_kernel
from fastgrad.kernels.panels import ROWS, WIDTH
from fastgrad.kernels.samples import samples_kernel
from fastgrad.kernels.tickets import stages
from fastgrad.objectives.incremental import Samples
from fastgrad.objectives.network import refuse_lost_step
from fastgrad.partition import partition

TOGETHER = 512
"""Samples of a call, at most: what it writes is in the caches when the next reads it."""

CALL_SECONDS = 0.25
"""Longer work is done in several calls: between two of them an interrupt is heard."""

ITEMS = 4
"""Pieces of work for each thread, at least: who is quick then does more of them."""

Call = Callable[[], bool]


class SharedWork:
    """What so many threads have to do for the gradient of a network.

    Parameters
    ----------
    samples : Samples
        The network and the batch.
    threads : int
    """

    def __init__(self, samples: Samples, threads: int) -> None:
        self._samples = samples
        self._panels = panels = -(-samples.rows.hidden // WIDTH)
        # Into how many pieces to cut each of them, which costs a little.
        self._pieces = pieces = 1 if threads == 1 else -(-ITEMS * threads // panels)
        self._sizes = np.zeros((panels * pieces, WIDTH))
        count = max(-(-len(samples.t) // TOGETHER), math.ceil(samples.seconds / CALL_SECONDS))
        self._parts = partition(range(len(samples.t)), count)

    def state_calls(self, state: Floats) -> list[Call]:
        """Return the calls that write what all rows of the network read.

        Parameters
        ----------
        state : ndarray of float64, shape (samples.size,)
        """
        rows = state.reshape(-1, self._samples.width)
        return [self._to_state(part, rows[part.start : part.stop]) for part in self._parts]

    def gradient_calls(self, gradient: Floats) -> list[Call]:
        """Return the calls that write the gradient, if the curves of both layers are exact.

        Some samples pass both kernels before the next do, and in the same memory.

        Parameters
        ----------
        gradient : ndarray of float64, shape (samples.rows.size,)
        """
        most, width = -(-len(self._samples.t) // len(self._parts)), self._samples.width
        state = scratch("state", most * width).reshape(most, width)
        layers = self._samples.rows.layers(gradient)
        calls = []
        for part in self._parts:
            rows = state[: len(part)]
            calls += [self._to_state(part, rows), *self._to_layers(part, rows, *layers)]
        return calls

    def check_moves(self) -> None:
        """Raise, after the calls, if a parameter in the first layer does not move by the step."""
        refuse_lost_step(self._samples.h, self._sizes.item(self._sizes.argmax()))

    def _to_state(self, part: range, rows: Floats) -> Call:
        """Return the call that writes the rows of some samples."""
        samples = self._samples
        room = len(part), self._panels * WIDTH
        a = scratch("pre-activations", room[0] * room[1]).reshape(room)
        tickets = stages(1 + -(-(samples.rows.inputs + 1) // ROWS))
        inputs, labels = samples.inputs.part(part), samples.t[part.start : part.stop]
        given = *inputs, *samples.layers, samples.V, labels, samples.reach
        return partial(samples_kernel, tickets, *given, a, self._sizes, rows)

    def _to_layers(self, part: range, rows: Floats, first: Floats, last: Floats) -> list[Call]:
        """Return the calls that add what these samples give to the gradient."""
        samples = self._samples
        pieces = max(self._pieces, -(-len(first) // ROWS))
        items = range(self._panels * pieces + -(-len(last) // LAST))
        calls = math.ceil(samples.reading_seconds / len(self._parts) / CALL_SECONDS)
        given = *samples.inputs.part(part), rows, samples.inputs.largest
        how = len(samples.t), part.start > 0, pieces
        return [
            partial(both_layers_kernel, stages(1), *given, *how, some.start, some.stop, first, last)
            for some in partition(items, calls)
        ]
