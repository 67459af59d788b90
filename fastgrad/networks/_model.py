"""What all networks have in common."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgrad import reference
from fastgrad._formulas.step_sizes import positive
from fastgrad._parallel import blas, threads
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.functions import class_numbers, mean_log_loss

METHODS = "incremental", "full", "naive"
"""The ways to the same central difference, fastest first."""

PARAMETERS = 64
"""Of which a worker takes the central difference at a time."""


class Model:
    """A classifier with softmax and cross entropy, and arrays in `params`.

    A subclass has `_probabilities`, `_incremental`, `_check_inputs` and `gradient`.
    """

    params: dict[str, Array]
    weight_decay_lambda: float = 0.0
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
        x, t = self._check_batch(x, t)
        return mean_log_loss(self._probabilities(x), t) + self._decay()

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
            truncation error included.
        workers : int, optional
            How many threads at most; -1 is one for each core. The result does not depend on it.
            None takes what ``joblib.parallel_config`` says, and 1 outside of it.
        method : {"incremental", "full", "naive"}
            "incremental" reads the gradient from one curve a unit, see `fastgrad.networks`;
            "full" runs a forward pass for each perturbed loss; "naive" is the book's loop,
            `fastgrad.reference.numerical_gradient`, on one core whatever `workers` says.

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
        h = positive(h, "h must be a number")
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
        if method == "full":
            return self._full(x, t, h, workers)
        with blas.one_thread():
            found = self._incremental(x, t, h, workers)
        return self._with_decay(found)

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

        Takes what `numerical_gradient` takes, and the tolerances of `fastgrad.check_gradient`.
        What `gradient` returns in a subclass is checked as well.

        Returns
        -------
        report
            ``report.passed``, and ``report.arrays["params['W1']"]``; prints as a table.

        Raises
        ------
        TypeError, ValueError
            As for `numerical_gradient` and `fastgrad.check_gradient`.
        """
        from fastgrad._checking.check_gradient import compare

        x, t = self._check_batch(x, t)
        method = "naive" if self._overridden() else "incremental"

        def loss(params: dict[str, Array]) -> float:
            moved = copy.copy(self)
            moved.params = params
            return moved.loss(x, t)

        return compare(
            loss,
            self.params,
            self.gradient(x, t),
            lambda h: self.numerical_gradient(x, t, h=h, workers=workers, method=method),
            h=h,
            rtol=rtol,
            atol=atol,
            title=f"backprop against finite differences of order 2, h = {h:g}",
            name="params",
        )

    def gradient(self, x: ArrayLike, t: ArrayLike) -> Gradients:
        """Return the gradient of the loss by backprop."""
        raise NotImplementedError

    def _probabilities(self, x: Array) -> Floats:
        raise NotImplementedError

    def _check_inputs(self, x: ArrayLike) -> Array:
        """Return `x` with an axis of samples, its values still to be checked by `finite`."""
        raise NotImplementedError

    def _incremental(self, x: Array, t: Integers, h: float, workers: int) -> Gradients:
        raise NotImplementedError

    def _likeliest(self, x: Array) -> Array:
        classes: Array = np.argmax(self.predict(x), axis=1)
        return classes

    @property
    def _classes(self) -> int:
        return len(list(self.params.values())[-1])

    def _check_batch(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Integers]:
        x = finite(self._check_inputs(x))
        return x, class_numbers(t, len(x), self._classes)

    def _check_moves(self, h: float) -> None:
        """Raise if a parameter is no floating point number, or does not move by the step."""
        for name, array in self.params.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                kind = getattr(array, "dtype", type(array).__name__)
                raise TypeError(
                    f"params[{name!r}] must be a floating point array, got {kind}: a step would "
                    "be lost; use .astype(float)"
                )
        for array in self.params.values():
            largest = max(float(array.max()), -float(array.min()))
            if largest + h == largest:
                raise ValueError(
                    f"h={h!r} is lost beside a parameter of size {largest:.3g}; the book uses 1e-4"
                )

    def _overridden(self) -> list[str]:
        """Return which of the functions that curves stand for are the caller's own."""
        names = "predict", "loss", "_probabilities"
        modules = [getattr(getattr(self, name), "__module__", None) or "" for name in names]
        return [
            name
            for name, module in zip(names, modules, strict=True)
            if not module.startswith("fastgrad.networks.")
        ]

    def _full(self, x: Array, t: Integers, h: float, workers: int) -> Gradients:
        """Return the central differences of the loss, on copies of the parameters."""

        def differences(block: tuple[str, range]) -> Floats:
            name, where = block
            moved = copy.copy(self)
            moved.params = {**self.params, name: self.params[name].copy()}
            flat, found = moved.params[name].reshape(-1), np.empty(len(where))
            for k, i in enumerate(where):
                saved = flat[i]
                flat[i] = saved + h
                above = moved.loss(x, t)
                flat[i] = saved - h
                found[k] = (above - moved.loss(x, t)) / (2 * h)
                flat[i] = saved
            return found

        blocks = [
            (name, part)
            for name, array in self.params.items()
            for part in threads.partition(range(array.size), -(-array.size // PARAMETERS))
        ]
        with blas.one_thread():
            found = threads.run(differences, blocks, workers)
        grads: dict[str, Any] = {name: [] for name in self.params}
        for (name, _), part in zip(blocks, found, strict=True):
            grads[name].append(part)
        return {
            name: np.concatenate(parts).reshape(self.params[name].shape)
            for name, parts in grads.items()
        }

    def _decay(self) -> float:
        if not self.weight_decay_lambda:
            return 0.0
        squares = (np.sum(W**2) for name, W in self.params.items() if name.startswith("W"))
        return float(self.weight_decay_lambda * sum(squares) / 2)

    def _with_decay(self, grads: Gradients) -> Gradients:
        """Add the decay's gradient; of a square, the central difference is exact."""
        if self.weight_decay_lambda:
            for name, W in self.params.items():
                if name.startswith("W"):
                    grads[name] = grads[name] + self.weight_decay_lambda * W
        return grads


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


def check_sizes(**sizes: Any) -> None:
    """Raise if one of the sizes is no whole number from 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{name} must be a whole number from 1, got {size!r}")
