import runpy
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import settings

from fastgrad._parallel import cost
from fastgrad._parallel.team import Team

# The first example may compile something.
settings.register_profile("fastgrad", deadline=None, database=None)
settings.load_profile("fastgrad")


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a script's `main` here: to start Python takes longer than to refuse an option."""

    def call(script, *options, folder):
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(script.parent)
        generator, status = np.random.get_state(), 0
        try:
            runpy.run_path(str(script))["main"](list(map(str, options)))
        except SystemExit as stopped:
            status = stopped.code
            if isinstance(status, str):  # Python prints it, and returns 1.
                print(status, file=sys.stderr)
                status = 1
        finally:
            np.random.set_state(generator)
        return subprocess.CompletedProcess(options, status, *capsys.readouterr())

    return call


@pytest.fixture
def always(monkeypatch):
    """Hand all work out, however short."""
    monkeypatch.setattr(Team, "saves", lambda self, *work: float(self.workers > 1))
    monkeypatch.setattr(cost, "SLOW", 0.0)
    monkeypatch.setattr(Team, "pays", lambda self, saved: self.workers > 1)


@pytest.fixture
def make_net(rng):
    """Build a network with weights of a given size, so that no formula hides behind 0.01."""

    def make(inputs=7, hidden=5, classes=4, *, size=1.0):
        from fastgrad import TwoLayerNet

        net = TwoLayerNet(inputs, hidden, classes, rng=rng)
        for name, array in net.params.items():
            net.params[name] = (size if name == "W2" else 1.0) * rng.standard_normal(array.shape)
        return net

    return make


@pytest.fixture
def make_batch(rng):
    """Draw samples of which half the features are zero, as in a picture of a digit."""

    def make(samples=6, inputs=7, classes=4, *, largest=1.0, smallest=0.0):
        x = rng.uniform(smallest, largest, (samples, inputs))
        x *= rng.random((samples, inputs)) < 0.5
        return x, rng.integers(0, classes, samples)

    return make


def poisoned(shape, dtype=float):
    """Stand in for `np.empty`, with NaN or 1 in all places."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1, dtype)


def largest_difference(first, second):
    """Return the largest absolute difference between two dicts of arrays; NaN counts."""
    assert first.keys() == second.keys()
    assert all(first[name].shape == second[name].shape for name in first)
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def same_bits(first, second):
    return first.keys() == second.keys() and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )
