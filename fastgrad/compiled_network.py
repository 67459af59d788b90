"""The two-layer network's gradient and its loss, by compiled code."""

from __future__ import annotations

import numpy as np

from fastgrad import _scratch
from fastgrad._typing import Array, Floats, Gradients, Integers
from fastgrad.engine import differentiate, team, together
from fastgrad.executors import Executor
from fastgrad.functions import negative_log_likelihood
from fastgrad.objectives.incremental import IncrementalNetwork, Samples
from fastgrad.objectives.network import FullNetwork, Inputs, check_moves, compress
from fastgrad.objectives.shared_work import SharedWork
from fastgrad.structures import FLOAT64


def layers(params: dict[str, Array]) -> list[Floats]:
    """Return W1, b1, W2, b2 as the kernels take them, copied only where they are not."""
    for name, array in params.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(
                f"params[{name!r}] must be a floating point array, got {kind}: a step would "
                "be lost; use .astype(float)"
            )
    found = [params["W1"], params["b1"], params["W2"], params["b2"]]
    for k, array in enumerate(found):
        if not (array.flags.carray and array.dtype is FLOAT64):
            found[k] = np.require(array, float, ("C", "W"))
    return found


def gradient(
    layers: list[Floats], x: Array, t: Integers, h: float, method: str, executor: Executor
) -> Gradients:
    """Return the central difference for every parameter, see `TwoLayerNet.numerical_gradient`.

    Parameters
    ----------
    layers : (W1, b1, W2, b2)
        See `layers`.
    x : ndarray, shape (N, D)
    t : ndarray of int64, shape (N,)
        Class numbers.
    h : float
        Step.
    method : {"incremental", "full"}
    executor : Executor

    Raises
    ------
    ValueError
        If a value in `x` is not finite, or a parameter does not move by the step.
    """
    memory = _scratch.take()
    inputs = _finite_inputs(x, memory)
    if method == "full":
        check_moves(h, layers[0])
        W1, b1, W2, b2 = layers
        full = FullNetwork(np.vstack([W1, b1]), np.vstack([W2, b2]), inputs, t, h)
        found = full.rows.unpack(differentiate(full, executor)[0])
    else:
        samples = Samples(layers, inputs, t, h)
        found = samples.rows.unpack(_incremental(samples, executor, memory))
    _scratch.give_back(memory)
    return found


def _incremental(samples: Samples, executor: Executor, memory: _scratch.Memory) -> Floats:
    """Return the flat gradient, every perturbed loss from what the perturbation moves."""
    if executor.shares_memory and all(samples.exact):
        seconds = samples.seconds + samples.reading_seconds
        work = SharedWork(samples, threads := team(executor, seconds), memory)
        gradient = np.empty(samples.rows.size)
        together(threads, seconds, work.gradient_calls(gradient))
        work.check_moves()
        return gradient
    work = SharedWork(samples, threads := team(executor, samples.seconds), memory)
    state = memory.vector("state", samples.size)
    together(threads, samples.seconds, work.state_calls(state))
    work.check_moves()
    return differentiate(IncrementalNetwork(samples, state), executor)[0]


def loss(layers: list[Floats], x: Array, t: Integers, executor: Executor) -> float:
    """Return the mean cross entropy, to rounding `TwoLayerNet.loss`.

    Inputs that are zero are left out, which NumPy's product of matrices cannot do: for digits it
    takes half the time. The arguments are those of `gradient`.
    """
    memory = _scratch.take()
    samples = Samples(layers, _finite_inputs(x, memory), t, 0.0)
    work = SharedWork(samples, threads := team(executor, samples.seconds), memory)
    p = np.empty(len(t))
    for part, call, rows in work.parts():
        together(threads, samples.seconds, [call])
        p[part.start : part.stop] = rows[:, samples.label]
    _scratch.give_back(memory)
    return negative_log_likelihood(p)


def _finite_inputs(x: Array, memory: _scratch.Memory) -> Inputs:
    """Return `x` without its zeros, if all of it is finite."""
    inputs = compress(x, memory)
    if not np.isfinite(inputs.largest):
        finite(x)
    return inputs


def finite(x: Array) -> Array:
    """Return `x` (N, D) if all of it is finite."""
    # NaN and infinity show in the extremes.
    if not (np.isfinite(x.min()) and np.isfinite(x.max())):
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"x must be finite, got {x[row, column]} for sample {row}, feature {column}"
        )
    return x
