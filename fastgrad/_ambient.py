"""What `joblib.parallel_config` says, without the time that joblib takes to say it."""

from __future__ import annotations

import sys


def configured() -> bool:
    """Tell whether `joblib.parallel_config` asks for workers: not before joblib is imported."""
    parallel = sys.modules.get("joblib.parallel")
    if parallel is None:
        return False
    # joblib makes a backend to answer, which takes longer than a short gradient: a glance tells
    # whether no context is open. Should its names change, it is asked.
    try:
        nothing = parallel.default_parallel_config
        if vars(parallel._backend).get("config", nothing) is nothing:
            return False
    except (AttributeError, TypeError):
        pass
    from joblib.parallel import get_active_backend

    backend, workers = get_active_backend()
    return workers not in (None, 1) or backend.default_n_jobs != 1
