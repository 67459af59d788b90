"""What all networks have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgrad import reference
from fastgrad._arrays import shapes
from fastgrad._checks import positive
from fastgrad._derivatives.gradient import numerical_gradient
from fastgrad._parallel import blas, threads
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.functions import class_numbers, mean_log_loss
from fastgrad.networks._dense import Layers

METHODS = "incremental", "full", "naive"  # Fastest first.


class Model:
    """A classifier with softmax and cross entropy, and arrays in `params`.

    A subclass has `_shape`, `_made`, `_probabilities`, `_incremental` and `gradient`.
    """

    params: dict[str, Array]
    weight_decay_lambda: float = 0.0
    _shape: tuple[int, ...]  # Of a sample.
    _made: dict[str, tuple[int, ...]]  # The shapes of the parameters that it was made with.
    _hint = ""  # How to come by samples of that shape.
    _together = 1000  # Samples whose accuracy is taken at a time: they stay in the caches.

    def predict(self, x: ArrayLike) -> Floats:
        """Return the class probabilities.

        Parameters
        ----------
        x : array_like of real numbers
            One sample a row, shape (N, D), or one sample, (D,).

        Returns
        -------
        ndarray of float64, shape (N, C) or (C,)

        Raises
        ------
        TypeError, ValueError
            If `x` is not numeric, does not have D features, is empty or not finite.
        """
        samples = finite(self._check_inputs(x))
        y = self._probabilities(samples)
        return y[0] if np.ndim(x) < samples.ndim else y

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the mean cross entropy of the batch, and the weight decay where there is one.

        Parameters
        ----------
        x : array_like of real numbers
            The samples, as for `predict`.
        t : array_like, shape (N,) of int, or (N, C)
            Class numbers, or one-hot labels.

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if the labels do not fit, see `fastgrad.functions.class_numbers`.
        """
        x = self._check_inputs(x)  # Whether it is finite asks `predict`.
        t = class_numbers(t, len(x), self._classes)
        squares = sum(float(np.sum(W**2)) for W in self._decaying().values())
        return mean_log_loss(self.predict(x), t) + self.weight_decay_lambda * squares / 2

    def accuracy(self, x: ArrayLike, t: ArrayLike, *, workers: int | None = None) -> float:
        """Return the share of samples whose likeliest class is the labelled one, from 0 to 1.

        Takes the batch as `loss` does, and `workers` as `numerical_gradient` does. What is float32
        or uint8 is not copied to float64.
        """
        x = self._check_inputs(x)
        t = class_numbers(t, len(x), self._classes)
        workers = threads.count(workers)

        def right(block: range) -> int:
            part = slice(block.start, block.stop)
            return int(np.count_nonzero(self._likeliest(x[part]) == t[part]))

        with blas.one_thread():
            blocks = threads.partition(range(len(x)), -(-len(x) // self._together))
            return sum(threads.run(right, blocks, workers)) / len(x)

    def numerical_gradient(
        self,
        x: ArrayLike,
        t: ArrayLike,
        *,
        h: float = 1e-4,
        workers: int | None = None,
        method: str = "incremental",
    ) -> Gradients:
        """Return the central difference of the loss for every parameter.

        Parameters
        ----------
        x, t : array_like
            The batch, as for `loss`.
        h : float, default 1e-4
            The step, absolute. All methods return ``(loss(p + h) - loss(p - h)) / 2h`` itself,
            truncation error included. "full" divides by the step that p took, where p rounds h.
        workers : int, optional
            How many threads at most, of "full" processes; -1 is one for each core. The result does
            not depend on it. None takes what ``joblib.parallel_config`` says, and 1 outside of it.
        method : {"incremental", "full", "naive"}
            "incremental" reads the gradient from one curve a unit, see `fastgrad.networks`;
            "full" is `fastgrad.numerical_gradient` of the loss, two forward passes a parameter;
            "naive" is the book's loop, `fastgrad.reference.numerical_gradient`, on one core
            whatever `workers` says.

        Returns
        -------
        dict of ndarray
            float64 arrays with the names and shapes of `params`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the parameters are then untouched, as they are after
            success. A subclass with a `predict` or `loss` of its own needs ``method="naive"``.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        x, t = self._check_batch(x, t)
        h = positive("h", h)
        self._check_moves(h)
        workers = threads.count(workers)
        if method == "naive":
            return {
                name: reference.numerical_gradient(lambda _: self.loss(x, t), array, h=h)
                for name, array in self.params.items()
            }
        if own := self._overridden():
            raise TypeError(
                f"method={method!r} would not see the {own[0]} of this {type(self).__name__}; pass "
                "method='naive', or use fastgrad.numerical_gradient"
            )
        with blas.one_thread():
            if method == "incremental":
                return self._with_decay(self._incremental(x, t, h, workers))
            found: Gradients = numerical_gradient(
                self._loss_at(x, t), {k: array.astype(float) for k, array in self.params.items()},
                h, workers=workers, backend="processes", nonfinite="keep",
            )  # fmt: skip
            return found

    def check_gradient(
        self,
        x: ArrayLike,
        t: ArrayLike,
        *,
        h: float = 1e-4,
        rtol: float | None = None,
        atol: float | None = None,
        workers: int | None = None,
    ) -> Any:
        """Compare `gradient` with `numerical_gradient`, in every parameter.

        Takes what `numerical_gradient` takes, and the tolerances of `fastgrad.check_gradient`;
        raises what they raise. What `gradient` returns in a subclass is checked as well.

        Returns
        -------
        report
            ``report.passed``, and ``report.arrays["params['W1']"]``; prints as a table.
        """
        from fastgrad._checking.check_gradient import compare

        x, t = self._check_batch(x, t)
        method = "naive" if self._overridden() else "incremental"
        with blas.one_thread():
            return compare(
                self._loss_at(x, t), self.params, self.gradient(x, t),
                lambda h: self.numerical_gradient(x, t, h=h, workers=workers, method=method),
                h=h, rtol=rtol, atol=atol, name="params",
                title=f"backprop against finite differences of order 2, h = {h}",
            )  # fmt: skip

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Gradients:
        """Return the gradient of the loss by backprop."""
        raise NotImplementedError

    def _probabilities(self, x: Array) -> Floats:
        raise NotImplementedError

    def _incremental(self, x: Array, t: Integers, h: float, workers: int) -> Gradients:
        raise NotImplementedError

    def _likeliest(self, x: Array) -> Array:
        classes: Array = np.argmax(self.predict(x), axis=1)
        return classes

    @property
    def _classes(self) -> int:
        return list(self._made.values())[-1][0]

    def _layers(self, first: int = 1) -> Layers:
        """Return the W and b of the dense layers, which begin at ``W{first}``."""
        ks = range(first, len(self.params) // 2 + 1)
        return [(self.params[f"W{k}"], self.params[f"b{k}"]) for k in ks]

    def _loss_at(self, x: Array, t: Integers) -> Callable[[dict[str, Array]], float]:
        """Return the loss of the batch as a function of the parameters."""

        def loss(params: dict[str, Array]) -> float:
            moved = copy.copy(self)
            moved.params = params
            return moved.loss(x, t)

        return loss

    def _check_inputs(self, x: ArrayLike) -> Array:
        """Return `x` with an axis of samples, its values still to be checked by `finite`."""
        if (got := shapes(self.params)) != self._made and not self._overridden():
            raise ValueError(
                f"params must have the names and shapes that this {type(self).__name__} was made "
                f"with, {self._made}, got {got}"
            )
        x, shape = np.asarray(x), self._shape
        if x.dtype.kind not in "iuf":
            raise TypeError(f"x must hold real numbers, got dtype {x.dtype}; pass x.astype(float)")
        if x.ndim - len(shape) not in (0, 1) or x.shape[-len(shape) :] != shape:
            many = ", ".join(map(str, ("N", *shape)))
            raise ValueError(
                f"x must have shape ({many}), or {shape} for one sample, got {x.shape}{self._hint}"
            )
        x = x.reshape(-1, *shape)
        if not len(x):
            raise ValueError("x must hold at least one sample, got an empty batch")
        return x

    def _check_batch(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Integers]:
        x = finite(self._check_inputs(x))
        return x, class_numbers(t, len(x), self._classes)

    def _check_moves(self, h: float) -> None:
        """Raise if a parameter is no floating point number, or does not move by the step."""
        if h > 1e10:  # Powers of it would overflow.
            raise ValueError(f"h must be at most 1e10, got {h!r}; the book uses 1e-4")
        for name, array in self.params.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                kind = getattr(array, "dtype", type(array).__name__)
                raise TypeError(
                    f"params[{name!r}] must be a floating point array, got {kind}: a step would "
                    "be lost; use .astype(float)"
                )
            largest = max(float(array.max()), -float(array.min()))
            if largest == np.inf:
                raise ValueError(f"params[{name!r}] must not hold infinity: no step moves that")
            if largest + h == largest:
                raise ValueError(
                    f"h={h!r} is lost beside params[{name!r}], which reaches {largest:.3g}; the "
                    "book uses 1e-4"
                )

    def _overridden(self) -> list[str]:
        """Return which of the functions that curves stand for are the caller's own."""
        names = "predict", "loss", "_probabilities", "_decaying"
        own = {name: getattr(self, name) for name in names}
        modules = {name: getattr(f, "__module__", None) or "" for name, f in own.items()}
        return [name for name in own if not modules[name].startswith("fastgrad.networks.")]

    def _decaying(self) -> Gradients:
        """Return the weights whose squares the loss contains, none without weight decay."""
        names = [name for name in self.params if name.startswith("W") and self.weight_decay_lambda]
        return {name: self.params[name] for name in names}

    def _with_decay(self, grads: Gradients) -> Gradients:
        """Add the decay's gradient; of a square, the central difference is exact."""
        decayed = {k: grads[k] + self.weight_decay_lambda * W for k, W in self._decaying().items()}
        return {**grads, **decayed}


def finite(x: Array) -> Array:
    """Return `x` if all of it is finite."""
    # NaN and infinity show in the extremes.
    if not (np.isfinite(x.min()) and np.isfinite(x.max())):
        sample, *where = np.argwhere(~np.isfinite(x))[0]
        feature = ", ".join(str(i) for i in where)
        raise ValueError(
            f"x must be finite, got {x[(sample, *where)]} for sample {sample}, feature {feature}"
        )
    return x
