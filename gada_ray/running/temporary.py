"""The folder in which a Ray that is started here keeps its sockets and logs. Nothing here loads Ray."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gada_ray.running.slots import ResourceError

NEEDED_MB = 100
"""Room that logs, sockets and the state of a study take at most, in MB."""
MAX_PATH = 41
"""Bytes that the folder's path may have: Ray adds up to 64, and a socket's path may have 107 and a number."""
SHORT = Path("/tmp")
"""A folder with a short path, for machines whose TMPDIR has a long one."""


def temporary_folder(tell: Callable[[str], None] = lambda message: None) -> Path:
    """Choose the folder, and make it: `ray` or `ray-UID` in RAY_TMPDIR, TMPDIR or the system's temporary folder.

    Ray's own default, /tmp/ray, belongs on a shared machine to the user who came first. `tell` gets a sentence where
    the path of TMPDIR is too long for sockets, and /tmp is used.

    Raises:
        ResourceError: for a folder that does not exist, cannot be written to, has no room, or has too long a path;
            names the variable that changes it.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), None)
    base = Path(os.environ[variable]) if variable else Path(tempfile.gettempdir())
    named = f"{variable}={base}" if variable else f"the temporary folder {base}"
    advice = f"set {variable or 'TMPDIR'} to another folder of this machine with {NEEDED_MB} MB of room"
    if not base.is_dir():
        raise ResourceError(f"{named} is not a folder; Ray keeps its sockets and logs there; make it, or {advice}")
    long = _length(base) > MAX_PATH
    if long and variable == "RAY_TMPDIR":
        raise ResourceError(
            f"the path of {named} has {_length(base)} bytes with Ray's folder, and {MAX_PATH} are the limit for the "
            f"sockets in it; {advice} and a shorter path"
        )
    if long:
        tell(f"the path of {named} is too long for Ray's sockets; Ray's files are in {SHORT} (RAY_TMPDIR changes it)")
        base, named = SHORT, f"the temporary folder {SHORT}"
        advice = f"set RAY_TMPDIR to a folder of this machine with {NEEDED_MB} MB of room and a short path"
    if not os.access(base, os.W_OK | os.X_OK):
        raise ResourceError(f"{named} cannot be written to; Ray keeps its sockets and logs there; {advice}")
    free_mb = shutil.disk_usage(base).free // 2**20
    if free_mb < NEEDED_MB:
        raise ResourceError(
            f"{named} has {free_mb} MB of room, and Ray needs {NEEDED_MB} MB for its logs and sockets; free some, or "
            f"{advice}"
        )
    for name in ("ray", f"ray-{os.getuid()}"):
        place = base / name
        try:
            place.mkdir(mode=0o700 if name != "ray" else 0o777, exist_ok=True)
            # Another user's folder cannot be trusted, whatever its mode.
            if place.stat().st_uid == os.getuid() and os.access(place, os.W_OK | os.X_OK):
                return place
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="ray", dir=base))


def _length(base: Path) -> int:
    """Bytes of the longest path of Ray's folder in `base`."""
    return len(os.fsencode(base / f"ray-{os.getuid()}"))
