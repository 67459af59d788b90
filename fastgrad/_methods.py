"""What a training step takes from its network, by the method that the caller names."""

from __future__ import annotations

from collections.abc import Callable

from fastgrad import compiled_network, executors
from fastgrad._typing import Array
from fastgrad.functions import class_numbers
from fastgrad.two_layer_net import METHODS, TwoLayerNet


def by_method(
    net: TwoLayerNet, method: str, h: float, workers: int | None, backend: str | None
) -> tuple[Callable[[Array, Array], dict[str, Array]], Callable[[Array, Array], float]]:
    """Return the functions of a batch that take the gradient, and the loss after the step."""
    if method == "backprop":
        return net.gradient, net.loss
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, backprop, got {method!r}")
    executor = executors.choose(workers, backend)

    def gradient(x: Array, t: Array) -> dict[str, Array]:
        return net.numerical_gradient(x, t, h=h, workers=workers, backend=backend, method=method)

    def loss(x: Array, t: Array) -> float:
        numbers = class_numbers(t, len(x), len(net.params["b2"]))
        return compiled_network.loss(compiled_network.layers(net.params), x, numbers, executor)

    return gradient, loss if method == "incremental" else net.loss
