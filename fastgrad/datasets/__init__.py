"""Digits to train on: five thousand in the package, the full sets downloaded on demand."""

from fastgrad.datasets.mnist import load_mnist

__all__ = ["load_mnist"]
