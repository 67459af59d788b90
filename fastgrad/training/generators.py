"""The state of the generator of batches: a NumPy Generator, or NumPy's global one."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

Source = np.random.Generator | np.random.RandomState | None
"""None is NumPy's global generator."""


def state(rng: Source) -> dict[str, Any]:
    """Return the state in plain numbers."""
    if isinstance(rng, np.random.Generator):
        now = rng.bit_generator.state
    else:
        now = (rng or np.random).get_state(legacy=False)
    plain: dict[str, Any] = json.loads(json.dumps(now, default=lambda array: array.tolist()))
    return plain


def restore(rng: Source, saved: dict[str, Any]) -> None:
    """Go on from a state that `check` has passed."""
    if isinstance(rng, np.random.Generator):
        rng.bit_generator.state = saved
    else:
        (rng or np.random).set_state(saved)


def check(rng: np.random.Generator | None, saved: dict[str, Any]) -> None:
    """Raise ValueError if a state is of another kind of generator, or damaged; change nothing."""
    now = state(rng)
    kinds = saved.get("bit_generator"), now["bit_generator"]
    # The global generator knows one field more, of normal numbers drawn in advance.
    if kinds[0] != kinds[1] or ("gauss" in saved) != ("gauss" in now):
        whose = "NumPy's global one" if "gauss" in saved else "an rng"
        raise ValueError(
            f"the batches must be drawn as they were, by {whose} ({kinds[0]!r}), got "
            f"{'none' if rng is None else repr(rng)}"
        )
    other = np.random.RandomState() if rng is None else copy.deepcopy(rng)
    try:
        restore(other, saved)
        # NumPy takes any position, and reads foreign memory there.
        inside = 0 <= saved["state"].get("pos", 0) <= 624 and 0 <= saved.get("buffer_pos", 0) <= 4
        fits = inside and state(other) == saved
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"the state of the generator is not one of {kinds[1]}")
