"""fastgrad: numerical gradients, exact and fast."""

from fastgrad.datasets import load_mnist
from fastgrad.two_layer_net import TwoLayerNet

__all__ = ["TwoLayerNet", "load_mnist"]
__version__ = "0.1.0"
