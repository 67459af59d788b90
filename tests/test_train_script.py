"""scripts/train.py as its users call it: in a process of its own."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import book
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from tolerances import TRAJECTORY

from fastgrad import load_mnist

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"
CHECK = SCRIPT.with_name("check_gradient.py")


def run(*options, folder):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, cwd=folder
    )


def losses(output):
    return [float(text) for text in re.findall(r"train_loss=([^,]+),", output)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of ten iterations, with two workers and a small hidden layer."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--iterations", 10, "--hidden-size", 8, "--seed", 0, "--workers", 2]
    return run(*options, "--output-dir", folder / "out", folder=folder), folder / "out"


def test_it_prints_the_article_s_lines_and_the_times(finished):
    result, _ = finished
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for step in range(10):
        number = r"[0-9.]+(e-\d+)?"
        pattern = rf"\[iter={step}\] train_loss={number}, train_acc={number}, test_acc={number}"
        assert re.fullmatch(pattern, lines[step])
    assert re.search(r"10 iterations in [0-9.]+ s", result.stdout)
    assert re.search(r"one gradient \(incremental\): [0-9.e+-]+ ms", result.stdout)
    assert re.search(r"estimate, .*nditer loop would have taken", result.stdout)
    assert result.stderr == ""  # no bar where there is no terminal


def test_it_writes_history_parameters_configuration_and_picture(finished):
    _, folder = finished
    names = ["accuracy.png", "checkpoint-00000010.npz", "config.json", "history.csv", "params.npz"]
    assert sorted(os.listdir(folder)) == names
    with open(folder / "history.csv", newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == [str(i) for i in range(10)]
    with np.load(folder / "params.npz", allow_pickle=False) as params:
        shapes = {name: params[name].shape for name in params}
    assert shapes == {"W1": (784, 8), "b1": (8,), "W2": (8, 10), "b2": (10,)}
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["step"], config["iterations"]) == (0, 1e-4, 10)
    assert config["timing"]["gradient_ms"] > 0
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_repeats_the_run(finished, tmp_path, call):
    options = ["--iterations", 10, "--hidden-size", 8, "--seed", 0, "--output-dir", "out"]
    call(SCRIPT, *options, folder=tmp_path)
    with np.load(tmp_path / "out/params.npz") as again, np.load(finished[1] / "params.npz") as once:
        assert all(again[name].tobytes() == once[name].tobytes() for name in once)


@pytest.mark.parametrize("method", ["incremental", pytest.param("naive", marks=pytest.mark.slow)])
def test_the_losses_are_those_of_the_article_s_program(method, tmp_path, call):
    hidden, batch = 2, 3  # the book's loop takes 45 s a step at 50 and 100
    options = ["--iterations", 2, "--seed", 0, "--hidden-size", hidden, "--batch-size", batch]
    output = call(
        SCRIPT, *options, "--method", method, "--output-dir", "out", folder=tmp_path
    ).stdout
    (x, t), _ = load_mnist()
    state = np.random.get_state()
    np.random.seed(0)
    sizes = {"hidden": hidden, "classes": 10, "batch": batch}
    expected = book.train(x, t, iterations=2, learning_rate=1.0, **sizes)
    np.random.set_state(state)
    np.testing.assert_allclose(losses(output), expected, rtol=0, atol=TRAJECTORY)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        (["--hidden-size", 4], [(784, 4), (4, 10)]),
        (
            ["--hidden-size", 4, 3, 5, "--activation", "tanh"],
            [(784, 4), (4, 3), (3, 5), (5, 10)],
        ),
        pytest.param(
            ["--network", "conv", "--hidden-size", 3],
            [(30, 1, 5, 5), (4320, 3), (3, 10)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_network_trains_and_goes_on(options, shapes, tmp_path, call):
    options = [*options, "--batch-size", 2, "--seed", 1, "--method", "backprop"]
    options += ["--eval-every", 9, "--checkpoint-every", 1]
    for iterations, folder in ((2, "once"), (1, "out")):
        length = ["--iterations", iterations, "--output-dir", folder]
        result = call(SCRIPT, *options, *length, folder=tmp_path)
        assert result.returncode == 0, result.stderr
    result = call(SCRIPT, "--resume", "out", "--iterations", 2, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "out/params.npz") as out, np.load(tmp_path / "once/params.npz") as once:
        assert [out[name].shape for name in sorted(out) if name[0] == "W"] == shapes
        assert all(out[name].tobytes() == once[name].tobytes() for name in once)


@pytest.mark.slow
def test_epochs_and_their_evaluations(tmp_path, call):
    options = ["--epochs", 2, "--eval-every", "epoch", "--batch-size", 1000, "--method", "backprop"]
    result = call(SCRIPT, *options, "--output-dir", "out", folder=tmp_path)
    assert re.findall(r"iter=(\d+)", result.stdout) == ["0", "4", "7"]
    assert "8 iterations in" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], "workers must not be 0"),
        (["--method", "magic"], "choose from"),
        (["--iterations", "0"], "iterations must be"),
        (["--batch-size", "0"], "batch_size must be"),
        (["--learning-rate", "nan"], "learning_rate must be"),
        (["--hidden-size", "0"], "hidden_size must be"),
        (["--hidden-size", "4", "0"], "must be"),
        (["--network", "magic"], "argument --network: invalid choice: 'magic'"),
        (["--activation", "magic"], "argument --activation: invalid choice: 'magic'"),
        (["--network", "conv", "--hidden-size", "4", "4"], "take --network multi-layer"),
        (["--network", "two-layer", "--activation", "relu"], "take --network multi-layer"),
        (["--step", "0"], "h must be"),
        (["--step", "inf"], "h must be"),
        (["--eval-every", "sometimes"], "eval-every"),
        (["--epochs", "0"], "iterations must be a whole number from 1, got 0"),
        (["--iterations", "1e3"], "invalid int value: '1e3'"),
        (["--data-dir", "."], "data_dir goes with files"),
        (["--resume", "nowhere"], "nowhere is no file that can be read"),
        (["--seed", "-1"], "eed must be"),
        (["--checkpoint-every", "0"], "every must be a whole number from 1"),
        (["--backend", "threads"], "unrecognized arguments: --backend"),
        (["--dataset", "cifar"], "cifar"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["--output-dir", "file"], "file must be a folder that can be written to"),
        (["--output-dir", "/proc/fastgrad"], "must be a folder that can be written to"),
    ],
)
def test_bad_options_end_with_one_line_before_training(options, words, tmp_path, call):
    (tmp_path / "file").write_text("here already")
    result = call(SCRIPT, *options, folder=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1]
    assert "iter=" not in result.stdout
    assert "Traceback" not in result.stderr
    assert (tmp_path / "file").read_text() == "here already"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "options",
    [
        ["--hidden-size", 4, 3],
        pytest.param(["--network", "conv", "--hidden-size", 2], marks=pytest.mark.slow),
    ],
)
def test_every_network_is_checked_and_drawn(options, tmp_path, call):
    options = [*options, "--samples", 1, "--seed", 0, "--picture", tmp_path / "a.png"]
    result = call(CHECK, *options, folder=tmp_path)
    assert result.stdout.splitlines()[0].endswith(": passed"), result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--samples", 0], "--samples must be a whole number from 1 to 4000, got 0"),
        (["--samples", 4001], "--samples must be a whole number from 1 to 4000, got 4001"),
        (["--picture", "."], "--picture must be a file in a folder that exists, got ."),
        (["--picture", "nowhere/a.png"], "--picture must be a file in a folder that exists"),
        (["--step", 0], "h must be"),
        (["--workers", 0], "workers must not be 0"),
    ],
)
def test_a_check_with_bad_options_says_so_first(options, words, tmp_path, call):
    result = call(CHECK, *options, folder=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1]
    assert (result.stdout, os.listdir(tmp_path)) == ("", [])


@pytest.mark.parametrize("script", ["train.py", "check_gradient.py"])
def test_help_tells_each_default_once(script, tmp_path, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    result = call(SCRIPT.with_name(script), "--help", folder=tmp_path)
    assert result.returncode == 0
    options = result.stdout.split("options:")[1].split("\n  -")
    assert max(text.count("(default") for text in options) == 1
    told = {
        text.split()[0]: text.split("(default: ")[1].split(")")[0]
        for text in options
        if "(default" in text
    }
    assert told["-dataset"] == "mnist-5k"
    assert told["-step"] == "0.0001"
    assert told["-workers"] == "1"
    assert not {"None", "False", "True"} & set(told.values())


def test_the_estimate_is_taken_with_one_blas_thread_and_says_so(
    finished, monkeypatch, call, tmp_path
):
    limits = []

    def loop(f, x):
        (threads,) = {
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        }
        limits.append(threads)

    monkeypatch.setattr("fastgrad.reference.numerical_gradient", loop)
    with threadpool_limits(2, "blas"):
        result = call(SCRIPT, "--iterations", 1, "--hidden-size", 2, folder=tmp_path)
    assert limits == [1] * 5
    assert "from 50 parameters and with one BLAS thread: the nditer loop would" in result.stdout
