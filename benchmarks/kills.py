"""Kill training at random moments, go on, compare: ``python -m benchmarks.kills``.

Each run of scripts/train.py is ended by a signal at a random moment between its first step and its
last, and resumed. What it leaves is compared with what one uninterrupted run left: the bytes of
all parameters, and the history but for its seconds.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.table import rows

ROOT = Path(__file__).parents[1]
ITERATIONS, EVERY = 300, 5
STEP_SECONDS = 0.004
OPTIONS = ["--iterations", ITERATIONS, "--eval-every", EVERY, "--checkpoint-every", EVERY]
HEAD = ("signal", "runs", "identical", "stopped before the end", "median to stop", "slowest")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=50, help="runs for each signal")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder, "uninterrupted")
        start(expected, "--seed", 0).communicate()
        lines = []
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            runs = [
                interrupted(number, Path(folder, f"{number.name}-{run}"), moments, expected)
                for run in tqdm(range(options.runs), desc=number.name)
            ]
            lines.append(line(number, runs))
    print(rows(HEAD, lines))


def start(folder, *options):
    """Start the training script in a process of its own."""
    command = [sys.executable, ROOT / "scripts" / "train.py", "--output-dir", folder]
    return subprocess.Popen(
        [*map(str, [*command, *OPTIONS, *options])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


def interrupted(number, folder, moments, expected):
    """Return (exit status, seconds until it ended, whether the result is that of `expected`)."""
    process = start(folder, "--seed", 0)
    step = moments.randrange(0, ITERATIONS, EVERY)
    for text in process.stdout:
        if text.startswith(f"[iter={step}]"):
            break
    time.sleep(moments.uniform(0, EVERY * STEP_SECONDS))
    begin = time.perf_counter()
    process.send_signal(number)
    process.communicate()
    seconds = time.perf_counter() - begin
    # Before its first checkpoint there is nothing to resume: a killed run starts anew.
    again = ["--resume", folder] if any(folder.glob("checkpoint-*.npz")) else []
    resumed = start(folder, "--seed", 0, *again)
    errors = resumed.communicate()[1]
    if resumed.returncode:
        print(errors, file=sys.stderr)
    return process.returncode, seconds, resumed.returncode == 0 and same(folder, expected)


def same(folder, expected):
    """Tell whether two folders hold the same parameters and the same history."""
    with np.load(folder / "params.npz") as a, np.load(expected / "params.npz") as b:
        if a.files != b.files or any(a[name].tobytes() != b[name].tobytes() for name in a):
            return False
    return history(folder) == history(expected)


def history(folder):
    """Return the lines of a history without the seconds."""
    with open(folder / "history.csv", newline="") as file:
        return [row[:-1] for row in csv.reader(file)]


def line(number, runs):
    """Return the cells for one signal."""
    status = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    seconds = [seconds for _, seconds, _ in runs]
    return (
        number.name,
        str(len(runs)),
        str(sum(identical for *_, identical in runs)),
        str(sum(code == status for code, *_ in runs)),
        f"{np.median(seconds):.2f} s",
        f"{max(seconds):.2f} s",
    )


if __name__ == "__main__":
    main()
