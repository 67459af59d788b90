"""The book's network of any depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastgrad.networks._model import check_sizes
from fastgrad.networks.network import Network


class MultiLayerNet(Network):
    """Any number of dense layers with weight decay: the book's class, section 6.

    Parameters
    ----------
    input_size : int
        Number of inputs.
    hidden_size_list : sequence of int
        Numbers of units of the hidden layers.
    output_size : int
        Number of classes.
    activation, weight_init_std, weight_decay_lambda, rng
        As for `Network`.

    Notes
    -----
    Other than in the book, `predict` returns probabilities, as `TwoLayerNet` does there. Batch
    normalisation and dropout (the book's ``MultiLayerNetExtend``) are no options: the one couples
    samples, the other is random; differentiate such networks by `fastgrad.numerical_gradient`.

    Examples
    --------
    >>> net = MultiLayerNet(4, [5, 5], 3, rng=np.random.default_rng(0))
    >>> list(net.params)
    ['W1', 'b1', 'W2', 'b2', 'W3', 'b3']
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0.0,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_sizes(input_size=input_size, output_size=output_size)
        super().__init__(
            [input_size, *hidden_size_list, output_size],
            activation,
            weight_init_std=weight_init_std,
            weight_decay_lambda=weight_decay_lambda,
            rng=rng,
        )
