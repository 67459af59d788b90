"""What must agree before a checkpoint is gone on with; until all of it does, nothing is changed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fastgrad import _generators
from fastgrad._typing import Array
from fastgrad.checkpoints import Checkpoint

FREE = ("iterations",)
"""What may be another when a run is resumed."""

EACH_STEP = ("loss", "gradient_seconds")


def digest(data: tuple[tuple[Array, Array], tuple[Array, Array]]) -> str:
    """Return the SHA-256 of the data's bytes, shapes and types."""
    sha256 = hashlib.sha256()
    for array in (*data[0], *data[1]):
        array = np.asarray(array)
        sha256.update(f"{array.dtype.str} {array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def check(
    saved: Checkpoint,
    params: dict[str, Array],
    rng: np.random.Generator | None,
    config: dict[str, Any],
) -> None:
    """Refuse a checkpoint that this run cannot go on from.

    Raises
    ------
    ValueError
        If the run is another, or would be shorter than what is done.
    """
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
    was, now = _shapes(saved.params), _shapes(params)
    if was != now:
        raise ValueError(f"the parameters must be those of {saved.path}, {was}, got {now}")
    _generators.check(rng, saved.generator)


def restore(saved: Checkpoint, params: dict[str, Array], rng: np.random.Generator | None) -> None:
    """Set the parameters and the generator to what they were."""
    for name, array in saved.params.items():
        params[name][...] = array
    _generators.restore(rng, saved.generator)


def columns(saved: Checkpoint, names: list[str]) -> dict[str, list[Any]]:
    """Return the columns of the history.

    Raises
    ------
    ValueError
        If they do not fit together: those of `EACH_STEP` have an entry a step, the others one for
        each step in "evaluated".
    """
    table = saved.history
    if table.keys() != set(names) or any(column.ndim != 1 for column in table.values()):
        raise ValueError(f"{saved.path} is damaged: its history must have the columns {names}")
    evaluated = table["evaluated"]
    for name, column in table.items():
        length = saved.iteration if name in EACH_STEP else len(evaluated)
        kind = "i" if name == "evaluated" else "f"
        if len(column) != length or column.dtype.kind != kind:
            raise ValueError(f"{saved.path} is damaged: {name} must have {length} numbers")
    inside = (evaluated >= 0) & (evaluated < saved.iteration)
    if not inside.all() or (np.diff(evaluated) <= 0).any():
        raise ValueError(f"{saved.path} is damaged: evaluated must be steps that are done")
    return {name: column.tolist() for name, column in table.items()}


def _shapes(params: dict[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype.str, array.shape) for name, array in sorted(params.items())}
