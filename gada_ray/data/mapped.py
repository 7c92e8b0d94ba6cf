"""Pixels of a database that is larger than memory: decoded once on a node into a file that processes map.

The file lies in the cache folder and is named after the image files, their sizes and times, so that a second load maps
it without decoding. A dataset whose pixels are mapped is sent to other processes without them: each maps the file, and
a node that has no such file decodes the database for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gada_ray.config import digest
from gada_ray.data.cache import cache_folder, mark_used, remove_unused

VERSION = 1
"""Raised when files are decoded in another way; part of their names."""
SPARE = 2**30
"""Bytes of the disk that are left free."""
_required: ContextVar[bool] = ContextVar("required", default=False)


class Mapped(NamedTuple):
    """A finished file."""

    pixels: np.memmap
    """uint8, flat, read-only."""
    sizes: list[list[int]]
    """Upright height and width of every image before shrinking."""
    turned: list[int]
    """Numbers of the images that an EXIF orientation changed."""


def is_required() -> bool:
    """Whether pixels must be mapped even where they fit into memory, since several processes of a node need them."""
    return _required.get()


def path_for(files: Sequence[Path], shorter_side: int | None) -> Path:
    """Where the pixels of some image files lie, or will lie."""
    stats = [(str(file.absolute()), *_size_and_time(file)) for file in files]
    return cache_folder() / "pixels" / f"{digest([VERSION, stats, shorter_side])[:32]}.rgb"


def room(path: Path) -> int:
    """Bytes that a file may take on the disk of a path."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(folder).free - SPARE


def create(path: Path, size: int) -> np.memmap:
    """A new file of some bytes, mapped for writing under a name of its own until `finish` gives it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.partial")
    return np.memmap(partial, dtype=np.uint8, mode="w+", shape=(size,))


def finish(pixels: np.memmap, path: Path, sizes: np.ndarray, turned: list[int]) -> np.memmap:
    """Give a filled file its name, and map it for reading."""
    pixels.flush()
    record = Path(str(pixels.filename)).with_suffix(".json")
    record.write_text(json.dumps({"sizes": sizes.tolist(), "turned": turned}))
    os.replace(record, path.with_suffix(".json"))
    os.replace(str(pixels.filename), path)
    remove_unused(path.parent)
    return np.memmap(path, dtype=np.uint8, mode="r")


def discard(pixels: np.ndarray) -> None:
    """Remove the file of pixels that were not finished; does nothing for an array in memory."""
    if isinstance(pixels, np.memmap):
        Path(str(pixels.filename)).unlink(missing_ok=True)


def find(path: Path, size: int) -> Mapped | None:
    """The finished file of some bytes at a path; None where there is none."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        if path.stat().st_size != size:
            return None
        mark_used(path)
        mark_used(path.with_suffix(".json"))
        return Mapped(np.memmap(path, dtype=np.uint8, mode="r"), record["sizes"], record["turned"])
    except (OSError, ValueError, KeyError):
        return None


def file_of(pixels: np.ndarray) -> Path | None:
    """The file that an array maps as a whole; None for any other array."""
    if not isinstance(pixels, np.memmap) or pixels.mode != "r":
        return None
    path = Path(str(pixels.filename))
    return path if path.exists() and path.stat().st_size == pixels.nbytes else None


@contextlib.contextmanager
def required(path: Path) -> Iterator[None]:
    """Require mapped pixels in a block that only one process of a node runs at a time for a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    token = _required.set(True)
    try:
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    finally:
        _required.reset(token)


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
