"""Whole processes, from the start of Python to its end.

The 60,000 + 10,000 images of the long runs are the embedded digits, each in 14 places. What has
been compiled lies in numba's cache, but for the first run.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.claims import claim
from benchmarks.inputs import write_dataset

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.benchmark(group="whole processes")


def python(*arguments, **environment):
    """Run Python on this checkout, and raise if it fails."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.fixture
def train(tmp_path):
    """Return a function that runs the training script with some options."""

    def run(*options, **environment):
        fixed = ("--workers", 2, "--seed", 0, "--no-progress")
        folder = tempfile.mkdtemp(dir=tmp_path)  # One with checkpoints is refused.
        python("scripts/train.py", *fixed, "--output-dir", folder, *options, **environment)

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory, digits_70000):
    """Write the digits as files; return the options that train on them."""
    folder = tmp_path_factory.mktemp("digits")
    write_dataset(folder, *digits_70000, train=len(digits_70000[0]) * 6 // 7)
    return "--dataset", "mnist", "--data-dir", folder


@pytest.fixture
def seconds(benchmark):
    """Return a function that times a whole process and claims that it took no longer than that."""

    def measure(what, process, limit, *, rounds=1):
        benchmark.pedantic(process, rounds=rounds)
        if benchmark.stats is not None:  # None where timing is off
            claim(benchmark, what, benchmark.stats.stats.median, "s", at_most=limit)

    return measure


def test_sixteen_epochs(quick, train, data, seconds):
    train(*data, "--iterations", 1)  # fills numba's cache
    epochs = 1 if quick else 16
    what = "scripts/train.py, 16 epochs of 60,000 images (9,600 gradients)"
    seconds(what, lambda: train(*data, "--epochs", epochs, "--eval-every", "epoch"), 30)


def test_the_article_s_run(quick, train, data, seconds):
    train(*data, "--iterations", 1)
    iterations = 2 if quick else 100
    what = "scripts/train.py, 100 iterations, accuracy on 60,000 + 10,000 images after each"
    seconds(what, lambda: train(*data, "--iterations", iterations), 10, rounds=3)


def test_first_run_after_install(quick, train, tmp_path, seconds):
    fresh = {} if quick else {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    iterations = 2 if quick else 100
    what = "scripts/train.py, first run: nothing compiled, 100 iterations on the embedded digits"
    seconds(what, lambda: train("--iterations", iterations, **fresh), 20)


@pytest.mark.parametrize(
    ("statement", "limit"),
    [("import fastgrad", 50), ("from fastgrad import TwoLayerNet, load_mnist", None)],
)
def test_import_against_numba(benchmark, compare, statement, limit):
    compare(
        lambda: python("-c", statement),
        lambda: python("-c", "import numba"),
        "import_numba_over_ours",
        10,
        warmup_rounds=1,
    )
    info = benchmark.extra_info
    more = 1e3 * (info["seconds"] - info["import_numba_over_ours_seconds"])
    claim(benchmark, f"{statement}: longer than import numba by", more, "ms", at_most=limit)
