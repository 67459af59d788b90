"""scripts/train.py when it is killed, stopped, resumed, or led astray."""

import csv
import dataclasses
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_train_script import SCRIPT, run

from fastgrad.training import newest_first, read
from fastgrad.training.checkpoint_file import write

OPTIONS = ["--iterations", 40, "--hidden-size", 8, "--seed", 0, "--output-dir", "out"]
STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run that leaves checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    result = run(*OPTIONS, "--checkpoint-every", 15, folder=folder)
    assert result.returncode == 0, result.stderr
    return folder / "out"


def interrupted(number, *options, step, folder):
    """Run the script until that step is printed, send the signal, return (status, output)."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if line.startswith(f"[iter={step}]"):
            break
    process.send_signal(number)
    return process.wait(), *process.communicate()


def ends_alike(folder, expected):
    with np.load(folder / "params.npz") as a, np.load(expected / "params.npz") as b:
        assert all(a[name].tobytes() == b[name].tobytes() for name in b)
    assert table(folder) == table(expected)
    return True


def table(folder):
    with open(folder / "history.csv", newline="") as file:
        return [row[:-1] for row in csv.reader(file)]


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in STATUS if STATUS[n] > 0)],
)
def test_it_ends_where_the_uninterrupted_run_ends(finished, number, tmp_path, call):
    # Twice: killed, resumed, killed again.
    step = random.randrange(4, 15)  # another moment each time, on purpose
    options = [*OPTIONS, "--checkpoint-every", 3]
    status, _, _ = interrupted(number, *options, step=step, folder=tmp_path)
    assert status == STATUS[number], step
    options = [*options, "--resume", "out"]
    status, _, _ = interrupted(number, *options, step=step + 10, folder=tmp_path)
    assert status == STATUS[number], step
    assert call(SCRIPT, *options, folder=tmp_path).returncode == 0
    assert ends_alike(tmp_path / "out", finished), step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_writes_what_is_there_and_says_how_to_go_on(finished, number, tmp_path, call):
    status, _, errors = interrupted(number, *OPTIONS, step=9, folder=tmp_path)
    assert status == STATUS[number]
    assert "Traceback" not in errors
    (checkpoint,) = newest_first(tmp_path / "out")
    done = read(checkpoint).iteration
    assert 10 <= done < 40
    assert len(table(tmp_path / "out")) == 1 + done
    assert f"out/{checkpoint.name} is the newest checkpoint" in errors
    python, script, *options = shlex.split(errors.splitlines()[-1])
    assert (python, script, options[-2:]) == (sys.executable, str(SCRIPT), ["--resume", "out"])
    assert call(SCRIPT, *options, folder=tmp_path).returncode == 0
    assert ends_alike(tmp_path / "out", finished)


def test_a_stop_before_the_first_step_leaves_nothing(tmp_path):
    code = f"""
import os, runpy, signal, sys
import fastgrad
def load(**options):
    os.kill(os.getpid(), signal.SIGTERM)
