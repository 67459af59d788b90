"""What a run goes on from: checked, then restored, so that nothing is changed by what is wrong."""

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


def kind(net: Any) -> dict[str, Any]:
    """Return what makes a network beside its parameters: its class, and settings it may have."""
    names = "activation", "weight_decay_lambda", "pad", "stride"
    found = {name: getattr(net, name, None) for name in names}
    plain = {name: value for name, value in found.items() if isinstance(value, str | int | float)}
    return {"class": type(net).__name__, **plain}


def check(saved: Checkpoint, params: dict[str, Array], rng: Any, config: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run, or of one that is longer than this is to be."""
    was, now = (
        {**settings, "params": {k: f"{a.dtype} {a.shape}" for k, a in sorted(arrays.items())}}
        for settings, arrays in ((saved.config, saved.params), (config, params))
    )
    check_agrees(saved, was, now)
    if config["iterations"] < saved.iteration:
        raise ValueError(
            f"iterations must be at least {saved.iteration}, which are done in {saved.path}, "
            f"got {config['iterations']}"
        )
    check_generator(rng, saved.generator)


def check_agrees(saved: Checkpoint, was: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse other settings than those of a checkpoint, but for those that are `FREE`."""
    for name in {**was, **now}:
        if name not in FREE and was.get(name) != now.get(name):
            raise ValueError(
                f"{name} must be what it was when the run began: {saved.path} says "
                f"{was.get(name)!r}, got {now.get(name)!r}"
            )


def restore(saved: Checkpoint, params: dict[str, Array], rng: Any) -> None:
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
        name: ("f", (saved.iteration if name in EACH_STEP else at.size,))
        for name in vars(History())
    }
    wanted["evaluated"] = "i", (at.size,)
    fits = {name: (a.dtype.kind, a.shape) for name, a in saved.history.items()} == wanted
    # Steps that are done, each later than the one before it.
    if not fits or (np.diff([-1, *at.tolist(), saved.iteration]) < 1).any():
        raise ValueError(
            f"{saved.path} is damaged: its history is not one of {saved.iteration} steps"
        )
    return History(**{name: column.tolist() for name, column in saved.history.items()})


def generator(rng: Any) -> dict[str, Any]:
    """Return the state of a generator in plain numbers; `numpy.random` is NumPy's global one."""
    own = isinstance(rng, np.random.Generator)
    state = rng.bit_generator.state if own else rng.get_state(legacy=False)
    plain: dict[str, Any] = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    return plain


def set_generator(rng: Any, saved: dict[str, Any]) -> None:
    """Go on from a state that `check_generator` has passed."""
    if isinstance(rng, np.random.Generator):
        rng.bit_generator.state = saved
    else:
        rng.set_state(saved)


def check_generator(rng: Any, saved: dict[str, Any]) -> None:
    """Raise ValueError if a state is of another kind of generator, or damaged; change nothing."""
    own = isinstance(rng, np.random.Generator)
    other = copy.deepcopy(rng) if own else np.random.RandomState()
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
            f"the batches must be drawn as they were, by {whose} ({saved.get('bit_generator')!r}): "
            f"its state does not fit {rng if own else 'numpy.random'}"
        )
