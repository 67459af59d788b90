"""The library logs to "fastgrad", and nobody hears it who has not asked."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import same_bits

from fastgrad import TwoLayerNet, load_mnist, numerical_gradient
from fastgrad.training import Checkpoints, read, train


def test_it_is_silent_by_default():
    code = "import fastgrad, logging; logging.getLogger('fastgrad.any').error('a word')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_who_asks_hears_of_checkpoints(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="fastgrad"):
        net = TwoLayerNet(784, 3, 10)
        train(net, load_mnist(), iterations=2, checkpoints=Checkpoints(tmp_path))
        saved = read(tmp_path)
        assert same_bits(saved.params, net.params)
        train(net, load_mnist(), iterations=2, resume=saved)
    assert caplog.records[0].getMessage() == f"wrote {saved.path}"
    assert f"went on after 2 iterations, from {saved.path}" in caplog.text


@pytest.mark.usefixtures("always")
def test_who_asks_hears_of_lost_workers_and_why_work_is_shared(caplog, tmp_path):
    here, flag = os.getpid(), tmp_path / "flag"

    def f(x):
        time.sleep(0.05)
        if os.getpid() != here:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
        return float(x @ x)

    numerical_gradient(f, np.ones(20), workers=2, backend="processes")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].name == "fastgrad"
    assert "workers were lost: BrokenProcessPool" in caplog.text


def test_who_asks_hears_why_work_is_not_shared(caplog, monkeypatch):
    # On a busy machine any f may take long enough to be handed out.
    monkeypatch.setattr("fastgrad._parallel.schedule.FIRST_LOOK", 60.0)
    with caplog.at_level(logging.DEBUG, logger="fastgrad"):
        numerical_gradient(lambda x: float(x @ x), np.ones(3), workers=2)
    assert caplog.records[-1].getMessage() == "serial: 7 evaluations here, 0 by 1 workers"
