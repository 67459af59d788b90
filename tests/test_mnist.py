"""load_mnist: shapes and types for every flag, and files that are not what they should be."""

import doctest
import gzip
import hashlib
import itertools
import os
import re
import struct
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from fastgrad.datasets import fetch as fetch_module
from fastgrad.datasets import load_mnist, mnist
from fastgrad.datasets.fetch import FILES

FLAGS = list(itertools.product([True, False], repeat=3))
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def encode(array):
    return (
        bytes((0, 0, 8, array.ndim))
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def some_set():
    """Small arrays for the four files, in the order of FILES."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (12, 28, 28)),
        np.arange(12) % 10,
        rng.integers(0, 256, (5, 28, 28)),
        np.arange(5),
    ]


def write(folder, arrays, *, names=FILES, pack=gzip.compress):
    folder.mkdir(exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        (folder / name).write_bytes(pack(encode(array)))


@pytest.mark.parametrize(("normalize", "flatten", "one_hot_label"), FLAGS)
def test_shapes_and_types_for_every_flag(normalize, flatten, one_hot_label):
    with np.load(Path(mnist.__file__).with_name("mnist_5k.npz")) as file:
        raw = dict(file)
    splits = load_mnist(normalize, flatten, one_hot_label)
    for (x, t), part, n in zip(splits, ("train", "test"), (4000, 1000), strict=True):
        assert x.shape == ((n, 784) if flatten else (n, 1, 28, 28))
        assert x.dtype == (np.float32 if normalize else np.uint8)
        pixels = raw[f"x_{part}"]
        expected = pixels.astype(np.float32) / 255.0 if normalize else pixels
        np.testing.assert_array_equal(x.reshape(n, 784), expected)
        labels = raw[f"t_{part}"]
        if one_hot_label:
            assert (t.shape, t.dtype) == ((n, 10), np.float64)
            assert set(np.unique(t)) == {0.0, 1.0}
            np.testing.assert_array_equal(t.sum(axis=1), 1.0)
            np.testing.assert_array_equal(t.argmax(axis=1), labels)
        else:
            assert (t.shape, t.dtype) == ((n,), np.int64)
            np.testing.assert_array_equal(t, labels)


def test_normalized_pixels_reach_from_zero_to_one():
    for x, _ in load_mnist():
        assert (x.min(), x.max()) == (0.0, 1.0)


def test_the_embedded_digits_are_balanced():
    (_, t_train), (_, t_test) = load_mnist()
    np.testing.assert_array_equal(np.bincount(t_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(t_test), [100] * 10)


def test_the_embedded_file_is_the_one_that_its_readme_names():
    folder = files("fastgrad.datasets")
    sha256 = hashlib.sha256(folder.joinpath("mnist_5k.npz").read_bytes()).hexdigest()
    readme = folder.joinpath("README.md").read_text(encoding="utf-8")
    assert re.findall(r"\b[0-9a-f]{64}\b", readme) == [sha256]
    assert "CC BY-SA 3.0" in readme


def test_the_arrays_are_the_callers_own():
    for flags in FLAGS:
        first = load_mnist(*flags)
        for array in itertools.chain(*first):
            array[:] = 7
        assert not (load_mnist(*flags)[0][0] == 7).all()


def test_the_embedded_digits_open_no_socket_and_import_no_pooch():
    script = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('a socket')\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import fastgrad.datasets\n"
        "fastgrad.datasets.load_mnist()\n"
        "assert not {'pooch', 'requests'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "FASTGRAD_DATA_DIR": "/nonexistent"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(
    ("pack", "pattern"),
    [
        (gzip.compress, "{}-idx{}-ubyte.gz"),
        (bytes, "{}-idx{}-ubyte"),
        (bytes, "{}.idx{}-ubyte"),
        (gzip.compress, "{}.idx{}-ubyte.gz"),
    ],
)
def test_files_in_a_folder_are_read_in_every_spelling(tmp_path, monkeypatch, name, pack, pattern):
    monkeypatch.setattr(mnist, "fetch", None)
    stems = ("train-images", "train-labels", "t10k-images", "t10k-labels")
    names = [pattern.format(stem, n) for stem, n in zip(stems, (3, 1, 3, 1), strict=True)]
    arrays = some_set()
    write(tmp_path, arrays, names=names, pack=pack)
    train, test = load_mnist(False, dataset=name, data_dir=str(tmp_path))
    for got, expected in zip((*train, *test), arrays, strict=True):
        np.testing.assert_array_equal(got, expected.reshape(got.shape))


@pytest.mark.parametrize(("normalize", "flatten", "one_hot_label"), FLAGS)
def test_files_take_the_same_flags(tmp_path, normalize, flatten, one_hot_label):
    write(tmp_path, some_set())
    splits = load_mnist(normalize, flatten, one_hot_label, dataset="mnist", data_dir=tmp_path)
    for (x, t), n in zip(splits, (12, 5), strict=True):
        assert x.shape == ((n, 784) if flatten else (n, 1, 28, 28))
        assert x.dtype == (np.float32 if normalize else np.uint8)
        assert t.shape == ((n, 10) if one_hot_label else (n,))


def test_without_a_folder_the_files_come_from_fetch(tmp_path, monkeypatch):
    def fetch(dataset):
        write(tmp_path / dataset, some_set())
        return [tmp_path / dataset / name for name in FILES]

    monkeypatch.setattr(mnist, "fetch", fetch)
    (x_train, _), (x_test, _) = load_mnist(dataset="fashion-mnist")
    assert (len(x_train), len(x_test)) == (12, 5)
    assert (tmp_path / "fashion-mnist").is_dir()


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "digits", some_set())
    assert len(load_mnist(dataset="mnist", data_dir="~/digits")[0][0]) == 12


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(tmp_path, missing):
    write(tmp_path, some_set())
    (tmp_path / missing).unlink()
    (tmp_path / missing).mkdir()  # a folder of that name is no file
    with pytest.raises(FileNotFoundError, match="data_dir") as caught:
        load_mnist(dataset="mnist", data_dir=tmp_path)
    plain = missing.removesuffix(".gz")
    for word in (str(tmp_path), missing, f"{plain},", plain.replace("-idx", ".idx")):
        assert word in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere", "~nobody-here/nowhere", "a\0nowhere"])
def test_a_missing_folder_is_named(path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        load_mnist(dataset="mnist", data_dir=path)


@pytest.mark.parametrize(
    ("index", "array", "words"),
    [
        (1, np.full(12, 10), ["train-labels", "0 to 9", "got 10"]),
        (3, np.full(5, 255), ["t10k-labels", "got 255"]),
        (1, np.zeros(11), ["train-images", "train-labels", "12 images and 11 labels"]),
        (2, np.zeros((5, 32, 28)), ["t10k-images", "28 x 28", "got 32 x 28"]),
        (0, np.zeros(12), ["train-images", "00 00 08 03", "00 00 08 01"]),
        (1, np.zeros((12, 28, 28)), ["train-labels", "00 00 08 01", "00 00 08 03"]),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path, index, array, words):
    arrays = some_set()
    arrays[index] = array
    write(tmp_path, arrays)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))) as caught:
        load_mnist(dataset="mnist", data_dir=tmp_path)
    for word in words:
        assert word in str(caught.value)


def test_a_folder_does_not_go_with_the_embedded_digits(tmp_path):
    with pytest.raises(ValueError, match=r"data_dir .*'mnist-5k' is inside the package.*'mnist'"):
        load_mnist(data_dir=tmp_path)


@pytest.mark.parametrize("name", ["MNIST", "mnist_5k", "", None, b"mnist", np.array(["mnist"] * 2)])
def test_an_unknown_set_is_answered_with_the_names(name):
    with pytest.raises(ValueError, match="'mnist-5k', 'mnist', 'fashion-mnist'") as caught:
        load_mnist(dataset=name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["normalize", "flatten", "one_hot_label"])
@pytest.mark.parametrize("value", ["mnist", None, 1, [True]])
def test_a_flag_that_is_none_is_refused(name, value):
    words = rf"{name} must be True or False, got {re.escape(repr(value))}; the data set.*dataset="
    with pytest.raises(TypeError, match=words):
        load_mnist(**{name: value})


def test_the_name_of_a_set_is_no_flag():
    with pytest.raises(TypeError, match=r"normalize must be True or False, got 'mnist'.*dataset="):
        load_mnist("mnist")
    assert load_mnist(np.True_)[0][0].dtype == np.float32


def test_a_folder_must_be_a_path():
    with pytest.raises(TypeError, match="data_dir must be the path of a folder or None, got 5"):
        load_mnist(dataset="mnist", data_dir=5)


def test_what_the_book_does_not_have_is_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        load_mnist(True, True, False, "mnist")


def test_the_doctest_holds():
    failed, attempted = doctest.testmod(mnist)
    assert attempted > 0
    assert failed == 0


def test_every_downloadable_set_is_offered():
    assert set(fetch_module.SOURCES) == {"mnist", "fashion-mnist"}
    assert list(mnist.DATASETS) == ["mnist-5k", *fetch_module.SOURCES]


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_full_fashion_mnist_is_read():
    (x_train, t_train), (x_test, t_test) = load_mnist(
        False, dataset="fashion-mnist", data_dir=DEBIAN
    )
    assert x_train.shape == (60_000, 784)
    assert x_test.shape == (10_000, 784)
    np.testing.assert_array_equal(np.bincount(t_train), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(t_test), [1000] * 10)