fastgrad.load_mnist = load
sys.path.insert(0, {str(SCRIPT.parent)!r})
sys.argv = ["train.py", "--output-dir", "out"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 143
    assert "nothing was written" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_stop_while_the_results_are_written_loses_nothing(finished, tmp_path, call, monkeypatch):
    sent = []

    def slow(*given, **options):
        if not sent:  # A second one would end this process where the first was not heard.
            sent.append(signal.raise_signal(signal.SIGINT))

    with monkeypatch.context() as patched:
        patched.setattr("fastgrad.reference.numerical_gradient", slow)
        done = call(SCRIPT, *OPTIONS, folder=tmp_path)
    assert done.returncode == 130
    assert "checkpoint-00000040.npz is the newest" in done.stderr
    assert not (tmp_path / "out/params.npz").exists()
    assert call(SCRIPT, "--resume", "out", folder=tmp_path).returncode == 0
    assert ends_alike(tmp_path / "out", finished)


def test_a_run_that_ends_leaves_a_checkpoint(finished, tmp_path, call):
    assert call(SCRIPT, *OPTIONS, folder=tmp_path).returncode == 0
    assert names(tmp_path / "out") == ["40"]
    assert names(finished) == ["40", "30"]


@pytest.mark.slow
def test_more_iterations_and_another_folder(finished, tmp_path, call):
    longer = ["--iterations", 60]
    result = call(SCRIPT, "--resume", finished, *longer, "--output-dir", "on", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"iter=(\d+)", result.stdout) == [str(step) for step in range(39, 60)]
    assert call(SCRIPT, *OPTIONS, *longer, folder=tmp_path).returncode == 0
    assert ends_alike(tmp_path / "on", tmp_path / "out")
    assert names(finished) == ["40", "30"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch-size", 50], "batch_size must be what it was"),
        (["--learning-rate", 0.5], "learning_rate must be what it was"),
        (["--hidden-size", 9], "hidden_size must be what it was"),
        (["--hidden-size", 7], "hidden_size must be what it was"),
        (["--dataset", "mnist"], "dataset must be what it was when the run began: "),
        (["--activation", "tanh"], "activation must be what it was"),
        (["--epochs", 0], "iterations must be a whole number from 1, got 0"),
        (["--method", "full"], "method must be what it was"),
        (["--step", 1e-3], "h must be what it was"),
        (["--seed", 1], "seed must be what it was"),
        (["--eval-every", 2], "eval_every must be what it was"),
        (["--iterations", 39], "iterations must be at least 40"),
        (["--resume", "nowhere"], "nowhere"),
        (["--checkpoint-every", 0], "every must be a whole number"),
        (["--checkpoint-minutes", "nan"], "minutes must be a finite"),
    ],
)
def test_what_does_not_agree_is_refused(finished, options, words, tmp_path, call):
    before = {path: path.read_bytes() for path in finished.iterdir()}
    result = call(SCRIPT, "--resume", finished, *options, folder=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1]
    assert "iter=" not in result.stdout
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_a_checkpoint_chooses_no_path(finished):
    config = read(finished).config
    assert set(config) == {
        *("iterations", "batch_size", "learning_rate", "method", "h", "eval_every"),
        *(
            "network",
            "hidden_size",
            "activation",
            "dataset",
            "seed",
            "data",
            "net",
            "every",
            "minutes",
        ),
    }


def test_a_resumed_run_writes_checkpoints_as_often_as_before(finished, tmp_path, call):
    options = ["--resume", finished, "--output-dir", tmp_path / "on", "--iterations", 50]
    assert call(SCRIPT, *options, folder=tmp_path).returncode == 0
    assert names(tmp_path / "on") == ["50", "45"]
    saved = read(tmp_path / "on")
    assert (saved.config["every"], saved.config["minutes"]) == (15, 10.0)
    options = [*options[:2], "--output-dir", tmp_path / "other", "--iterations", 43]
    others = ["--checkpoint-every", 2, "--checkpoint-minutes", 3]
    assert call(SCRIPT, *options, *others, folder=tmp_path).returncode == 0
    assert names(tmp_path / "other") == ["43", "42"]
    assert names(finished) == ["40", "30"]


def names(folder):
    return [path.name[-6:-4] for path in newest_first(folder)]


