"""The work on a network's gradient as calls to the kernels that threads make together.

A call shares its work by itself, see `fastgrad.kernels.tickets`. All threads make all of them, one
after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from fastgrad._scratch import Memory
from fastgrad._typing import Floats
from fastgrad.kernels.curves import LAST, both_layers_kernel
from fastgrad.kernels.panels import ROWS, WIDTH
from fastgrad.kernels.samples import samples_kernel
from fastgrad.kernels.tickets import stages
from fastgrad.objectives.incremental import Samples
from fastgrad.objectives.network import check_moves
from fastgrad.partition import partition

TOGETHER = 512
"""Samples of a call, at most: what the first kernel writes is mostly in the caches for the next."""

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
    memory : Memory
        For what is not kept after the calls.
    """

    def __init__(self, samples: Samples, threads: int, memory: Memory) -> None:
        self._samples, self._memory = samples, memory
        self._panels = panels = -(-samples.rows.hidden // WIDTH)
        # Into how many pieces to cut each panel, which costs a little.
        self._pieces = pieces = 1 if threads == 1 else -(-ITEMS * threads // panels)
        self._sizes = np.zeros((panels * pieces, WIDTH))
        count = max(-(-len(samples.t) // TOGETHER), math.ceil(samples.seconds / CALL_SECONDS))
        self._parts = partition(range(len(samples.t)), count)
        self._a = self._rows("pre-activations", panels * WIDTH)

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

        Some samples pass both kernels before the next do: what is kept for each of them takes no
        more memory the more there are.

        Parameters
        ----------
        gradient : ndarray of float64, shape (samples.rows.size,)
        """
        layers = self._samples.rows.layers(gradient)
        calls = []
        for part, to_state, rows in self.parts():
            calls += [to_state, *self._to_layers(part, rows, *layers)]
        return calls

    def parts(self) -> list[tuple[range, Call, Floats]]:
        """Return the samples of each part, the call that writes their rows, and the rows.

        The rows of the next part stand where those of the last do.
        """
        state = self._rows("state", self._samples.width)
        parts = []
        for part in self._parts:
            rows = state[: len(part)]
            parts.append((part, self._to_state(part, rows), rows))
        return parts

    def check_moves(self) -> None:
        """Raise, after the calls, if a parameter in the first layer does not move by the step."""
        check_moves(self._samples.h, self._sizes)

    def _rows(self, name: str, width: int) -> Floats:
        """Return memory for a row of each sample of a part."""
        most = -(-len(self._samples.t) // len(self._parts))
        return self._memory.vector(name, most * width).reshape(most, width)

    def _to_state(self, part: range, rows: Floats) -> Call:
        """Return the call that writes the rows of some samples."""
        samples = self._samples
        tickets = stages(1 + -(-(samples.rows.inputs + 1) // ROWS))
        inputs, labels = samples.inputs.part(part), samples.t[part.start : part.stop]
        given = *inputs, *samples.layers, samples.V, labels, samples.reach
        return partial(samples_kernel, tickets, *given, self._a[: len(part)], self._sizes, rows)

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
