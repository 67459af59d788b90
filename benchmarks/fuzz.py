"""Fuzz the readers of files and the handling of arguments: ``python -m benchmarks.fuzz``.

Atheris chooses the inputs where it is installed (Linux): it watches which branches they reach. Else
Hypothesis does. Every target runs in a process of its own, and its peak memory is that process's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from benchmarks import table

ROOT = Path(__file__).parents[1]
MOST_MIB = 200
WAYS = ("hypothesis", "atheris")


def main(argv=None):
    """Run the command line; 1 is returned if something else than a documented exception came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--way", choices=WAYS, default=default_way(), help="who chooses the inputs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return fuzz(options.target[0], options.runs, options.way)
    outcomes = [run(name, options.runs, options.way) for name in options.target or names()]
    print(table.rows(("target", "inputs", "way", "exceptions", "crashes", "MiB", "s"), outcomes))
    return int(any(row[4] != "0" or float(row[5]) > MOST_MIB for row in outcomes))


def default_way():
    """Return "atheris" where it is installed."""
    from importlib.util import find_spec

    return WAYS[find_spec("atheris") is not None]


def names():
    """Return the names of all targets."""
    from benchmarks.fuzz_targets import TARGETS

    return list(TARGETS)


def run(name, runs, way):
    """Fuzz a target in a process of its own; return a row of the table."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--child", f"--target={name}"]
    command += [f"--runs={runs}", f"--way={way}"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return name, "?", way, f"the process ended with {done.returncode}", "1", "inf", "?"
    outcome = json.loads(lines[-1])
    for crash in outcome["crashes"]:
        print(crash, file=sys.stderr)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in outcome["kinds"].items())
    peak, seconds = f"{outcome['mib']:.0f}", f"{outcome['seconds']:.0f}"
    crashes = str(outcome["kinds"].get("crash", 0))
    return name, f"{outcome['inputs']:,}", way, kinds, crashes, peak, seconds


def fuzz(name, runs, way):
    """Fuzz a target in this process; print the outcome as JSON, on the last line."""
    if way == "atheris":
        import atheris

        watched = atheris.instrument_imports(include=["fastgrad"])
    else:
        watched = nullcontext()
    with watched:
        from benchmarks.fuzz_targets import TARGETS
    record = Record(TARGETS[name], runs)
    if way == "atheris":
        record.by_atheris()
    else:
        record.by_hypothesis()


class Record:
    """Calls a target, and counts what comes of it."""

    def __init__(self, target, runs):
        self.target, self.runs = target, runs
        self.kinds, self.crashes, self.start = Counter(), {}, time.perf_counter()

    def __call__(self, drawn):
        """Call the target."""
        try:
            self.target.call(drawn)
            self.kinds["none"] += 1
        except self.target.documented as error:
            self.kinds[type(error).__name__] += 1
        except Exception as error:
            self.kinds["crash"] += 1
            place = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
            text = "".join(traceback.format_exception(error))
            self.crashes.setdefault(str(place), f"{drawn!r:.1000}\n{text}")
        if self.kinds.total() == self.runs:
            self.report()
            # Neither libFuzzer nor Hypothesis can be told to stop here.
            os._exit(0)

    def report(self):
        """Print the outcome."""
        outcome = {
            "inputs": self.kinds.total(),
            "kinds": dict(self.kinds.most_common()),
            "crashes": list(self.crashes.values()),
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "seconds": time.perf_counter() - self.start,
        }
        print(json.dumps(outcome), flush=True)

    def test(self):
        """Return the target as a test of Hypothesis."""
        from hypothesis import HealthCheck, Phase, given, settings

        @settings(
            max_examples=self.runs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(self.target.inputs)
        def test(drawn):
            self(drawn)

        return test

    def by_hypothesis(self):
        """Let Hypothesis choose the inputs."""
        self.test()()

    def by_atheris(self):
        """Let Atheris choose the bytes that Hypothesis makes inputs of; it ends the process."""
        import atheris

        one = self.test().hypothesis.fuzz_one_input
        atheris.Setup([sys.argv[0], "-len_control=0", "-max_len=4096", "-verbosity=0"], one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
