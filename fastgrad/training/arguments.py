"""Checks of the arguments of `train`, made before anything is changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any, Protocol

import numpy as np

from fastgrad._typing import Array
from fastgrad.functions import class_numbers

Data = tuple[tuple[Array, Array], tuple[Array, Array]]
METHODS = ("incremental", "full", "naive", "backprop")
NEEDED = ("params", "predict", "loss", "accuracy", "gradient", "numerical_gradient")


class Trainable(Protocol):
    """What `train` asks of a network: the methods of `fastgrad.TwoLayerNet` of these names."""

    params: dict[str, Array]

    def predict(self, x: Array, /) -> Array: ...  # noqa: D102
    def loss(self, x: Array, t: Array, /) -> float: ...  # noqa: D102
    def accuracy(self, x: Array, t: Array, /, *, workers: int | None) -> float: ...  # noqa: D102
    def gradient(self, x: Array, t: Array, /) -> dict[str, Array]: ...  # noqa: D102
    def numerical_gradient(  # noqa: D102
        self, x: Array, t: Array, /, *, h: float, workers: int | None, method: str
    ) -> dict[str, Array]: ...


def count(name: str, value: Any) -> int:
    """Return a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {brief(value)}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number above 0, got {brief(value)}")
    if not 0 < value <= sys.float_info.max:  # type: ignore[operator]
        raise ValueError(f"{name} must be finite and above 0, got {brief(value)}")
    return float(value)


def check_kind(name: str, value: Any, kind: Any, advice: str) -> None:
    """Refuse an optional argument of another class."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__} or None, got {brief(value)}: pass {advice}"
        )


def arrays(data: Any) -> Data:
    """Return the data as arrays: real, finite, not empty, train and test samples alike."""
    try:
        (x_train, t_train), (x_test, t_test) = data
    except (TypeError, ValueError):
        raise ValueError(
            "data must be ((x_train, t_train), (x_test, t_test)), as fastgrad.load_mnist returns "
            f"it, got {brief(data)}"
        ) from None
    train = _samples("x_train", x_train), _array("t_train", t_train)
    test = _samples("x_test", x_test), _array("t_test", t_test)
    shapes = train[0].shape[1:], test[0].shape[1:]
    if shapes[0] != shapes[1]:
        raise ValueError(f"x_train and x_test must hold samples of one shape, got {shapes}")
    return train, test


def check_network(net: Any, data: Data) -> None:
    """Refuse a network that cannot be trained on the data; one sample is predicted for that."""
    missing = [name for name in NEEDED if not hasattr(net, name)]
    if missing:
        raise TypeError(
            f"net must have {', '.join(NEEDED)}, as fastgrad.TwoLayerNet has, got {brief(net)}, "
            f"which lacks {', '.join(missing)}"
        )
    _check_params(net.params)
    try:
        classes = np.shape(net.predict(data[0][0][:1]))[-1]
    except KeyError as error:
        raise ValueError(f"net.params lacks {error}, got {sorted(net.params)}") from error
    except ValueError as error:
        shapes = {name: array.shape for name, array in net.params.items()}
        raise ValueError(
            f"net cannot predict x_train[:1]: {error}; net.params has the shapes {shapes}"
        ) from error
    for name, (x, t) in zip(("t_train", "t_test"), data, strict=True):
        try:
            class_numbers(t, len(x), classes)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} does not fit: {error}") from error


def check_gradient(grads: Mapping[str, Array], params: Mapping[str, Array]) -> None:
    """Refuse a gradient that has other names or shapes than the parameters."""
    got, wanted = ({k: np.shape(v) for k, v in sorted(d.items())} for d in (grads, params))
    if got != wanted:
        raise ValueError(f"the gradient must have the shapes of net.params, {wanted}, got {got}")


def brief(value: Any) -> str:
    """Return a few words for any value, for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _check_params(params: Any) -> None:
    if not isinstance(params, Mapping) or not params:
        raise TypeError(f"net.params must be a dict of arrays, got {brief(params)}")
    for name, array in params.items():
        whose = f"net.params[{name!r}]"
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise TypeError(
                f"{whose} must be an array of floats, got {brief(array)}: pass "
                "numpy.asarray(it, float)"
            )
        if not array.flags.writeable:
            raise ValueError(f"{whose} is read-only and cannot be trained: pass a copy")
        if not np.isfinite(array).all():
            raise ValueError(f"{whose} must be finite, got nan or inf")


def _samples(name: str, value: Any) -> Array:
    x = _array(name, value)
    if x.ndim < 2 or not x.size:
        raise ValueError(f"{name} must hold at least one sample, one a row, got {brief(x)}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got nan or inf")
    return x


def _array(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be one array, got rows of different lengths") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked entries: leave those samples out")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {brief(array)}")
    return array
