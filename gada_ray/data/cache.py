"""The folder of files that can be made again."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

UNUSED_DAYS = 30
"""Days after which a large file that nobody used is removed."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/gada-ray` or `~/.cache/gada-ray`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gada-ray"


def mark_used(path: Path) -> None:
    """Set the time of a file of the cache to now, where that is allowed."""
    with suppress(OSError):
        os.utime(path)


def remove_unused(folder: Path) -> None:
    """Remove the files of a folder, but no lock files, that were not made or marked as used for `UNUSED_DAYS` days.

    Processes that have mapped such a file keep it until they end.
    """
    since = time.time() - UNUSED_DAYS * 24 * 3600
    for path in folder.iterdir():
        with suppress(OSError):  # another process may remove it, too
            if path.suffix != ".lock" and path.stat().st_mtime < since:
                path.unlink()
