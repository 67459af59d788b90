"""What `joblib.parallel_config` says, without the time that joblib takes to say it."""

from __future__ import annotations

import sys


def context() -> bool:
    """Tell whether a `joblib.parallel_config` may be open here, in a worker of joblib it is.

    joblib makes a backend to answer, which takes longer than a short gradient: this is a glance.
    Should joblib's names change, the answer is yes once it is imported.
    """
    parallel = sys.modules.get("joblib.parallel")
    if parallel is None:
        return False
    try:
        nothing = parallel.default_parallel_config
        return vars(parallel._backend).get("config", nothing) is not nothing
    except (AttributeError, TypeError):
        return True


def configured() -> bool:
    """Tell whether the `joblib.parallel_config` that is open asks for workers."""
    from joblib.parallel import get_active_backend

    backend, workers = get_active_backend()
    return workers not in (None, 1) or backend.default_n_jobs != 1
