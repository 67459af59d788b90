"""The book's convolutional network."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from fastgrad._arrays import shapes
from fastgrad._checks import count, counts, each, generator, positive
from fastgrad._parallel import threads
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.functions import softmax
from fastgrad.networks._dense import backprop, inputs_and_scores
from fastgrad.networks._forward import ForwardPass
from fastgrad.networks._model import Model
from fastgrad.networks.network import by_name, dense_gradient

BOOK = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}  # The book's convolution.


class SimpleConvNet(Model):
    """Convolution, ReLU, max pooling of 2x2, and two dense layers with a ReLU between them.

    The class of *Deep Learning from Scratch*, section 7.5, with the softmax and the cross entropy
    as its loss.

    Parameters
    ----------
    input_dim : (int, int, int), default (1, 28, 28)
        Channels, rows and columns of an image.
    conv_param : dict, optional
        "filter_num", "filter_size", "pad" and "stride"; the book's are 30, 5, 0 and 1.
    hidden_size, output_size : int, default 100 and 10
        Numbers of hidden units and of classes.
    weight_init_std : float, default 0.01
        Standard deviation of the initial weights; biases start at 0.
    rng : numpy.random.Generator, optional
        Where the weights are drawn from, W1 first. Without it, NumPy's global generator.

    Attributes
    ----------
    params : dict of ndarray
        float64 arrays "W1" (filters, channels, rows, columns), "b1", and "W2", "b2", "W3", "b3" of
        the dense layers.

    Notes
    -----
    A filter's weight moves one channel of the convolution, so that its two losses cost the way
    from that channel on. The dense layers are read from curves, see `fastgrad.networks`.

    Examples
    --------
    >>> conv = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
    >>> net = SimpleConvNet((1, 6, 6), conv, 4, 3, 0.5, rng=np.random.default_rng(0))
    >>> x, t = np.random.default_rng(1).random((5, 1, 6, 6)), np.array([0, 1, 2, 0, 1])
    >>> numerical, backprop = net.numerical_gradient(x, t), net.gradient(x, t)
    >>> all(np.allclose(numerical[name], backprop[name], atol=1e-6) for name in net.params)
    True
    """

    _hint = "; load_mnist(flatten=False) gives such images"
    _together = 100

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param: Mapping[str, int] | None = None,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float = 0.01,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        conv = BOOK if conv_param is None else conv_param
        if not isinstance(conv, Mapping) or conv.keys() != BOOK.keys():
            raise ValueError(f"conv_param must have {', '.join(BOOK)}; got {conv!r}")
        if len(shape := counts(**each("input_dim", input_dim))) != 3:
            raise ValueError(f"input_dim must be (channels, rows, columns), got {input_dim!r}")
        channels, rows, columns = shape
        filters, size, self.pad, self.stride = (
            count(name, conv[name], 0 if name == "pad" else 1) for name in BOOK
        )
        hidden, classes = counts(hidden_size=hidden_size, output_size=output_size)
        std = positive("weight_init_std", weight_init_std, zero=True)
        pooled = [((n - size + 2 * self.pad) // self.stride + 1) // 2 for n in (rows, columns)]
        if min(pooled) < 1:
            raise ValueError(f"input_dim {input_dim} is too small for filters of {size}x{size}")
        draw, features = generator(rng).standard_normal, filters * pooled[0] * pooled[1]
        params = {
            "W1": std * draw((filters, channels, size, size)),
            "b1": np.zeros(filters),
            "W2": std * draw((features, hidden)),
            "b2": np.zeros(hidden),
            "W3": std * draw((hidden, classes)),
            "b3": np.zeros(classes),
        }
        self._shape, self.params, self._made = tuple(shape), params, shapes(params)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Gradients:
        """Return the gradient of the loss by the book's backprop.

        Takes the batch as `loss` does, returns arrays like `numerical_gradient`. Like the book's,
        it leaves out the 1e-7 of the loss.
        """
        x, t = self._check_batch(x, t)
        patches = self._patches(x)
        a = self._convolution(patches)
        features = pool(a)
        dense, d = backprop(self._layers(2), "relu", features.reshape(len(x), -1), t)
        d = np.dot(d, self.params["W2"].T).reshape(features.shape) * (features > 0)
        da, largest = np.zeros_like(a), np.argmax(corners(a), axis=0)
        for k, corner in enumerate(corners(da)):
            corner[:] = d * (largest == k)
        grads = {"W1": np.tensordot(da, patches, ([0, 2, 3], [0, 2, 3]))}
        return {**grads, "b1": da.sum(axis=(0, 2, 3)), **by_name(dense, 2)}

    def _patches(self, x: Array) -> Floats:
        """Return a view (N, channels, rows, columns, size, size): what each output sees."""
        around = [(0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad)]
        windows = sliding_window_view(
            np.pad(np.asarray(x, float), around), self.params["W1"].shape[2:], axis=(2, 3)
        )
        return windows[:, :, :: self.stride, :: self.stride]

    def _convolution(self, patches: Floats) -> Floats:
        """Return the pre-activations (N, filters, rows, columns)."""
        a = np.tensordot(patches, self.params["W1"], ([1, 4, 5], [1, 2, 3])) + self.params["b1"]
        return np.ascontiguousarray(a.transpose(0, 3, 1, 2))

    def _probabilities(self, x: Array) -> Floats:
        features = pool(self._convolution(self._patches(x))).reshape(len(x), -1)
        return softmax(inputs_and_scores(self._layers(2), "relu", features)[1])

    def _incremental(self, x: Array, t: Integers, h: float, workers: int) -> Gradients:
        patches = self._patches(x)
        a = self._convolution(patches)
        features = pool(a).reshape(len(x), -1)
        dense = dense_gradient(self._layers(2), "relu", features, t, h, workers)
        with np.errstate(all="ignore"):
            forward = ForwardPass(self._layers(2), "relu", features, t)

        def of_filter(f: int) -> tuple[Floats, float]:
            with np.errstate(all="ignore"):
                return filter_gradient(forward, patches, a[:, f], f, h)

        W, b = zip(*threads.run(of_filter, range(a.shape[1]), workers), strict=True)
        return {"W1": np.array(W), "b1": np.array(b), **by_name(dense, 2)}


def filter_gradient(
    forward: ForwardPass, patches: Floats, a: Floats, f: int, h: float
) -> tuple[Floats, float]:
    """Return the central differences for the weights and the bias of filter `f`.

    Its weight moves one channel, `a` (N, rows, columns), by ±h times what it is multiplied with,
    and so what the pooling makes of that channel, inputs of the first dense layer.
    """
    before = pool(a)
    mine = before[0].size
    W = forward.layers[0][f * mine : (f + 1) * mine]

    def loss(d: Floats) -> float:
        moves = (pool(a + d) - before).reshape(len(a), mine)
        return float(forward.rises(0, slice(None), moves @ W).mean())

    def quotient(inputs: Floats) -> float:
        return (loss(h * inputs) - loss(-h * inputs)) / (2 * h)

    found = np.empty((patches.shape[1], *patches.shape[4:]))
    for c, i, j in np.ndindex(found.shape):
        found[c, i, j] = quotient(patches[:, c, :, :, i, j])
    return found, quotient(np.ones_like(a))


def corners(a: Floats) -> list[Floats]:
    """Return four views on the last two axes: the numbers of each window of 2x2."""
    rows, columns = (n // 2 * 2 for n in a.shape[-2:])
    return [a[..., i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]


def pool(a: Floats) -> Floats:
    """Return the largest number of each window of 2x2, but at least 0."""
    return functools.reduce(np.maximum, corners(a), np.zeros(()))
