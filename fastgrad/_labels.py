"""Labels of pandas objects. pandas is not imported: it is there where x is one of its objects."""

from __future__ import annotations

import sys
from typing import Any

from fastgrad._typing import Array


def is_labelled(x: Any) -> bool:
    """Tell whether `x` is a Series or a DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.Series | pandas.DataFrame)


def with_labels(array: Array, axes: list[Any], name: Any = None) -> Any:
    """Return an array as a Series or a DataFrame with these labels; with more axes as it is."""
    pandas = sys.modules["pandas"]
    if array.ndim == 1:
        return pandas.Series(array, axes[0], name=name)
    return pandas.DataFrame(array, *axes) if array.ndim == 2 else array


def place(x: Any, index: tuple[int, ...]) -> str:
    """Return how the caller would write one number of `x` behind its name."""
    labels = [axis[[k]].tolist()[0] for axis, k in zip(x.axes, index, strict=True)]
    return f"{'.loc' if x.ndim == 2 else ''}[{', '.join(map(repr, labels))}]"


def check_labels(value: Any, x: Any, argument: str) -> None:
    """Refuse labels that are not those of `x`: nothing is reordered by them."""
    if not (is_labelled(value) and is_labelled(x)) or value.ndim != x.ndim:
        return
    for own, other in zip(x.axes, value.axes, strict=True):
        if not own.equals(other):
            raise ValueError(
                f"{argument} must have the labels of x in their order, {own.tolist()}; got "
                f"{other.tolist()}; pass {argument}.reindex_like(x), or .to_numpy() of it"
            )