@pytest.mark.parametrize(
    ("params", "config", "words"),
    [
        ({"b1": np.zeros(9)}, {}, "it holds no network of hidden_size"),
        ({"W1": np.zeros((784, 9))}, {}, "params must be what it was"),
        ({}, {"hidden_size": [10**6]}, "it holds no network of hidden_size"),
        ({}, {"hidden_size": [1, 10**6, 10**6]}, "it holds no network of hidden_size"),
        ({}, {"hidden_size": [-8]}, "hidden_size must be a whole number from 1, got -8"),
        ({}, {"hidden_size": []}, "it holds no network of hidden_size"),
        ({}, {"hidden_size": "8"}, "it holds no network of hidden_size"),
        ({}, {"hidden_size": ["8"]}, "it holds no network of hidden_size"),
        ({}, {"network": "conv"}, "it holds no network of hidden_size"),
        ({}, {"network": "magic"}, "--network must be two-layer, multi-layer or conv, got 'magic'"),
        ({}, {"activation": "tanh"}, "--network multi-layer"),
        ({}, {"dataset": ["mnist"]}, "dataset must be one of"),
        ({}, {"dataset": "../../etc"}, "dataset must be"),
        ({}, {"batch_size": "100"}, "batch_size must be a whole number from 1, got '100'"),
        ({}, {"learning_rate": "1"}, "learning_rate must be a finite number above 0, got '1'"),
        ({}, {"output_dir": "/elsewhere"}, "output_dir must be what it was"),
        ({}, {"batch_size": 10**15}, "allocate"),
        ({}, {"method": "magic"}, "method must be one of"),
        ({}, {"seed": None}, ""),
        ({}, {"every": "3"}, "every must be a whole number from 1, got '3'"),
        ({}, {"every": 0}, "every must be a whole number from 1, got 0"),
        ({}, {"minutes": "5"}, "minutes must be a finite number above 0, got '5'"),
        ({}, {"minutes": -1.0}, "minutes must be a finite number above 0"),
    ],
)
def test_a_hostile_checkpoint_is_refused(finished, tmp_path, call, params, config, words):
    good = read(finished)
    changes = {"params": params or good.params, "config": {**good.config, **config}}
    write(tmp_path, dataclasses.replace(good, **changes))
    longer = ["--iterations", 41]
    result = call(SCRIPT, "--resume", tmp_path, *longer, folder=tmp_path)
    assert result.returncode == (2 if words else 0), result.stderr
    assert words in " ".join(result.stderr.splitlines()[-1:])
    assert "Traceback" not in result.stderr


def test_a_folder_with_another_run_is_refused(finished, tmp_path, call):
    result = call(SCRIPT, "--output-dir", finished, "--iterations", 1, folder=tmp_path)
    assert result.returncode == 2
    assert "of an earlier run" in result.stderr


def test_of_a_damaged_checkpoint_the_one_before_it_is_offered(finished, tmp_path, call):
    out = tmp_path / "out"
    out.mkdir()
    for path in newest_first(finished):
        (out / path.name).write_bytes(path.read_bytes())
    newest, older = newest_first(out)
    os.truncate(newest, 5000)
    result = call(SCRIPT, "--resume", "out", folder=tmp_path)
    assert result.returncode == 2
    (offered,) = re.findall(r"the one before it, resume (\S+)", result.stderr)
    assert Path(offered) == older.relative_to(tmp_path)
    assert call(SCRIPT, "--resume", offered, folder=tmp_path).returncode == 0
    assert ends_alike(out, finished)
    assert read(out).iteration == 40


def test_divergence_ends_it_with_what_was_good(tmp_path, call):
    options = ["--learning-rate", 1e20, "--checkpoint-every", 1, "--hidden-size", 4]
    with np.errstate(all="ignore"):
        result = call(SCRIPT, *options, "--output-dir", "out", folder=tmp_path)
    assert result.returncode == 1
    assert "diverged in iteration 0" in result.stderr
    assert (
        "the learning rate, 1e+20, is too high; the last good checkpoint is none" in result.stderr
    )
    assert len(table(tmp_path / "out")) == 2
    assert newest_first(tmp_path / "out") == []


@pytest.mark.slow
def test_the_library_s_generator_survives_a_kill(tmp_path):
    code = """
import os, signal, sys
import numpy as np
from fastgrad import TwoLayerNet, load_mnist
from fastgrad.training import Checkpoints, newest_first, read, train
rng = np.random.default_rng(5)
net = TwoLayerNet(784, 4, 10, rng=rng)
saved = read("out") if newest_first("out") else None
def kill(history):
    if len(history.loss) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
train(net, load_mnist(), iterations=30, rng=rng, resume=saved, on_evaluation=kill,
      checkpoints=Checkpoints("out", every=4))
np.savez("params.npz", **net.params)
"""
    for folder, moments in (("once", [0]), ("killed", [7, 15, 0])):
        (tmp_path / folder).mkdir()
        for moment in moments:
            command = [sys.executable, "-c", code, str(moment)]
            done = subprocess.run(command, cwd=tmp_path / folder, capture_output=True, text=True)
            assert done.returncode == (-9 if moment else 0), done.stderr
    with np.load(tmp_path / "once/params.npz") as a, np.load(tmp_path / "killed/params.npz") as b:
        assert all(a[name].tobytes() == b[name].tobytes() for name in a)
