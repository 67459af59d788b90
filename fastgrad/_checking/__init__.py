"""Compares a gradient with the numerical one and explains the differences."""
