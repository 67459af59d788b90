"""When a training run writes a checkpoint, where, and which of them are kept."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastgrad.training.arguments import brief, count, positive
from fastgrad.training.checkpoint_file import PATTERN, Checkpoint, newest_first, write
from fastgrad.training.lock import alone_in


@dataclass
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

    folder: str | os.PathLike[str]
    every: int | None = None
    minutes: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    last: Path | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"folder must be a path, got {brief(self.folder)}")
        if self.every is not None:
            self.every = count("every", self.every)
        if self.minutes is not None:
            self.minutes = positive("minutes", self.minutes)
        try:
            self.about = dict(json.loads(json.dumps(self.about, allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"about must be a dict of JSON's types, got {brief(self.about)}: {error}"
            ) from error

    @contextmanager
    def opened(self, resumed: Checkpoint | None) -> Iterator[None]:
        """Lock the folder; refuse one that holds the checkpoints of another run."""
        folder = Path(self.folder)
        with alone_in(folder):
            self.last = None if resumed is None else resumed.path
            own = self.last is not None and self.last.parent.resolve() == folder.resolve()
            if not own and (found := newest_first(folder)):
                raise ValueError(
                    f"{folder} holds {found[0].name} of an earlier run: resume that run, or take "
                    "another folder"
                )
            self._since = time.monotonic()
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
        # Also those of a future that was given up for an earlier checkpoint.
        kept = {path.name, self.last.name if self.last else ""}
        for old in newest_first(self.folder) if len(kept) == 2 else []:
            if old.name not in kept:
                old.unlink(missing_ok=True)
        # What a killed process has left.
        for part in Path(self.folder).glob(f".{PATTERN}.*"):
            part.unlink(missing_ok=True)
        self.last = path

    def remove(self) -> None:
        """Remove the checkpoints of a run whose results are written."""
        for path in newest_first(self.folder):
            path.unlink(missing_ok=True)
