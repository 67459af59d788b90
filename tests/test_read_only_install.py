"""An installation that nobody may write to, for a user without a home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad

MODULE = """
from fastgrad._jit import jit
@jit
def twice_kernel(x):
    return 2 * x
"""
CODE = """
import fastgrad, mine
fastgrad.TwoLayerNet  # its kernels are made
print(fastgrad.__file__, mine.twice_kernel(4.5))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs CODE with a copy of the package, and returns its warnings."""
    site = tmp_path / "site"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(fastgrad.__file__).parent, site / "fastgrad", ignore=ignore)
    (site / "mine.py").write_text(MODULE)
    # Files stand where folders would be made, so that not even root can write there.
    for folder in [site, *(path for path in site.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), os.devnull)

    def run(numba_cache_dir):
        variables = {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": numba_cache_dir, **nowhere}
        done = subprocess.run(
            [sys.executable, "-B", "-c", CODE],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{site / 'fastgrad' / '__init__.py'} 9.0\n"
        return done.stderr

    return run


def test_it_runs_uncached_with_one_warning(run):
    words = run("")
    assert words.count("RuntimeWarning: ") == 1
    assert words.count("set the environment variable NUMBA_CACHE_DIR to a folder") == 1


def test_where_the_warning_is_heeded_compiled_code_is_kept(run, tmp_path):
    assert run(str(tmp_path / "kept")) == ""
    assert list(tmp_path.glob("kept/**/mine.twice_kernel*.nbi"))
