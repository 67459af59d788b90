"""The book's two-layer network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from fastgrad import _blas, compiled_network, executors, reference
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.backprop import backprop, left_out
from fastgrad.compiled_network import finite
from fastgrad.engine import differentiate
from fastgrad.functions import class_numbers, mean_log_loss, sigmoid, softmax
from fastgrad.objectives.classes import UNSURE, Classes
from fastgrad.objectives.images import PART, Images
from fastgrad.objectives.network import check_moves
from fastgrad.stencils import CENTRAL
from fastgrad.step_sizes import positive
from fastgrad.steps import Steps
from fastgrad.structures import Parameters

if TYPE_CHECKING:
    from fastgrad.check_report import CheckReport

METHODS = ("incremental", "full", "naive")
"""The ways to the same central difference, fastest first."""


class TwoLayerNet:
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
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "output_size": output_size}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {size!r}")
        draw = np.random.standard_normal if rng is None else rng.standard_normal
        self.params: dict[str, Array] = {
            "W1": weight_init_std * draw((input_size, hidden_size)),
            "b1": np.zeros(hidden_size),
            "W2": weight_init_std * draw((hidden_size, output_size)),
            "b2": np.zeros(output_size),
        }

    def predict(self, x: ArrayLike) -> Floats:
        """Return the class probabilities.

        Parameters
        ----------
        x : array_like of real numbers, shape (N, D) or (D,)
            One sample a row, or one sample.

        Returns
        -------
        ndarray of float64, shape (N, C) or (C,)

        Raises
        ------
        TypeError, ValueError
            If `x` is not numeric, does not have D features, is empty or not finite.
        """
        x = np.asarray(x)
        y = self._forward(finite(self._check_inputs(x)))
        return y[0] if x.ndim == 1 else y

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the mean cross entropy of the batch.

        Parameters
        ----------
        x : array_like of real numbers, shape (N, D) or (D,)
            One sample a row, or one sample.
        t : array_like, shape (N,) of int, or (N, C)
            Class numbers, or one-hot labels.

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if the labels do not fit, see `fastgrad.functions.class_numbers`.
        """
        x, t = self._check_batch(x, t)
        return mean_log_loss(self._forward(x), t)

    def accuracy(self, x: ArrayLike, t: ArrayLike, *, workers: int | None = None) -> float:
        """Return the share of samples whose likeliest class is the labelled one, from 0 to 1.

        Parameters
        ----------
        x, t : array_like
            As for `loss`; what is float32 or uint8 is not copied to float64.
        workers : int, optional
            How many threads at most, as for `numerical_gradient`.

        Raises
        ------
        TypeError, ValueError
            As for `loss`, and if `workers` is not a whole number other than 0.

        Notes
        -----
        The likeliest class is that of `predict`. Most samples need only integers of 16 bits, if
        they are images, or float32 to be sure of it, see `fastgrad.objectives.classes`; the others
        are predicted.
        """
        images = x if isinstance(x, Images) else None
        x = self._check_inputs(x)
        t = class_numbers(t, len(x), len(self.params["b2"]))
        executor = executors.choose(workers, "threads")
        with _blas.one_thread():
            classes = differentiate(Classes(self.params, x, images), executor)[0]
            unsure = np.flatnonzero(classes == UNSURE)
            for start in range(0, len(unsure), PART):
                block = unsure[start : start + PART]
                if not np.isfinite(x[block]).all():
                    finite(x)
                classes[block] = np.argmax(self._forward(x[block]), axis=1)
        return int(np.count_nonzero(classes == t)) / len(x)

    def numerical_gradient(
        self,
        x: ArrayLike,
        t: ArrayLike,
        *,
        h: float = 1e-4,
        workers: int | None = None,
        backend: str | None = None,
        method: str = "incremental",
    ) -> Gradients:
        """Return the central difference of the loss for every parameter.

        Parameters
        ----------
        x, t : array_like
            The batch, as for `loss`.
        h : float, default 1e-4
            The step, absolute. All methods return ``(loss(p + h) - loss(p - h)) / 2h`` itself,
            truncation error included.
        workers : int, optional
            How many workers at most; -1 is one for each core. The result does not depend on it,
            and work too short to be worth sharing is not shared. None takes what
            ``joblib.parallel_config`` says, and 1 outside of it.
        backend : str, optional
            "threads" (default), "processes", or the name of a joblib backend.
        method : {"incremental", "full", "naive"}
            "incremental" evaluates every perturbed loss from what the perturbation moves;
            "full" runs a compiled forward pass for each; "naive" is the book's loop,
            `fastgrad.reference.numerical_gradient`, on one core whatever `workers` says.

        Returns
        -------
        dict of ndarray
            float64 arrays with the names and shapes of `params`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the parameters are then untouched, as they are after
            success.

        Notes
        -----
        The gradient stands for two losses a parameter: 79,520 for 784-50-10. "naive" and "full"
        compute them one by one, each in O(N D H); "incremental" needs O(N D H) in all.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        x = self._check_inputs(x)
        t = class_numbers(t, len(x), len(self.params["b2"]))
        layers = compiled_network.layers(self.params)
        h = positive(h, "h must be a number")
        check_moves(h, *layers[1:])
        executor = executors.choose(workers, backend)
        if method == "naive":
            x = finite(x)
            check_moves(h, layers[0])
            return {
                name: reference.numerical_gradient(
                    lambda _: mean_log_loss(self._forward(x), t), array, h=h
                )
                for name, array in self.params.items()
            }
        return compiled_network.gradient(layers, x, t, h, method, executor)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Gradients:
        """Return the gradient of the loss by the book's backprop.

        Takes the batch as `loss` does, returns arrays like `numerical_gradient`.

        Notes
        -----
        Like the book's, it leaves out the 1e-7 of the loss, and so differs from the derivative
        of `loss` by a factor ``p / (p + 1e-7)`` in samples whose true class has probability `p`.
        """
        return backprop(self.params, *self._check_batch(x, t))

    def check_gradient(
        self,
        x: ArrayLike,
        t: ArrayLike,
        *,
        h: float = 1e-4,
        rtol: float | None = None,
        atol: float | None = None,
        workers: int | None = None,
        backend: str | None = None,
    ) -> CheckReport:
        """Compare `gradient` with `numerical_gradient`, in every parameter.

        Takes what `numerical_gradient` takes, and the tolerances of `fastgrad.check_gradient`.
        What `gradient` returns in a subclass is checked as well.

        Returns
        -------
        fastgrad.check_report.CheckReport
            ``report.passed``, and ``report.arrays["params['W1']"]``; prints as a table.

        Raises
        ------
        TypeError, ValueError
            As for `numerical_gradient` and `fastgrad.check_gradient`.

        Notes
        -----
        The 1e-7 of the loss, which backprop leaves out, is allowed for, see
        `fastgrad.backprop.left_out`. Where it matters, in samples whose true class has a
        probability of 1e-5 or less, the check fails and says so.

        Examples
        --------
        >>> net = TwoLayerNet(4, 3, 2, rng=np.random.default_rng(0))
        >>> net.check_gradient(np.array([[0.0, 0.5, 1.0, 0.0]]), [1]).passed
        True
        """
        from fastgrad.comparison import check_tolerances, compare

        check_tolerances(rtol, atol)
        h = positive(h, "h must be a number")
        x, t = self._check_batch(x, t)
        parameters = Parameters(self.params)
        given = parameters.matching(self.gradient(x, t), "gradient")
        return compare(
            lambda _: mean_log_loss(self._forward(x), t),
            parameters,
            given,
            lambda h: self.numerical_gradient(x, t, h=h, workers=workers, backend=backend),
            h=h,
            steps=Steps(parameters, CENTRAL, h, None),
            rtol=rtol,
            atol=atol,
            title=f"backprop against finite differences of order 2, h = {h:g}",
            name="params",
            known=left_out(self.params, x, t),
        )

    def _forward(self, x: Array) -> Floats:
        z = sigmoid(np.dot(x, self.params["W1"]) + self.params["b1"])
        return softmax(np.dot(z, self.params["W2"]) + self.params["b2"])

    def _check_inputs(self, x: ArrayLike) -> Array:
        """Return `x` as (N, D), its values still to be checked by `finite`."""
        x = np.asarray(x)
        features = len(self.params["W1"])
        if x.dtype.kind not in "iuf":
            raise TypeError(f"x must hold real numbers, got dtype {x.dtype}; pass x.astype(float)")
        if x.ndim not in (1, 2) or x.shape[-1] != features:
            raise ValueError(
                f"x must have shape (N, {features}), or ({features},) for one sample, got {x.shape}"
            )
        x = x.reshape(1, -1) if x.ndim == 1 else x
        if not len(x):
            raise ValueError("x must hold at least one sample, got an empty batch")
        return x

    def _check_batch(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Integers]:
        x = finite(self._check_inputs(x))
        return x, class_numbers(t, len(x), len(self.params["b2"]))
