"""Signals. While trials run, a signal ends a study like a spent budget; at other times it ends the command at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Ctrl-C; the end of a job, container or spot instance; `#SBATCH --signal=B:USR1@120`; a terminal that was closed."""


class Interruption:
    """Whether a signal has come. While trials run it is noted; at other times it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.name: str | None = None
        """Name of the first signal."""
        self._trials_run = False

    def listen(self) -> None:
        """Install the handlers. To be called again after Ray has started, which installs its own.

        SIGHUP stays ignored where it is, as under `nohup`.
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._take)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """While trials run: the first signal is noted; a second Ctrl-C raises KeyboardInterrupt."""
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
