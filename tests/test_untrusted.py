"""No code that reads a file lets the file run code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [*ROOT.glob("fastgrad/**/*.py"), *ROOT.glob("scripts/*.py")]
MODULES = {"pickle", "dill", "marshal", "shelve", "yaml", "runpy"}
# Of bytes that this very call has pickled, and that no file holds.
PARCELS = {("payload.py", "cloudpickle", "dumps"), ("payload.py", "cloudpickle", "loads")}


def wrong(source, name):
    """Yield what in a source could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = {module} if module else {alias.name for alias in node.names}
            yield from MODULES & {n.split(".")[0] for n in names}
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec", "compile"}:
            yield node.func.id
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            owner, call = node.func.value.id, node.func.attr
            pickles = owner in {"cloudpickle", "joblib"} and call[:4] in {"load", "dump"}
            if pickles and (name, owner, call) not in PARCELS:
                yield f"{owner}.{call}"
            plain = [k for k in node.keywords if k.arg == "allow_pickle"]
            safe = plain and getattr(plain[0].value, "value", True) is False
            if owner in {"np", "numpy"} and call == "load" and not safe:
                yield f"{owner}.{call}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_is_unpickled_or_run(path):
    assert list(wrong(path.read_text(encoding="utf-8"), path.name)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from dill import load", "np.load(file)", "exec(text)",
        "np.load(file, allow_pickle=True)", "joblib.load(file)", "cloudpickle.load(file)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source):
    assert list(wrong(source, "other.py"))
