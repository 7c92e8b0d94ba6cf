"""Pictures distorted by procedures, prepared once a machine for all trials and mapped into their memory.

Real coders are too slow for a training step. So the centre of every picture is distorted by every procedure at six
strengths, and kept in one file of pixels; crops are gathered from it as from any other images. The file's name is the
digest of all that its pixels depend on, so it is made once and never changes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gada_ray.config import digest
from gada_ray.data.cache import mark_used, remove_unused
from gada_ray.data.dataset import DataError
from gada_ray.data.procedural import VERSION, Procedure

if TYPE_CHECKING:
    from collections.abc import Iterator

STRENGTHS = 6
"""Prepared strengths besides 0, the picture itself: 1/6 to 1."""
BUDGET = 2**30
"""Bytes that one file may take."""
LARGEST_PX, SMALLEST_PX = 512, 128
"""Sides of the prepared centre of a picture: no more than this, and no less where the budget decides."""
BLOCK_PX = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """Prepared pictures, laid out as in `IqaDataset`: by picture, then procedure, then strength from 0 to 1."""

    pixels: np.ndarray
    """uint8, flat; mapped from the file."""
    offsets: np.ndarray
    """int64 [n * k * (STRENGTHS + 1) + 1]."""
    shapes: np.ndarray
    """int64 [n * k * (STRENGTHS + 1), 2], height and width."""
    pictures: np.ndarray
    """int64 [n], ascending: which pictures these are, as the caller numbers them."""
    ordered: tuple[bool, ...]
    """Of every procedure, whether a greater strength is worse; [k]."""


def prepare(
    images: Sequence[np.ndarray],
    procedures: Sequence[Procedure],
    folder: Path,
    crop_px: int,
    *,
    every: bool = False,
    workers: int = 1,
) -> Prepared:
    """Prepared pictures of images uint8 `[h, w, 3]`, from their file in a folder, which is written where it is missing.

    Pictures are reduced to their centres so that all fit into BUDGET. Where even SMALLEST_PX (or `crop_px`) is too
    much, evenly chosen pictures are left out; with `every`, the file is larger instead. `workers` threads make it.

    Raises:
        DataError: for images that are smaller than the crops, no procedures, and a folder that cannot be written.
    """
    if not images or not procedures:
        raise DataError("procedural distortions need at least one picture and one class with a procedure")
    pictures, side = _plan([image.shape[:2] for image in images], len(procedures), crop_px, every)
    chosen = [_centre(images[number], side) for number in pictures]
    path = folder / "procedural" / f"{_digest(chosen, procedures)}.uint8"
    versions = len(procedures) * (STRENGTHS + 1)
    shapes = np.array([image.shape[:2] for image in chosen], dtype=np.int64).repeat(versions, axis=0)
    offsets = np.append(0, 3 * shapes.prod(axis=1).cumsum())
    try:
        if not _whole(path, int(offsets[-1])):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path.with_suffix(".lock")):
                if not _whole(path, int(offsets[-1])):  # another process may have made it meanwhile
                    _write(path, chosen, procedures, offsets, workers)
                    remove_unused(path.parent)
        mark_used(path)
        pixels = np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as error:
        raise DataError(f"{folder}: distorted pictures cannot be kept there ({error})") from None
    return Prepared(pixels, offsets, shapes, pictures, tuple(procedure.ordered for procedure in procedures))


def _plan(shapes: Sequence[tuple[int, ...]], procedures: int, crop_px: int, every: bool) -> tuple[np.ndarray, int]:
    """Which pictures are prepared, and the longest side of their centres."""
    if min(min(shape) for shape in shapes) < crop_px:
        raise DataError(f"procedural distortions need pictures of at least {crop_px}x{crop_px} pixels, as crops are")
    versions = 3 * procedures * (STRENGTHS + 1)
    least = -(-max(crop_px, SMALLEST_PX) // BLOCK_PX) * BLOCK_PX
    count = len(shapes) if every else min(len(shapes), max(1, BUDGET // (versions * least**2)))
    side = int((BUDGET / (versions * count)) ** 0.5) // BLOCK_PX * BLOCK_PX
    return np.arange(count) * len(shapes) // count, max(least, min(LARGEST_PX, side))


def prepared_size(shapes: np.ndarray, procedures: int, crop_px: int, *, every: bool) -> int:
    """Bytes of the file that `prepare` makes of pictures of `shapes` `[n, 2]`.

    Raises:
        DataError: for pictures that are smaller than the crops.
    """
    pictures, side = _plan([tuple(shape) for shape in shapes], procedures, crop_px, every)
    return int(3 * np.minimum(shapes[pictures], side).prod(axis=1).sum() * procedures * (STRENGTHS + 1))


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    """At most `side` x `side` pixels of an image, from a corner on its grid of 8x8 blocks."""
    top, left = (max(0, size - side) // 2 // BLOCK_PX * BLOCK_PX for size in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _digest(images: Sequence[np.ndarray], procedures: Sequence[Procedure]) -> str:
    """Of everything that the pixels depend on but the versions of libraries."""
    sha = hashlib.sha256()
    for image in images:
        sha.update(f"{image.shape}".encode())
        sha.update(image.data)
    named = [[one.name, one.make.__name__, one.none, *one.levels] for one in procedures]
    return digest({"version": VERSION, "strengths": STRENGTHS, "procedural": named, "images": sha.hexdigest()})


def _whole(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _write(
    path: Path, images: Sequence[np.ndarray], procedures: Sequence[Procedure], offsets: np.ndarray, workers: int
) -> None:
    """Make all versions of all pictures, picture by picture, in a file that is renamed when it is whole."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    per_picture = len(procedures) * (STRENGTHS + 1)

    def versions(number: int) -> np.ndarray:
        strengths = [step / STRENGTHS for step in range(STRENGTHS + 1)]
        made = [one.distort(images[number], strength, number) for one in procedures for strength in strengths]
        return np.stack(made)

    try:
        pixels = np.memmap(part, dtype=np.uint8, mode="w+", shape=(int(offsets[-1]),))
        with ThreadPoolExecutor(workers) as pool:
            for number, made in enumerate(pool.map(versions, range(len(images)))):
                pixels[offsets[number * per_picture] : offsets[(number + 1) * per_picture]] = made.ravel()
        pixels.flush()
        del pixels
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process on this machine holds the lock file; without such locks, do not wait."""
    with path.open("a") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
