"""Checks of the arguments of `train`, made before anything is changed."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastgrad._arrays import as_numbers, shapes
from fastgrad._typing import Array
from fastgrad.functions import class_numbers

Data = tuple[tuple[Array, Array], tuple[Array, Array]]
METHODS = ("incremental", "full", "naive", "backprop")
NEEDED = ("params", "predict", "loss", "accuracy", "gradient", "numerical_gradient")


def arrays(data: Any) -> Data:
    """Return the data as arrays: real, finite, train and test samples alike."""
    try:
        (x_train, t_train), (x_test, t_test) = data
    except (TypeError, ValueError):
        raise ValueError(
            "data must be ((x_train, t_train), (x_test, t_test)), as fastgrad.load_mnist returns "
            f"it, got {reprlib.repr(data)}"
        ) from None
    train = _array("x_train", x_train), _array("t_train", t_train)
    test = _array("x_test", x_test), _array("t_test", t_test)
    samples = train[0].shape[1:], test[0].shape[1:]
    if samples[0] != samples[1]:
        raise ValueError(f"x_train and x_test must hold samples of one shape, got {samples}")
    return train, test


def check_network(net: Any, data: Data) -> None:
    """Refuse a network that cannot be trained on the data; one sample is predicted for that."""
    if missing := [name for name in NEEDED if not hasattr(net, name)]:
        raise TypeError(
            f"net must have {', '.join(NEEDED)}, as fastgrad.TwoLayerNet has, got "
            f"{reprlib.repr(net)}, which lacks {', '.join(missing)}"
        )
    _check_params(net.params)
    try:
        classes = np.shape(net.predict(data[0][0][:1]))[-1]
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"net cannot predict x_train[:1]: {error!r}; net.params has the shapes "
            f"{shapes(net.params)}"
        ) from error
    for name, (x, t) in zip(("t_train", "t_test"), data, strict=True):
        try:
            class_numbers(t, len(x), classes)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} does not fit: {error}") from error


def check_gradient(grads: Mapping[str, Array], params: Mapping[str, Array]) -> None:
    """Refuse a gradient that has other names or shapes than the parameters."""
    if (got := shapes(grads)) != (wanted := shapes(params)):
        raise ValueError(f"the gradient must have the shapes of net.params, {wanted}, got {got}")


def _check_params(params: Any) -> None:
    if not isinstance(params, Mapping) or not params:
        raise TypeError(f"net.params must be a dict of arrays, got {reprlib.repr(params)}")
    for name, array in params.items():
        floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        if not (floats and array.flags.writeable and np.isfinite(array).all()):
            raise ValueError(
                f"net.params[{name!r}] must be a writable array of finite floats, got "
                f"{reprlib.repr(array)}"
            )


def _array(name: str, value: Any) -> Array:
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked entries: leave those samples out")
    array = np.asarray(value) if isinstance(value, np.ndarray) else as_numbers(value, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got nan or inf")
    return array
