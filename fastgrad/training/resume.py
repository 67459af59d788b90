"""What a run goes on from: is it of this run? Nothing is changed before all checks have passed."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import numpy as np

from fastgrad._typing import Array
from fastgrad.training.arguments import Data
from fastgrad.training.checkpoint_file import Checkpoint
from fastgrad.training.history import History

Source = np.random.Generator | np.random.RandomState | None
"""What draws the batches; None is NumPy's global generator."""

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


def check(saved: Checkpoint, params: dict[str, Array], rng: Source, config: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run, or of one that is longer than this is to be."""
    was, now = (
        {**settings, "params": {k: f"{a.dtype} {a.shape}" for k, a in sorted(arrays.items())}}
        for settings, arrays in ((saved.config, saved.params), (config, params))
    )
    for name in {**was, **now}:
        if name not in FREE and was.get(name) != now.get(name):
            raise ValueError(
                f"{name} must be what it was when the run began: {saved.path} says "
                f"{was.get(name)!r}, got {now.get(name)!r}"
            )
    if config["iterations"] < saved.iteration:
        raise ValueError(
            f"iterations must be at least {saved.iteration}, which are done in {saved.path}, "
            f"got {config['iterations']}"
        )
    check_generator(rng, saved.generator)


def restore(saved: Checkpoint, params: dict[str, Array], rng: Source) -> None:
    """Set the parameters and the generator to the saved state."""
    for name, array in saved.params.items():
        params[name][...] = array
    set_generator(rng, saved.generator)


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


def generator(rng: Source) -> dict[str, Any]:
    """Return the state of a generator in plain numbers."""
    if isinstance(rng, np.random.Generator):
        state = rng.bit_generator.state
    else:
        state = (rng or np.random).get_state(legacy=False)
    plain: dict[str, Any] = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    return plain


def set_generator(rng: Source, saved: dict[str, Any]) -> None:
    """Go on from a state that `check_generator` has passed."""
    if isinstance(rng, np.random.Generator):
        rng.bit_generator.state = saved
    else:
        (rng or np.random).set_state(saved)


def check_generator(rng: Source, saved: dict[str, Any]) -> None:
    """Raise ValueError if a state is of another kind of generator, or damaged; change nothing."""
    other = np.random.RandomState() if rng is None else copy.deepcopy(rng)
    try:
        set_generator(other, saved)
        # NumPy takes any position, and reads foreign memory there.
        inside = 0 <= saved["state"].get("pos", 0) <= 624 and 0 <= saved.get("buffer_pos", 0) <= 4
        # Of a state of another kind, or out of range, something else comes back.
        fits = inside and generator(other) == saved
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        fits = False
    if not fits:
        # NumPy's global generator knows one field more, of normal numbers drawn in advance.
        whose = "NumPy's global generator" if "gauss" in saved else "an rng"
        raise ValueError(
            f"the batches must be drawn as they were, by {whose} "
            f"({saved.get('bit_generator')!r}): its state does not fit rng={rng!r}"
        )
