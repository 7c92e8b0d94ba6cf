"""Image files as people look at them, for scoring: more kinds than a database may hold, each by a rule.

- Any size; grey, palette and black-and-white images get three channels, 16 bits become 8 by the high byte, all as in
  databases.
- An EXIF orientation is applied.
- Transparent pixels lie on white.
- CMYK becomes RGB by PIL's plain formula. Colour profiles are not used, here as in databases.
- Of a camera's multi-picture file (MPO) the main picture is taken.

Refused by name are animations and several pages, floating-point and 32-bit pixels, and images of more pixels than PIL
takes for a decompression bomb.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from gada_ray.data import memory
from gada_ray.data.dataset import DataError, Photographs
from gada_ray.data.images import EIGHT_BIT, attempt, header_size, read, rgb

TURNS: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""


def decode_photo(file: Path | bytes, name: object | None = None) -> np.ndarray:
    """The image of a file, or of a file's bytes, uint8 `[h, w, 3]`, by the rules above.

    Raises:
        DataError: for a file that is missing, truncated or no image, or of a kind that is refused; names the file, or
            bytes by `name`.
    """
    if isinstance(file, bytes):
        return read(io.BytesIO(file), name, _upright)
    # Opening a pipe would wait for somebody to write to it.
    if os.path.exists(file) and not os.path.isfile(file):
        raise DataError(f"{file}: no regular file")
    return read(file, file, _upright)


def _upright(image: Image.Image) -> np.ndarray:
    """uint8 `[h, w, 3]`; the DataErrors are without the file's name."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise DataError(f"{frames} frames or pages; save the one to be scored")
    # Not ImageOps.exif_transpose, which also rewrites all metadata, and fails on some that cameras write.
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    if image.mode in EIGHT_BIT and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return rgb(image)


def load_photographs(folder: Path, workers: int | None = None) -> Photographs:
    """All images below a folder, as `decode_photo` reads them, in the order of their names; other files are left alone.

    Raises:
        DataError: for no folder, one without images, more than there is memory for, or a line for every image that
            cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder; --extra-references takes a folder of photographs")
    found = list(find_photos([folder]))
    problems = [str(one) for one in found if isinstance(one, DataError)]
    known = Image.registered_extensions()
    files = [one for one in found if isinstance(one, Path) and one.suffix.lower() in known]
    if not files and not problems:
        raise DataError(f"{folder}: no images in it; --extra-references takes a folder of photographs")
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        sizes = [size for size in pool.map(attempt(header_size), files) if not isinstance(size, DataError)]
        # Images one by one, and then in one array.
        needed, room = 2 * memory.size(np.array(sizes or [(0, 0)])), memory.free()
        if needed > memory.SPARE * room:
            raise DataError(
                f"{folder}: {len(sizes)} photographs take {memory.gib(needed)} of memory, {memory.gib(room)} are free "
                f"here; give fewer or smaller ones"
            )
        images = list(pool.map(attempt(decode_photo), files))
    problems += [str(image) for image in images if isinstance(image, DataError)]
    if problems:
        raise DataError("\n".join(problems))
    pictures = [image for image in images if not isinstance(image, DataError)]
    return Photographs(
        names=tuple(file.relative_to(folder).as_posix() for file in files),
        pixels=np.concatenate([image.ravel() for image in pictures]),
        offsets=np.cumsum([0, *(image.size for image in pictures)], dtype=np.int64),
        shapes=np.array([image.shape[:2] for image in pictures], dtype=np.int64),
    )


def find_photos(paths: Iterable[Path | None]) -> Iterator[Path | DataError | None]:
    """Every file of some files and folders, folders in full and in the order of names; None is passed on.

    Files and folders whose names begin with a dot are left out. Links are followed, but no folder is read twice. What
    cannot be listed comes as a DataError that names it.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        yield from _below(path, seen) if path is not None and os.path.isdir(path) else (path,)


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path | DataError]:
    try:
        here = folder.stat()
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if not entry.name.startswith("."))
    except OSError as error:
        yield DataError(f"{folder}: cannot be listed ({error.strerror})")
        return
    if (here.st_dev, here.st_ino) in seen:
        yield DataError(f"{folder}: a folder that was read before, by another name; it is not read again")
        return
    seen.add((here.st_dev, here.st_ino))
    for name in names:
        path = folder / name
        yield from _below(path, seen) if os.path.isdir(path) else (path,)
