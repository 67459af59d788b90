"""Names for the types that many signatures share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ArrayFunction = Callable[[Any], Any]
Gradients = dict[str, Floats]
