"""fastgrad: numerical gradients, exact and fast."""

import logging
from typing import TYPE_CHECKING, Any

from fastgrad._derivatives.directional import directional_derivative
from fastgrad._derivatives.gradient import grad, numerical_gradient
from fastgrad._derivatives.hessian import hessian
from fastgrad._derivatives.hessian_vector import hessian_vector_product
from fastgrad._derivatives.info import Info
from fastgrad._derivatives.jacobian import jacobian
from fastgrad._derivatives.step_sweep import StepSweep, step_sweep
from fastgrad._formulas.stencils import STENCILS, Stencil
from fastgrad._version import __version__

if TYPE_CHECKING:
    from fastgrad._checking.check_gradient import GradientMismatch, assert_gradient, check_gradient
    from fastgrad.datasets import load_mnist
    from fastgrad.networks import TwoLayerNet

__all__ = [
    "STENCILS",
    "GradientMismatch",
    "Info",
    "Stencil",
    "StepSweep",
    "TwoLayerNet",
    "__version__",
    "assert_gradient",
    "check_gradient",
    "directional_derivative",
    "grad",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "load_mnist",
    "numerical_gradient",
    "step_sweep",
]

# Silent until the user's program gives the logger "fastgrad" a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Loaded when first used: a worker that differentiates a Python function needs no numba.
_LAZY = {
    "GradientMismatch": "fastgrad._checking.check_gradient",
    "TwoLayerNet": "fastgrad.networks",
    "assert_gradient": "fastgrad._checking.check_gradient",
    "check_gradient": "fastgrad._checking.check_gradient",
    "load_mnist": "fastgrad.datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
