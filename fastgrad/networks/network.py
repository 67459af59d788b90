"""A network of dense layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastgrad._arrays import shapes
from fastgrad._checks import counts, each, generator, positive
from fastgrad._parallel import threads
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.functions import softmax
from fastgrad.networks._accuracy import likeliest
from fastgrad.networks._curves import layer_gradient
from fastgrad.networks._dense import ACTIVATIONS, Layers, backprop, inputs_and_scores
from fastgrad.networks._forward import ForwardPass
from fastgrad.networks._model import Model
from fastgrad.networks._two_layers import largest_input, two_layer_gradient


class Network(Model):
    """Dense layers, softmax, and the cross entropy as the loss.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of inputs, of units of each hidden layer, and of classes.
    activation : {"sigmoid", "relu", "tanh"}
        Of the hidden layers.
    weight_init_std : float or {"he", "relu", "xavier", "sigmoid"}, default 0.01
        Standard deviation of the initial weights. "he" or "relu" is ``sqrt(2 / inputs)`` of the
        layer, "xavier" or "sigmoid" ``sqrt(1 / inputs)``. Biases start at 0.
    weight_decay_lambda : float, default 0
        The loss contains ``weight_decay_lambda / 2`` times the sum of all squared weights.
    rng : numpy.random.Generator, optional
        Where the weights are drawn from, W1 first. Without it, NumPy's global generator, as in
        the book.

    Attributes
    ----------
    params : dict of ndarray
        float64 arrays "W1" (inputs, units), "b1" (units,), "W2" and so on.

    Examples
    --------
    >>> net = Network([4, 5, 3, 2], "tanh", weight_init_std="xavier", rng=np.random.default_rng(0))
    >>> x, t = np.array([[0.0, 0.5, 1.0, 0.0]]), np.array([1])
    >>> numerical, backprop = net.numerical_gradient(x, t), net.gradient(x, t)
    >>> all(np.allclose(numerical[name], backprop[name], atol=1e-6) for name in net.params)
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        *,
        weight_init_std: float | str = 0.01,
        weight_decay_lambda: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        sizes = counts(**each("sizes", sizes))
        if len(sizes) < 2:
            raise ValueError(f"sizes must hold the inputs and the classes at least, got {sizes!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
            )
        self.activation = activation
        self.weight_decay_lambda = positive("weight_decay_lambda", weight_decay_lambda, zero=True)
        draw, params = generator(rng).standard_normal, {}
        for k, (inputs, units) in enumerate(itertools.pairwise(sizes), 1):
            params[f"W{k}"] = spread(weight_init_std, inputs) * draw((inputs, units))
            params[f"b{k}"] = np.zeros(units)
        self._shape, self.params, self._made = (sizes[0],), params, shapes(params)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Gradients:
        """Return the gradient of the loss by the book's backprop.

        Takes the batch as `loss` does, returns arrays like `numerical_gradient`.

        Notes
        -----
        Like the book's, it leaves out the 1e-7 of the loss, and so differs from the derivative
        of `loss` by a factor ``p / (p + 1e-7)`` in samples whose true class has probability `p`.
        """
        x, t = self._check_batch(x, t)
        found, _ = backprop(self._layers(), self.activation, x, t)
        return self._with_decay(by_name(found))

    def _probabilities(self, x: Array) -> Floats:
        return softmax(inputs_and_scores(self._layers(), self.activation, x)[1])

    def _likeliest(self, x: Array) -> Array:
        # The bound on float32's error grows with each layer: beyond two it is hardly ever sure.
        if len(self._layers()) > 2 or self._overridden():
            return super()._likeliest(x)
        with np.errstate(all="ignore"):  # What overflows is not finite, and so never sure.
            classes, sure = likeliest(self._layers(), self.activation, x)
        if not sure.all():
            classes[~sure] = super()._likeliest(x[~sure])
        return classes

    def _incremental(self, x: Array, t: Integers, h: float, workers: int) -> Gradients:
        return by_name(dense_gradient(self._layers(), self.activation, x, t, h, workers))


def dense_gradient(
    layers: Layers, activation: str, x: Array, t: Integers, h: float, workers: int
) -> list[tuple[Floats, Floats]]:
    """Return the central differences of the mean loss by each layer's W and b.

    The samples are cut into blocks that depend on the network and the batch alone, and so do the
    bits.
    """
    layers = [(np.ascontiguousarray(W, float), np.ascontiguousarray(b, float)) for W, b in layers]
    gain = ACTIVATIONS[activation].gain
    most = largest_input(layers, gain, x, h)

    def of_block(block: range) -> list[Floats]:
        part = slice(block.start, block.stop)
        with np.errstate(all="ignore"):  # Units saturate, and probabilities underflow.
            if most:
                return two_layer_gradient(layers, gain, x[part], t[part], h, most)
            forward = ForwardPass(layers, activation, x[part], t[part])
            return [layer_gradient(forward, k, h, d) for k, d in enumerate(forward.derivatives())]

    # The curves of deeper layers are worth a thread each 10 samples; two layers take 1 ms for 100.
    fewest = 10 if len(layers) > 2 else 100 if len(x) <= 100 else 50
    together = max(fewest, math.ceil(len(x) / 8))
    blocks = threads.partition(range(len(x)), math.ceil(len(x) / together))
    sums, *others = threads.run(of_block, blocks, workers)
    for found in others:  # in the order of the blocks
        for total, more in zip(sums, found, strict=True):
            total += more
    for total in sums:
        total /= len(x)
    return [(total[:-1], total[-1]) for total in sums]


def by_name(layers: list[tuple[Floats, Floats]], first: int = 1) -> Gradients:
    """Return arrays of layers under the names of their parameters."""
    found = {}
    for k, (W, b) in enumerate(layers, first):
        found[f"W{k}"], found[f"b{k}"] = W, b
    return found


def spread(weight_init_std: float | str, inputs: int) -> float:
    """Return the standard deviation of a layer's first weights."""
    if not isinstance(weight_init_std, str):
        return positive("weight_init_std", weight_init_std, zero=True)
    scales = {"he": 2.0, "relu": 2.0, "xavier": 1.0, "sigmoid": 1.0}
    if weight_init_std.lower() not in scales:
        raise ValueError(
            f"weight_init_std must be a number or one of {', '.join(scales)}, got "
            f"{weight_init_std!r}"
        )
    return math.sqrt(scales[weight_init_std.lower()] / inputs)
