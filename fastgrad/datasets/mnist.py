"""The book's load_mnist, for the embedded digits, the full MNIST and Fashion-MNIST."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgrad.datasets.fetch import FILES, SOURCES, fetch
from fastgrad.datasets.idx import read_idx

EMBEDDED = "mnist-5k"
DATASETS = (EMBEDDED, *SOURCES)
CLASSES = 10
SIDE = 28

Split = tuple[NDArray[Any], NDArray[Any]]


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    dataset: str = EMBEDDED,
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[Split, Split]:
    """Load handwritten digits, or Fashion-MNIST, as the book's function of this name does.

    Parameters
    ----------
    normalize : bool
        Whether the pixels are float32 in [0, 1] (`images / 255`) or uint8 in [0, 255].
    flatten : bool
        Whether an image is one row of 784 pixels or has the shape (1, 28, 28).
    one_hot_label : bool
        Whether a label is a row of ten float64, one of them 1, or a class number, int64.
    dataset : {'mnist-5k', 'mnist', 'fashion-mnist'}
        ``'mnist-5k'``: 4,000 and 1,000 digits of MNIST, inside the package, never the network.
        The other two: 60,000 and 10,000 images, downloaded once (11 and 30 MB) to the user's
        cache folder, or to the folder that the environment variable FASTGRAD_DATA_DIR names.
    data_dir : path-like, optional
        A folder that holds the four IDX files of `dataset`, gzipped or plain. They are read as
        they are: no download, no hash. Not for ``'mnist-5k'``, which has no files.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuples of ndarray
        Images ``(N, 784)`` or ``(N, 1, 28, 28)``, labels ``(N,)`` or ``(N, 10)``. The arrays are
        the caller's own.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a file is damaged or holds something else.
    OSError
        If the download fails, its folder cannot be written, or `data_dir` lacks one of the files.

    Examples
    --------
    >>> from fastgrad.datasets import load_mnist
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()
    >>> x_train.shape, x_train.dtype, t_test.shape, t_test.dtype
    ((4000, 784), dtype('float32'), (1000,), dtype('int64'))
    """
    sets = f"one of {', '.join(map(repr, DATASETS))}"
    flags = {"normalize": normalize, "flatten": flatten, "one_hot_label": one_hot_label}
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(
                f"{name} must be True or False, got {flag!r}; the data set is named by dataset=, "
                f"{sets}"
            )
    if not isinstance(dataset, str) or dataset not in DATASETS:
        raise ValueError(f"dataset must be {sets}, got {dataset!r}")
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise TypeError(f"data_dir must be the path of a folder or None, got {data_dir!r}")
    if dataset == EMBEDDED and data_dir is not None:
        raise ValueError(
            f"data_dir goes with files, and {EMBEDDED!r} is inside the package, got "
            f"{os.fspath(data_dir)!r}: leave data_dir out, or pass dataset='mnist'"
        )
    train, test = _splits(dataset, data_dir)
    shape = (-1, SIDE * SIDE) if flatten else (-1, 1, SIDE, SIDE)
    options = shape, normalize, one_hot_label
    return _convert(train, *options), _convert(test, *options)


def _splits(dataset: str, data_dir: str | os.PathLike[str] | None) -> list[Split]:
    if dataset == EMBEDDED:
        with files("fastgrad.datasets").joinpath("mnist_5k.npz").open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            return [(arrays[f"x_{part}"], arrays[f"t_{part}"]) for part in ("train", "test")]
    if data_dir is None:
        paths = fetch(dataset)
    else:
        paths = [_find(name, Path(os.path.expanduser(data_dir))) for name in FILES]
    return [_read_split(*paths[:2]), _read_split(*paths[2:])]


def _find(name: str, folder: Path) -> Path:
    plain = name.removesuffix(".gz")
    # Some archives spell train-images.idx3-ubyte.
    dotted = plain.replace("-idx", ".idx")
    candidates = (name, plain, dotted, f"{dotted}.gz")
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    state = "has none of" if folder.is_dir() else "is not a folder; looked there for"
    raise FileNotFoundError(
        f"data_dir {folder} {state} {', '.join(candidates)}; put one of them there, or leave "
        "data_dir out to download the data set"
    )


def _read_split(images_path: Path, labels_path: Path) -> Split:
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"{images_path} must hold images of {SIDE} x {SIDE} pixels, got "
            f"{images.shape[1]} x {images.shape[2]}"
        )
    if labels.max() >= CLASSES:
        raise ValueError(f"{labels_path} must hold labels from 0 to 9, got {labels.max()}")
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} and {labels_path} must hold one label for each image, got "
            f"{len(images):,} images and {len(labels):,} labels: they are of different sets"
        )
    return images, labels


def _convert(split: Split, shape: tuple[int, ...], normalize: bool, one_hot_label: bool) -> Split:
    images, labels = split
    x = np.divide(images, 255, dtype=np.float32) if normalize else images
    t = np.eye(CLASSES)[labels] if one_hot_label else labels.astype(np.int64)
    return x.reshape(shape), t
