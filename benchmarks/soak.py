"""Take gradients for a long time and see that nothing grows: ``python -m benchmarks.soak``.

What is sampled is that of this process and of its workers together, after a warm-up: what is kept
on purpose (compiled code, workers) is there by then.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import psutil

from benchmarks import table
from benchmarks.inputs import random_batch
from fastgrad import TwoLayerNet, numerical_gradient
from fastgrad._parallel.team import Team

WARM_UP = 0.05
"""The part of the gradients that are taken before the first sample."""

ALLOWED = {"memory, MiB": 12.0}
"""What may come in addition: each of two workers holds, or not, the 2 MiB of the last function,
packed and unpacked, and an allocator's pages come and go. Of everything else nothing may."""


def main(argv=None):
    """Run the command line; 1 is returned if something has grown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--part", type=float, default=1.0, help="of the gradients, for a shorter trial"
    )
    options = parser.parse_args(argv)
    rows, grown = [], False
    for name, (count, prepare) in RUNS.items():
        count = max(3, int(count * options.part))
        start = time.perf_counter()
        with mock.patch.multiple(Team, saves=spread, pays=spread):
            samples = soak(prepare(), count)
        seconds = time.perf_counter() - start
        for what in samples[0]:
            first, middle, last = (sample[what] for sample in samples)
            more = last - first > ALLOWED.get(what, 0)
            grown |= more
            cells = (f"{value:,.4g}" for value in (first, middle, last))
            rows.append((name, f"{count:,}", what, *cells, "**grows**" if more else ""))
        print(f"{name}: {seconds:.0f} s", file=sys.stderr)
    print(table.rows(("what", "gradients", "of it", "start", "middle", "end", ""), rows))
    return int(grown)


def soak(gradient, count):
    """Call ``gradient(i)`` that often; return three samples: after the warm-up, halfway, last."""
    samples = []
    ends = (0, int(WARM_UP * count) + 1, count // 2, count)
    for start, end in itertools.pairwise(ends):
        for i in range(start, end):
            gradient(i)
        samples.append(sample())
    return samples


def sample():
    """Return what this process and its children use."""
    gc.collect()
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    pids = [str(process.pid) for process in processes]
    shared = [name for name in os.listdir("/dev/shm") if any(pid in name for pid in pids)]
    return {
        "memory, MiB": sum(process.memory_info().rss for process in processes) / 2**20,
        "threads": sum(process.num_threads() for process in processes),
        "processes": len(processes),
        "open files": sum(process.num_fds() for process in processes),
        "/dev/shm entries": len(shared),
        "files in /dev/shm": sum(len(list(Path("/dev/shm", name).glob("*"))) for name in shared),
    }


def spread(team, *work):
    """Stand in for what a team saves, and whether that pays: all work is handed out."""
    return float(team.workers > 1)


def network(workers=1):
    """Return the gradient of a small network."""
    net = TwoLayerNet(20, 8, 10, rng=np.random.default_rng(0))
    x, t = random_batch(16, 20)
    return lambda i: net.numerical_gradient(x, t, workers=workers)


def function():
    """Return the gradient of a function that is another one each time, at another step."""
    x = np.linspace(-1, 1, 10)
    return lambda i: numerical_gradient(lambda x: float(x @ x), x, 1e-4 * (1 + i % 1000 / 1000))


def pool():
    """Return the gradient of a function that brings 2 MiB to two processes."""
    x, data = np.linspace(-1, 1, 10), np.ones(2**18)
    return lambda i: numerical_gradient(lambda x: float(x @ x + data[i]), x, workers=2)


RUNS = {
    "TwoLayerNet": (100_000, network),
    "TwoLayerNet, 2 threads": (10_000, lambda: network(2)),
    "a function": (100_000, function),
    "a function, 2 processes": (1_000, pool),
}

if __name__ == "__main__":
    sys.exit(main())
