"""The house: which folder may import from which, and how long a function may be."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fastgrad"

FLOORS = [
    {
        "_typing",
        "_version",
        "_files",
        "_jit",
        "_structures",
        "_arrays",
        "_checks",
        "_labels",
        "functions",
        "reference",
        "datasets",
    },
    {"_formulas", "_parallel"},
    {"_evaluation"},
    {"_derivatives"},
    {"_checking"},
    {"networks"},
    {"training", "plotting", "cli"},
]

LONGEST = 40

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    """Return the folder or the file right below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(name):
    """Return the number of the floor that a room is on."""
    return next(k for k, rooms in enumerate(FLOORS) if name in rooms)


def imported(path):
    """Yield the rooms that a file imports from, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "fastgrad":
                names = [f"fastgrad.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("fastgrad."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_from_no_floor_above(path):
    if path == PACKAGE / "__init__.py":
        return
    here = room(path)
    for other in imported(path):
        assert floor(other) <= floor(here), f"{here} imports from {other}"


def test_no_rooms_import_from_each_other_in_a_circle():
    graph = {}
    for path in FILES:
        if path != PACKAGE / "__init__.py":
            graph.setdefault(room(path), set()).update(set(imported(path)) - {room(path)})
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_is_long(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            words = ast.get_docstring(node, clean=False)
            own = node.end_lineno - node.lineno + 1 - (len(words.splitlines()) if words else 0)
            # The signature of a public function is its documentation.
            assert own <= LONGEST, f"{node.name} has {own} lines"


def test_every_private_folder_is_inside():
    import fastgrad

    assert all(not name.startswith("_") or name == "__version__" for name in fastgrad.__all__)
