"""Standard output and error that never end a program: what cannot be printed is replaced or left out."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

PLAIN = {"−": "-", "–": "-", "…": "...", "“": '"', "”": '"', "±": "+/-", "Δ": "delta", "×": "x", "ρ": "rho", "•": "*"}
"""What stands for characters of ours that a terminal's encoding does not have; "?" for all others."""


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: plain characters for those that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(one, "?") for one in error.object[error.start : error.end]), error.end


codecs.register_error("gada-plain", _replace)


class SafeStream:
    """A text stream that can always be written to.

    Characters that its encoding lacks are replaced. Once it fails, as a closed pipe or a file on a full disk does,
    everything else goes to the null device, and the program goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        with suppress(AttributeError, ValueError):  # a stream of a test's, or one that is closed
            stream.reconfigure(errors="gada-plain")  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, if it is possible."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a stream that could not be told to replace
            encoding = self._stream.encoding
            return self._stream.write(text.encode(encoding, "gada-plain").decode(encoding))
        except (OSError, ValueError):
            self._leave()
            return len(text)

    def flush(self) -> None:
        """Flush, if it is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._leave()

    def _leave(self) -> None:
        """Send to the null device what is in the stream's buffer, and all that follows."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        with suppress(OSError, ValueError):
            self._stream.flush()


@contextmanager
def safe_output() -> Iterator[None]:
    """Inside, printing to standard output and error raises nothing."""
    # Where a shell has closed a stream, Python has none.
    nothing = open(os.devnull, "w")  # noqa: SIM115
    out, err = (cast(TextIO, SafeStream(stream or nothing)) for stream in (sys.stdout, sys.stderr))
    with nothing, redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
