"""One process at a time: real processes, real kills."""

import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fastgrad import TwoLayerNet
from fastgrad.training import Checkpoints, train
from fastgrad.training.lock import NAME, alone_in

HOLD = """
import os, sys, time
from fastgrad.training.lock import alone_in
with alone_in(sys.argv[1]):
    {inside}
    print("in", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holding(folder, inside=""):
    """Start a process that stays in a folder until it is killed, here at the latest."""
    command = [sys.executable, "-c", HOLD.format(inside=inside), folder]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "in\n"
        yield process
        process.kill()


def test_nobody_else_comes_in_and_it_leaves_nothing(tmp_path):
    folder = tmp_path / "made"
    with alone_in(folder):
        with pytest.raises(BlockingIOError, match=r"made is in use: .*stop it, or take another"):
            hold_here(folder)
        hold_here(tmp_path)
    hold_here(folder)
    assert os.listdir(tmp_path) == []
    folder.mkdir()
    hold_here(folder)
    assert os.listdir(folder) == []


def hold_here(folder):
    with alone_in(folder):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_process_however_that_ends(tmp_path, number):
    with holding(tmp_path) as process:
        with pytest.raises(BlockingIOError):
            hold_here(tmp_path)
        process.send_signal(number)
        process.wait()
    hold_here(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_outlives_its_parent_does_not_hold_it(tmp_path):
    fork = (
        "r, w = os.pipe(); os.fork() and os.read(r, 1) or "
        "(os.write(w, b'x'), os.close(1), time.sleep(2), os._exit(0))"
    )
    with holding(tmp_path, fork) as process:
        process.kill()
        process.wait()
        hold_here(tmp_path)


def test_a_lock_that_is_removed_while_another_waits_to_open_it_is_no_lock(tmp_path, monkeypatch):
    # As if its holder had ended just after the file was opened here.
    real, opened = os.open, []

    def late(path, *options):
        handle = real(path, *options)
        if not opened:
            os.unlink(path)
        opened.append(handle)
        return handle

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(BlockingIOError):
        hold_here(tmp_path)
    hold_here(tmp_path)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such thing here")
def test_no_link_leads_it_out_of_the_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / NAME).symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic link"):
        hold_here(inside)
    assert not (tmp_path / "outside").exists()


def test_training_does_not_write_where_another_process_does(tmp_path):
    data = ((np.eye(4), np.arange(4)),) * 2
    net = TwoLayerNet(4, 2, 4)
    before = net.params["W1"].copy()
    with holding(tmp_path):
        with pytest.raises(BlockingIOError, match="in use"):
            train(net, data, iterations=3, checkpoints=Checkpoints(tmp_path))
        assert np.array_equal(net.params["W1"], before)
        assert os.listdir(tmp_path) == [NAME]
    train(net, data, iterations=3, checkpoints=Checkpoints(tmp_path))
    with alone_in(tmp_path):  # it is let go when training ends
        pass
