"""Imports go downwards only: a file imports from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad

HOUSE = Path(fastgrad.__file__).parent
FLOORS = [
    {"_typing", "_version"},
    {
        "_ambient",
        "_blas",
        "_jit",
        "_scratch",
        "_files",
        "_generators",
        "_locks",
        "_shared_memory",
        "sparsity",
        "datasets",
        "table",
        "partition",
    },
    {
        "_processes",
        "stencils",
        "series",
        "structures",
        "functions",
        "reference",
        "kernels",
        "extrapolation",
    },
    {
        "_threads",
        "_lost_workers",
        "objectives.base",
        "objectives.images",
        "objectives.singles",
        "objectives.values",
        "second_stencils",
        "step_sizes",
        "adaptive",
    },
    {"bounds"},
    {"steps"},
    {
        "complex_step",
        "directions",
        "objectives.black_box",
        "objectives.network",
        "objectives.jitted",
        "objectives.pixels",
        "parcels",
    },
    {
        "objectives.batched",
        "objectives.incremental",
        "objectives.classes",
        "executors",
        "objectives.adaptive",
    },
    {"objectives.outputs", "objectives.second_order"},
    {
        "objectives.groups",
        "objectives.jitted_outputs",
        "objectives.jitted_second_order",
        "objectives.line",
    },
    {"objectives"},
    {"arguments", "engine", "info", "short_work"},
    {
        "directional",
        "gradient",
        "hessian",
        "jacobian",
        "check_report",
        "agreement",
        "diagnosis",
    },
    {"hessian_vector", "limit", "backprop", "compiled_network"},
    {"probes"},
    {"judging"},
    {"comparison"},
    {"gradcheck", "two_layer_net", "checkpoints", "stopping"},
    {"_resuming", "_methods"},
    {"training", "sweep"},
    {"plotting"},
    {""},  # fastgrad/__init__.py
]


def floor(module):
    """Return the floor of a module by its name below fastgrad, or by that of its package."""
    names = [module, *(module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1))]
    return next(level for name in names for level, floor in enumerate(FLOORS) if name in floor)


def modules():
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(HOUSE).with_suffix("").parts
        yield path, ".".join(part for part in parts if part != "__init__")


def imports(path):
    """Yield the modules of fastgrad that a file names in its imports, lazy ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fastgrad":
            package = node.module.removeprefix("fastgrad").lstrip(".")
            for alias in node.names:
                inner = f"{package}.{alias.name}".lstrip(".")
                is_module = (HOUSE / inner.replace(".", "/")).with_suffix(".py").exists()
                yield inner if is_module else package
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != "fastgrad", "use from fastgrad import ..."


@pytest.mark.parametrize(("path", "module"), list(modules()), ids=lambda value: str(value)[-30:])
def test_no_file_imports_from_its_own_floor_or_above(path, module):
    package = module.split(".")[0]
    for imported in imports(path):
        inside = imported.split(".")[0] == package and package in {"datasets", "kernels"}
        assert inside or floor(imported) < floor(module), f"{module} imports {imported}"


def test_files_are_small():
    # Numpydoc takes room: the limit is on what is not a docstring, a comment or a blank line.
    for path, module in modules():
        tree = ast.parse(path.read_text())
        lines = {
            line for node in ast.walk(tree) if hasattr(node, "lineno") for line in [node.lineno]
        }
        assert len(lines) <= 200, f"{module} has {len(lines)} lines of code"


def test_import_is_light_and_compiles_nothing():
    code = """
import sys, fastgrad
from fastgrad.kernels import curves, direct, forward, samples, sparse
heavy = {"matplotlib", "pooch", "joblib", "requests", "threadpoolctl"} & set(sys.modules)
assert not heavy, heavy
for module in (curves, direct, forward, samples, sparse):
    for value in vars(module).values():
        assert not getattr(value, "signatures", ()), value
"""
    subprocess.run([sys.executable, "-c", code], check=True)
