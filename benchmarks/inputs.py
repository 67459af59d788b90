"""Inputs of any number and size, made from the embedded digits or as sparse as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from fastgrad import load_mnist

NONZERO = 0.19
"""The share of a digit's pixels that are not zero."""

SHIFTS = tuple(itertools.product((0, -1, 1, -2), repeat=2))[:14]
"""Rows and columns by which the 5,000 digits are moved: 14 times 5,000 are 70,000."""


def many_digits(count):
    """Return up to 70,000 distinct digits: those of the package, each moved by a few pixels.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    images : ndarray of uint8, shape (count, 28, 28)
    labels : ndarray of uint8, shape (count,)
    """
    splits = load_mnist(normalize=False, flatten=False)
    images, labels = (np.concatenate(arrays) for arrays in zip(*splits, strict=True))
    moved = np.concatenate([np.roll(images[:, 0], shift, axis=(1, 2)) for shift in SHIFTS])[:count]
    if len({image.tobytes() for image in moved}) < count:
        raise ValueError(f"count must be at most {len(images) * len(SHIFTS)}, got {count}")
    return moved, np.resize(labels, count).astype(np.uint8)


def as_rows(images):
    """Return images as `load_mnist` does: one row each, float32 from 0 to 1."""
    return images.reshape(len(images), -1) / np.float32(255)


def write_dataset(folder, images, labels, train):
    """Write the first `train` images as the training set and the others as the test set."""
    for name, part in (("train", slice(train)), ("t10k", slice(train, None))):
        _write_idx(Path(folder, f"{name}-images-idx3-ubyte"), images[part])
        _write_idx(Path(folder, f"{name}-labels-idx1-ubyte"), labels[part])


def _write_idx(path, array):
    """Write uint8 in the IDX format: type 8, number of axes, lengths in big endian, bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


def random_batch(samples, features):
    """Return pixels (float32, as many of them zero as in digits) and labels from 0 to 9."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 1, (samples, features)) * (rng.random((samples, features)) < NONZERO)
    return x.astype(np.float32), rng.integers(0, 10, samples)
