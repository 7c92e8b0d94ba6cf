"""Decoding of photographs for scoring: more kinds of files are accepted than in a database, each by a stated rule.

- Any size; grey, palette and black-and-white images get three channels, 16 bits become 8 by the high byte, all as in
  databases.
- An EXIF orientation is applied.
- Transparent pixels lie on white.
- CMYK becomes RGB by PIL's plain formula. Colour profiles are not used, here as in databases.
- Of a camera's multi-picture file (MPO) the main picture is taken.

Animations, files of several pages, floating-point and 32-bit pixels, and images of more pixels than PIL's limit
(`Image.MAX_IMAGE_PIXELS`, which the command `score` raises) are refused by name.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from gada_ray.data import memory
from gada_ray.data.dataset import DataError, Photographs
from gada_ray.data.images import EIGHT_BIT, attempt, header_size, in_bands, orientation, read, rgb, upright
from gada_ray.data.words import counted

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
"""What an address on the network begins with."""
LARGE_PX = 2**25
"""Photographs of more pixels are decoded one at a time, since each may take gigabytes of memory."""
_one_large = threading.Lock()


def decode_photo(file: str | Path | bytes, name: object | None = None) -> np.ndarray:
    """Decode a file, or the bytes of one, into an image uint8 `[h, w, 3]`, upright, by the rules above.

    Raises:
        DataError: for a file that is missing, truncated or not an image, or of a kind that is refused; names the file,
            or bytes by `name`.
    """
    if isinstance(file, bytes):
        return upright(*read(io.BytesIO(file), name, _pixels))
    # Opening a pipe would wait for somebody to write to it.
    if os.path.exists(file) and not os.path.isfile(file):
        raise DataError(f"{file}: not a regular file")
    return upright(*read(Path(file), file, _pixels))


def _pixels(image: Image.Image) -> tuple[np.ndarray, int]:
    """Pixels as stored, uint8 `[h, w, 3]`, and their EXIF orientation; the DataErrors do not name the file."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise DataError(f"{frames} frames or pages; save the one to be scored", "files of several frames or pages")
    with _one_large if image.width * image.height > LARGE_PX else contextlib.nullcontext():
        turn = orientation(image)
        if image.mode == "CMYK":
            return in_bands(image, lambda band: np.asarray(band.convert("RGB"))), turn
        if image.mode in EIGHT_BIT and image.has_transparency_data:
            return in_bands(image, _on_white), turn
        return rgb(image), turn


def _on_white(image: Image.Image) -> np.ndarray:
    """An image with transparent pixels on a white background, uint8 `[h, w, 3]`."""
    image = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def load_photographs(folder: Path, workers: int | None = None) -> Photographs:
    """Decode all images below a folder as `decode_photo` does, in the order of their names; skip other files.

    Raises:
        DataError: for a missing folder, one without images, more images than fit into memory, or a line for every image
            that cannot be read (many of one kind are counted).
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder; --extra-references takes a folder of photographs")
    found = list(_below(str(folder), set()))
    problems = [one for one in found if isinstance(one, DataError)]
    known = Image.registered_extensions()
    files = [Path(one) for one in found if isinstance(one, str) and Path(one).suffix.lower() in known]
    if not files and not problems:
        raise DataError(f"{folder}: no images in it; --extra-references takes a folder of photographs")
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        sizes = [size for size in pool.map(attempt(header_size), files) if not isinstance(size, DataError)]
        # Images one by one, and then in one array.
        needed, room = 2 * memory.size(np.array(sizes or [(0, 0)])), memory.free()
        if needed > memory.SPARE * room:
            raise DataError(
                f"{folder}: {counted(len(sizes), 'photograph')} need {memory.gib(needed)} of memory, "
                f"{memory.gib(room)} are free here; give fewer or smaller ones"
            )
        images = list(pool.map(attempt(decode_photo), files))
    problems += [image for image in images if isinstance(image, DataError)]
    if problems:
        raise DataError.of(problems)
    pictures = [image for image in images if not isinstance(image, DataError)]
    return Photographs(
        names=tuple(file.relative_to(folder).as_posix() for file in files),
        pixels=np.concatenate([image.ravel() for image in pictures]),
        offsets=np.cumsum([0, *(image.size for image in pictures)], dtype=np.int64),
        shapes=np.array([image.shape[:2] for image in pictures], dtype=np.int64),
    )


def find_photos(paths: Iterable[str | Path | None]) -> Iterator[str | DataError | None]:
    """Every file of some files and folders, with its path as it was written; None is passed on.

    Folders are read with all folders below them, in the order of names. Files and folders whose names begin with a dot
    are left out. Links are followed, but no folder is read twice. A DataError names what cannot be listed, a folder
    without files, and an address such as https://.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if path is None:
            yield None
        elif ADDRESS.match(str(path)):
            yield DataError(f"{path}: an address on the network; download the file and give its path")
        elif os.path.isdir(path):
            found = list(_below(str(path), seen))
            yield from found or [DataError(f"{path}: no images in this folder")]
        else:
            yield str(path)


def _below(folder: str, seen: set[tuple[int, int]]) -> Iterator[str | DataError]:
    try:
        here = os.stat(folder)
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if not entry.name.startswith("."))
    except OSError as error:
        yield DataError(f"{folder}: cannot be listed ({error.strerror})")
        return
    if (here.st_dev, here.st_ino) in seen:
        yield DataError(f"{folder}: another name of a folder that was already read; it is not read again")
        return
    seen.add((here.st_dev, here.st_ino))
    for name in names:
        path = os.path.join(folder, name)
        yield from _below(path, seen) if os.path.isdir(path) else (path,)
