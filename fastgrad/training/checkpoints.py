"""When a training run writes a checkpoint, where, and which of them are kept."""

from __future__ import annotations

import json
import os
import reprlib
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastgrad._checks import count, positive
from fastgrad.training.checkpoint_file import PATTERN, Checkpoint, newest_first, write
from fastgrad.training.lock import alone_in


class Checkpoints:
    """Where, and how often, a training run writes a checkpoint.

    However seldom, one is written when the run is stopped and when it ends. The last two are kept.

    Parameters
    ----------
    folder : path
        A folder, made if need be. It may hold no checkpoint of another run, and no other process
        may be writing there.
    every : int, optional
        After so many steps.
    minutes : float, optional
        Once so much time has passed since the last.
    about : dict, optional
        What else makes the run (the seed, the name of the data set), in JSON's types. A run is
        resumed with the same only.

    Attributes
    ----------
    last : Path or None
        The last checkpoint that was written or resumed from.

    Examples
    --------
    >>> import tempfile, fastgrad
    >>> from fastgrad.training import read, train
    >>> net, data = fastgrad.TwoLayerNet(784, 5, 10), fastgrad.load_mnist()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = train(net, data, iterations=9, checkpoints=Checkpoints(folder, every=4))
    ...     history = train(net, data, iterations=12, resume=read(folder))
    >>> len(history.loss)
    12
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int | None = None,
        minutes: float | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every = None if every is None else count("every", every)
        self.minutes = None if minutes is None else positive("minutes", minutes)
        try:
            self.about = dict(json.loads(json.dumps(about or {}, allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"about must be a dict of JSON's types, got {reprlib.repr(about)}: {error}"
            ) from error
        self.last: Path | None = None
        self._since = time.monotonic()

    @contextmanager
    def opened(self, resumed: Checkpoint | None) -> Iterator[None]:
        """Lock the folder; refuse one that holds the checkpoints of another run."""
        with alone_in(self.folder):
            self.last = resumed.path if resumed else None
            own = self.last is not None and self.last.parent.resolve() == self.folder.resolve()
            if not own and (found := newest_first(self.folder)):
                raise ValueError(
                    f"{self.folder} holds {found[0].name} of an earlier run: resume that run, or "
                    "take another folder"
                )
            yield

    def due(self, iteration: int) -> bool:
        """Return whether one is to be written after that many steps."""
        if self.every is not None and iteration % self.every == 0:
            return True
        return self.minutes is not None and time.monotonic() - self._since >= 60 * self.minutes

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; keep it and the one before it. A full disk is a warning only."""
        self._since = time.monotonic()
        try:
            path = write(self.folder, checkpoint)
        except OSError as error:
            warnings.warn(
                f"no checkpoint was written after {checkpoint.iteration} iterations: {error}; "
                f"training goes on, the last one is {self.last or 'none'}",
                RuntimeWarning,
                stacklevel=3,
            )
            return
        kept = {path.name, self.last.name if self.last else ""}
        # Also those of a future that was given up, and what a killed process has left.
        for old in [*newest_first(self.folder), *self.folder.glob(f".{PATTERN}.*")]:
            if old.name not in kept:
                old.unlink(missing_ok=True)
        self.last = path
