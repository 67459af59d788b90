"""The book's training loop, with checkpoints: runs that stop, survive a kill and go on."""

from fastgrad.training.checkpoint_file import Checkpoint, newest_first, read
from fastgrad.training.checkpoints import Checkpoints
from fastgrad.training.history import DivergedError, History
from fastgrad.training.loop import train
from fastgrad.training.stop import Stop

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "DivergedError",
    "History",
    "Stop",
    "newest_first",
    "read",
    "train",
]
