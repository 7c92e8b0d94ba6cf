"""The memory that a database's pixels need, and the memory that is free."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gada_ray.data import mapped
from gada_ray.data.dataset import DataError
from gada_ray.system import cgroups

COPIES = 2
"""Copies of the pixels that a study on one machine holds: its own, and the one that trials share."""
SIDES = (1024, 768, 640, 512, 448, 384, 320, 256, 224, 192, 160, 128, 96, 64)
"""Shorter sides, in pixels, that messages propose."""
SPARE = 0.9
"""Fraction of the free memory that pixels may take."""


def shrunk(shapes: np.ndarray, shorter_side: int | None) -> np.ndarray:
    """Heights and widths int64 `[n, 2]` of images after shrinking to a shorter side; no image is enlarged."""
    if shorter_side is None:
        return shapes
    factor = np.minimum(1, shorter_side / np.maximum(1, shapes.min(axis=1, keepdims=True)))
    return np.where(factor < 1, np.maximum(1, np.round(shapes * factor)), shapes).astype(np.int64)


def size(shapes: np.ndarray, shorter_side: int | None = None) -> int:
    """Bytes of the pixels of images with heights and widths `[n, 2]`."""
    return int(3 * shrunk(shapes, shorter_side).prod(axis=1).sum())


def free() -> int:
    """Bytes of memory that this process may still take, also in a container, in a batch job or under `ulimit -d`."""
    import psutil  # not needed where a stored model only scores

    used = psutil.Process().memory_info()
    limits = [psutil.virtual_memory().available, _limit(cgroups.ROOT, cgroups.own("memory")) - used.rss]
    data, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if data != resource.RLIM_INFINITY:
        limits.append(data - getattr(used, "data", used.rss))
    return max(0, int(min(limits)))


def _limit(root: Path, groups: Sequence[str]) -> float:
    """The smallest limit, in bytes, of a process's cgroups and their parents; 2^63 without a limit."""
    least = float(2**63)
    for file in cgroups.files(root, groups, "memory", "memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # none, or "max"
            least = min(least, int(file.read_text()))
    return least


def advice(shapes: np.ndarray, copies: int, room: int) -> str:
    """Advice on the largest shorter side with which `copies` of the images fit into `room` bytes."""
    side = next((side for side in SIDES if copies * size(shapes, side) <= SPARE * room), None)
    if side is None:
        return "no shorter side makes them fit; use a machine with more memory, or fewer images"
    fits = gib(copies * size(shapes, side))
    return f"--set data.shorter_side={side} of tune.py, or --shorter-side {side} of other commands, would take {fits}"


def fits(shapes: np.ndarray, shorter_side: int | None) -> bool:
    """Whether the copies of images that a study holds fit into the free memory."""
    return COPIES * size(shapes, shorter_side) <= SPARE * free()


def check_disk(name: str, shapes: np.ndarray, shorter_side: int | None, path: Path) -> None:
    """Make sure that images which do not fit into memory fit on the disk where they are to be mapped.

    Raises:
        DataError: with the memory that they need, what is free in memory and on the disk, and what would fit.
    """
    needed, room, disk = size(shapes, shorter_side), free(), mapped.room(path)
    if needed > disk:
        raise DataError(
            f"{name}: {len(shapes)} images take {gib(needed)} as pixels, and {gib(room)} of memory and "
            f"{gib(max(0, disk))} of {path.parent} are free here; set XDG_CACHE_HOME to a disk with more room; "
            f"{advice(shapes, COPIES, room)} in a study ({COPIES} copies)"
        )


def gib(count: int) -> str:
    """A number of bytes in MiB or GiB, for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
