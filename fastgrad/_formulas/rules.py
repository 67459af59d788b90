"""The rules for steps that are chosen for each coordinate, by name."""

from __future__ import annotations

from collections.abc import Callable

from fastgrad._formulas.auto import auto
from fastgrad._formulas.line import Line, Search
from fastgrad._formulas.quick import quick

RULES: dict[str, Callable[[Line], Search]] = {"auto": auto, "quick": quick}
