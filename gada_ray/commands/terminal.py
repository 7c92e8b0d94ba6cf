"""What all commands print with: whole lines, and an end by SIGPIPE where nobody reads any more."""

from __future__ import annotations

import os
import signal

from rich.console import Console


class Terminal(Console):
    """A console that ends the command by SIGPIPE where nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        """End the command."""
        end_by_closed_pipe()


def end_by_closed_pipe() -> None:
    """End this process by SIGPIPE, without a message, as other commands end whose reader is gone."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line as it is: not wrapped, and without markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
