"""fastgrad: numerical gradients, exact and fast."""

from typing import TYPE_CHECKING, Any

from fastgrad.gradient import Info, grad, numerical_gradient
from fastgrad.stencils import STENCILS, Stencil

if TYPE_CHECKING:
    from fastgrad.datasets import load_mnist
    from fastgrad.gradcheck import GradientMismatch, assert_gradient, check_gradient
    from fastgrad.two_layer_net import TwoLayerNet

__all__ = [
    "STENCILS",
    "GradientMismatch",
    "Info",
    "Stencil",
    "TwoLayerNet",
    "assert_gradient",
    "check_gradient",
    "grad",
    "load_mnist",
    "numerical_gradient",
]
__version__ = "0.1.0"

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
