"""The library logs to "fastgrad", and nobody hears it who has not asked."""

import logging
import subprocess
import sys
from concurrent.futures import BrokenExecutor

from conftest import same_bits

from fastgrad import TwoLayerNet, _lost_workers, load_mnist
from fastgrad.checkpoints import Checkpoints, read
from fastgrad.training import train


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
    assert [record.name for record in caplog.records] == [
        "fastgrad.checkpoints",
        "fastgrad.training",
    ]
    assert caplog.records[0].getMessage() == f"wrote {saved.path}"
    assert f"went on after 2 iterations, from {saved.path}" in caplog.text


def test_who_asks_hears_of_lost_workers(caplog):
    assert not _lost_workers.lost(ValueError("of the function"))
    assert caplog.records == []
    assert _lost_workers.lost(BrokenExecutor("killed"))
    assert caplog.record_tuples == [
        ("fastgrad._lost_workers", logging.WARNING, "workers were lost: BrokenExecutor('killed')")
    ]
