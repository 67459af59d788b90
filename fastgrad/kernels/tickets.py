"""How threads share the work of one kernel: who is free takes the next item.

All of them call the same kernel with the same arguments, and with `tickets`, zeros, of which each
stage of the work has `ROOM`: how many of its items have been taken, and how many are done. What an
item is computed from is the same whoever takes it, so its bits are too.

A kernel that has waited long for others returns False; who called it calls it again, with the same
tickets, and it goes on where it was.

To hand work to a thread through Python takes some thirty microseconds of one core; this takes less
than one, so that items may be small, and a slow core does fewer of them.
"""

from __future__ import annotations

import threading

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from fastgrad._jit import inner
from fastgrad._typing import Integers
from fastgrad.kernels.registers import INT64, arrays

ROOM = 16
"""Numbers of a stage: two cache lines, since cores write to both."""

_DONE = ROOM // 2

FIRST = np.int64(0)
"""The first stage; numba compiles a function once more for the literal 0."""

SPINS = 2**19
"""How often to look whether others are done: about a millisecond, longer than items take."""

_lock = threading.Lock()
"""For Python; compiled code adds in one step."""


def stages(count: int) -> Integers:
    """Return the tickets of so many stages."""
    return np.zeros(ROOM * count, np.int64)


@inner
def take(tickets, stage):
    """Return the first item of a stage that nobody has taken, counted from 0 and without end."""
    return add_one(tickets, stage * ROOM)


@inner
def finish(tickets, stage):
    """Tell that an item of a stage is done, and what it has written is to be read."""
    add_one(tickets, stage * ROOM + _DONE)


@inner
def wait(tickets, stage, items):
    """Tell whether so many items of a stage are done, which others have to be at, before long.

    Where they have no core to be at it on, who waits has to leave it to them.
    """
    for _ in range(SPINS):  # noqa: SIM110, compiled
        if current(tickets, stage * ROOM + _DONE) >= items:
            return True
    return False


def add_one(numbers, k):
    """Add 1 to an entry, whatever other threads do to it; return what it was."""
    with _lock:
        numbers[k] += 1
        return numbers[k] - 1


def current(numbers, k):
    """Return an entry, to which other threads may write."""
    return numbers[k]


@overload(add_one)
def _compiled_add_one(numbers, k):
    return lambda numbers, k: _add_one(numbers, k)


@overload(current)
def _compiled_current(numbers, k):
    return lambda numbers, k: _current(numbers, k)


@intrinsic
def _add_one(_, numbers, k):
    def emit(context, builder, signature, arguments):
        return builder.atomic_rmw(
            "add", _entry(context, builder, signature, arguments), INT64(1), "acq_rel"
        )

    return types.int64(numbers, k), emit


@intrinsic
def _current(_, numbers, k):
    def emit(context, builder, signature, arguments):
        return builder.load_atomic(
            _entry(context, builder, signature, arguments), "acquire", INT64.width // 8
        )

    return types.int64(numbers, k), emit


def _entry(context, builder, signature, arguments):
    """Return a pointer to the entry that the arguments of an intrinsic name."""
    (array,) = arrays(context, builder, signature, arguments, 0)
    return builder.gep(array.data, [arguments[1]])
