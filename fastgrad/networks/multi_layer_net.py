"""The book's network of any depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastgrad._checks import counts, each
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
    use_dropout, dropout_ration, use_batchnorm
        Of the book's ``MultiLayerNetExtend``, and refused where True: batch normalisation couples
        samples, dropout is random. `fastgrad.numerical_gradient` differentiates such networks.

    Notes
    -----
    Other than in the book, `predict` returns probabilities, as `TwoLayerNet` does there.

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
        use_dropout: bool = False,
        dropout_ration: float = 0.5,
        use_batchnorm: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        if use_dropout or use_batchnorm:
            raise ValueError(
                "use_dropout and use_batchnorm must be False: batch normalisation couples samples, "
                "dropout is random; differentiate such networks by fastgrad.numerical_gradient"
            )
        hidden = each("hidden_size_list", hidden_size_list)
        super().__init__(
            counts(input_size=input_size, **hidden, output_size=output_size),
            activation,
            weight_init_std=weight_init_std,
            weight_decay_lambda=weight_decay_lambda,
            rng=rng,
        )


MultiLayerNetExtend = MultiLayerNet
