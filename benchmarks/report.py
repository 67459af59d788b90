"""Measure everything and write it down: ``python -m benchmarks.report``, in the repository.

Writes results.md, ladder.png, error_against_h.png and training.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

from benchmarks import error_curve, pictures, table, training_curve
from fastgrad._files import replacing

RESULTS = Path(__file__).parent / "results"


def main(argv=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", type=Path, help="figures of an earlier `pytest benchmarks --benchmark-json`"
    )
    parser.add_argument(
        "--dataset", default="mnist-5k", help="for training.png: mnist-5k, fashion-mnist or mnist"
    )
    parser.add_argument("--data-dir", type=Path, help="where that data set's IDX files are already")
    options = parser.parse_args(argv)
    matplotlib.use("Agg")
    run = json.loads(options.json.read_text()) if options.json else measure()
    with replacing(RESULTS / "results.md", "w") as file:
        file.write(table.markdown(run))
    save(pictures.ladder(run), "ladder.png")
    save(error_curve.figure(), "error_against_h.png")
    save(training_curve.figure(options.dataset, options.data_dir), "training.png")
    print(f"results.md and three pictures are in {RESULTS}")


def measure():
    """Run the benchmarks; return what they wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        command = [sys.executable, "-m", "pytest", "benchmarks", f"--benchmark-json={path}"]
        subprocess.run(command, cwd=RESULTS.parents[1], check=True)
        return json.loads(path.read_text())


def save(figure, name):
    """Write a picture into the folder of results."""
    with replacing(RESULTS / name) as file:
        figure.savefig(file, format="png", dpi=150)


if __name__ == "__main__":
    main()
