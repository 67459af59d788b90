"""The book's two-layer network."""

from __future__ import annotations

import numpy as np

from fastgrad._checks import counts
from fastgrad.networks.network import Network


class TwoLayerNet(Network):
    """A network of two layers, sigmoid and softmax, with the cross entropy as its loss.

    The class of *Deep Learning from Scratch*, section 4.5, and its backprop from section 5.7.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of inputs, hidden units and classes.
    weight_init_std : float, default 0.01
        Standard deviation of the initial weights; biases start at 0.
    rng : numpy.random.Generator, optional
        Where the weights are drawn from, W1 before W2. Without it, NumPy's global generator, so
        that ``np.random.seed(0)`` gives the book's weights.

    Attributes
    ----------
    params : dict of ndarray
        float64 arrays "W1" (D, H), "b1" (H,), "W2" (H, C), "b2" (C,).

    Examples
    --------
    >>> np.random.seed(0)
    >>> net = TwoLayerNet(4, 3, 2)
    >>> x, t = np.array([[0.0, 0.5, 1.0, 0.0]]), np.array([1])
    >>> round(net.loss(x, t), 4)
    0.6993
    >>> net.numerical_gradient(x, t)["b2"].round(4)
    array([ 0.5031, -0.5031])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        sizes = counts(input_size=input_size, hidden_size=hidden_size, output_size=output_size)
        super().__init__(sizes, "sigmoid", weight_init_std=weight_init_std, rng=rng)
