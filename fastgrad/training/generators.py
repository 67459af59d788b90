"""The state of the generator of batches: a NumPy Generator, or NumPy's global one."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np

State = dict[str, Any]

LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "has_gauss": 1}
"""Limits that NumPy does not check: a position beyond the end would read foreign memory."""


def state(rng: np.random.Generator | None) -> State:
    """Return the state, in plain numbers, of `rng`, or of the global generator if it is None."""
    now = np.random.get_state(legacy=False) if rng is None else rng.bit_generator.state
    plain: State = json.loads(json.dumps(now, default=lambda array: array.tolist()))
    return plain


def restore(rng: np.random.Generator | None, saved: State) -> None:
    """Go on from a state that `check` has passed."""
    if rng is None:
        np.random.set_state(saved)
    else:
        rng.bit_generator.state = saved


def check(rng: np.random.Generator | None, saved: State) -> None:
    """Refuse a state that is not one of this generator's, and change nothing.

    Raises
    ------
    ValueError
        If it is of another kind of generator, or damaged.
    """
    now = state(rng)
    kinds = saved.get("bit_generator"), now["bit_generator"]
    # The global generator knows one field more, of normal numbers drawn in advance.
    if kinds[0] != kinds[1] or ("gauss" in saved) != ("gauss" in now):
        whose = "NumPy's global one" if "gauss" in saved else "an rng"
        raise ValueError(
            f"the batches must be drawn as they were, by {whose} ({kinds[0]!r}), got "
            f"{'none' if rng is None else repr(rng)}"
        )
    if not _alike(saved, now):
        raise ValueError(f"the state of the generator is not one of {kinds[1]}")
    try:
        if rng is None:
            np.random.RandomState().set_state(saved)
        else:
            copy.deepcopy(rng.bit_generator).state = saved
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the state of the generator is not one of {kinds[1]}: {error}") from error


def _alike(value: Any, model: Any, name: str = "") -> bool:
    """Tell whether `value` is built like `model`, of numbers that may stand there."""
    if type(value) is not type(model):
        return False
    if isinstance(model, dict):
        return value.keys() == model.keys() and all(_alike(value[k], model[k], k) for k in model)
    if isinstance(model, list):
        return len(value) == len(model) and all(map(_alike, value, model))
    if isinstance(model, int):
        return bool(0 <= value <= LARGEST.get(name, value))
    return not isinstance(model, float) or math.isfinite(value)
