"""fastgrad: numerical gradients, exact and fast."""

import logging
from typing import TYPE_CHECKING, Any

from fastgrad._version import __version__
from fastgrad.directional import directional_derivative
from fastgrad.gradient import grad, numerical_gradient
from fastgrad.hessian import hessian
from fastgrad.hessian_vector import hessian_vector_product
from fastgrad.info import Info
from fastgrad.jacobian import jacobian
from fastgrad.stencils import STENCILS, Stencil
from fastgrad.sweep import StepSweep, step_sweep

if TYPE_CHECKING:
    from fastgrad.datasets import load_mnist
    from fastgrad.gradcheck import GradientMismatch, assert_gradient, check_gradient
    from fastgrad.two_layer_net import TwoLayerNet

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
    "GradientMismatch": "fastgrad.gradcheck",
    "TwoLayerNet": "fastgrad.two_layer_net",
    "assert_gradient": "fastgrad.gradcheck",
    "check_gradient": "fastgrad.gradcheck",
    "load_mnist": "fastgrad.datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
