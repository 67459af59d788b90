"""Checks that a checkpoint belongs to this run; nothing is changed before all of them pass."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.training import generators
from fastgrad.training.arguments import Data
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.history import History

FREE = ("iterations", "every", "minutes")
"""Settings that may differ when a run is resumed."""

EACH_STEP = ("loss", "gradient_seconds")


def digest(data: Data) -> str:
    """Return the SHA-256 of the data's bytes, shapes and types."""
    sha256 = hashlib.sha256()
    for array in (*data[0], *data[1]):
        sha256.update(f"{array.dtype.str} {array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def check(
    saved: Checkpoint,
    params: dict[str, Array],
    rng: np.random.Generator | None,
    config: dict[str, Any],
) -> None:
    """Refuse a checkpoint of another run, or of one that is longer than this is to be."""
    for name in {**saved.config, **config}:
        was, now = saved.config.get(name), config.get(name)
        if name not in FREE and was != now:
            raise ValueError(
                f"{name} must be what it was when the run began: {saved.path} says {was!r}, "
                f"got {now!r}"
            )
    if config["iterations"] < saved.iteration:
        raise ValueError(
            f"iterations must be at least {saved.iteration}, which are done in {saved.path}, "
            f"got {config['iterations']}"
        )
    shapes = [
        {name: (array.dtype.str, array.shape) for name, array in sorted(arrays.items())}
        for arrays in (saved.params, params)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the parameters must be those of {saved.path}, {shapes[0]}, got {shapes[1]}"
        )
    generators.check(rng, saved.generator)


def restore(saved: Checkpoint, params: dict[str, Array], rng: np.random.Generator | None) -> None:
    """Set the parameters and the generator to the saved state."""
    for name, array in saved.params.items():
        params[name][...] = array
    generators.restore(rng, saved.generator)


def history(saved: Checkpoint) -> History:
    """Return the history of a checkpoint, or raise ValueError if its columns do not fit.

    Those of `EACH_STEP` have an entry a step, the others one for each step in "evaluated".
    """
    at = saved.history.get("evaluated", np.zeros(0))
    wanted = {
        name: ("f", (saved.iteration,) if name in EACH_STEP else at.shape)
        for name in vars(History())
    }
    wanted["evaluated"] = "i", at.shape
    fits = {name: (a.dtype.kind, a.shape) for name, a in saved.history.items()} == wanted
    # Steps that are done, each later than the one before it.
    done = sorted(set(range(saved.iteration)).intersection(at.ravel().tolist()))
    if not fits or at.tolist() != done:
        raise ValueError(
            f"{saved.path} is damaged: its history is not one of {saved.iteration} steps"
        )
    return History(**{name: column.tolist() for name, column in saved.history.items()})
