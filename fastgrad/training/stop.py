"""On Ctrl-C or SIGTERM, finish the step, then stop."""

from __future__ import annotations

import os
import signal
from types import FrameType

SIGNALS = signal.SIGINT, signal.SIGTERM
NOTICE = b"\nstopping after this step; once more stops at once\n"


class Stop:
    """Catches SIGINT (Ctrl-C) and SIGTERM within a ``with`` block, in the main thread.

    Before the first call of ``stop()`` a signal raises KeyboardInterrupt. After it, a signal makes
    the next call return True, so that a loop can end between two steps, until ``at_once()`` is
    called. A second signal ends the process, whatever it is doing. `signum` is the signal that
    came, or 0.

    Examples
    --------
    >>> with Stop() as stop:
    ...     while not stop():
    ...         signal.raise_signal(signal.SIGTERM)
    >>> stop.signum == signal.SIGTERM
    True
    """

    def __init__(self) -> None:
        self.signum = 0
        self._waits = False

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._come) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether a signal has come; until the next call, signals wait."""
        self._waits = True
        return self.signum != 0

    def at_once(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, and as soon as one comes."""
        self._waits = False
        if self.signum:
            raise KeyboardInterrupt

    def _come(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        # The next signal kills: a compiled loop or a hanging disk would never let Python see it.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if not self._waits:
            raise KeyboardInterrupt
        os.write(2, NOTICE)  # print may be in the middle of a line
