"""Ending in time: a signal ends a study as its budget's end does, or at once where there is nothing to save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what batch systems, containers and clouds send; what `#SBATCH --signal=B:USR1@120` asks for."""


class Interruption:
    """Whether a signal has come. While trials run it is noted, and elsewhere raised as KeyboardInterrupt."""

    def __init__(self) -> None:
        self.name: str | None = None
        """Of the first signal."""
        self._trials_run = False

    def listen(self) -> None:
        """Take the signals; again after Ray, which takes them to itself when it starts."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._take)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """While trials run: a signal is noted; Ctrl-C for the second time is raised."""
        self._trials_run = True
        try:
            yield
        finally:
            self._trials_run = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        again, self.name = self.name is not None, self.name or signal.Signals(number).name
        if again and number != signal.SIGINT:
            return  # batch systems repeat themselves
        if again or not self._trials_run:
            raise KeyboardInterrupt
