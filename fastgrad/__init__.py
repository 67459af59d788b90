"""fastgrad: numerical gradients, exact and fast."""

import logging
from typing import TYPE_CHECKING, Any

from fastgrad._version import __version__
from fastgrad.gradient import Info, grad, numerical_gradient
from fastgrad.stencils import STENCILS, Stencil

if TYPE_CHECKING:
    from fastgrad.datasets import load_mnist
    from fastgrad.two_layer_net import TwoLayerNet

__all__ = [
    "STENCILS",
    "Info",
    "Stencil",
    "TwoLayerNet",
    "__version__",
    "grad",
    "load_mnist",
    "numerical_gradient",
]

# Silent until the user's program gives the logger "fastgrad" a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Loaded when first used: a worker that differentiates a Python function needs no numba.
_LAZY = {"TwoLayerNet": "fastgrad.two_layer_net", "load_mnist": "fastgrad.datasets"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
