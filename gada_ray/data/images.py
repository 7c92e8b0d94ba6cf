"""Image files to pixels: the rules of decoding, and many files into the one flat array of a dataset.

What is accepted, always as 8-bit RGB, and without resampling unless a `shorter_side` is asked for:

- RGB and palette images as they are; grey and black-and-white images with three equal channels.
- 16 bits a channel become 8 by the high byte (`>> 8`), which is also what PIL does to 16-bit colour.
- An alpha channel only where every pixel is opaque: what lies behind a transparent pixel is part of its quality, and
  no file says what that is.

Everything else is refused by name: CMYK, floating-point, 32-bit and animated images, and images of more pixels than
PIL takes for a decompression bomb. An EXIF orientation is not applied: pixels are taken as they are stored.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gada_ray.data import memory
from gada_ray.data.dataset import DataError, Direction, IqaDataset

# What PIL's plugins raise on damaged files.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error),
    *(NotImplementedError, KeyError, TypeError, ZeroDivisionError, zlib.error),
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
EIGHT_BIT = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")
"""PIL's kinds of 8-bit pixels that are accepted; each of them may have transparent ones."""

UNSPECIFIED = "unspecified"
"""The distortion class of images that are given without one."""

In = TypeVar("In")
Out = TypeVar("Out")


class Labelled(NamedTuple):
    """One distorted image of a database before decoding."""

    name: str
    """Its path in the database, the same on every machine."""
    path: Path
    reference: str
    distortion: str
    score: float


def decode(path: Path) -> np.ndarray:
    """The image of a file, uint8 `[h, w, 3]`, by the rules above.

    Raises:
        DataError: for a file that is missing, truncated or no image, or of a kind that is refused; names the file.
    """
    return read(path, path, _pixels)


def load_images(
    *,
    name: str,
    labels: str,
    direction: Direction,
    score_range: tuple[float, float],
    references: Mapping[str, Path] | None,
    images: Sequence[Labelled],
    distortions: Sequence[str],
    notes: Sequence[str] = (),
    shorter_side: int | None = None,
    published: tuple[Iterable[str], Iterable[str], Iterable[str]] | None = None,
    workers: int | None = None,
) -> IqaDataset:
    """Decode all files of a database in threads into one dataset.

    The array is allocated from the files' headers and filled in place, so the peak of memory is about one copy, and one
    image for every thread. Files are all looked at before anything is raised.

    Args:
        references: files by the name of the reference; None for a database that has none, whose images name groups.
        shorter_side: shrink images to at most this many pixels there.
        published: groups of its authors' training, validation and test part.
        workers: threads; as many as there are cores when None.

    Raises:
        DataError: a line for every file that cannot be decoded, every distorted image whose size is not its
            reference's, every name that occurs twice and every score that is no finite number; and for more pixels
            than there is free memory, with what would fit.
    """
    if not images:
        raise DataError(f"{name}: no distorted images")
    files = references or {}
    groups = {image.reference for image in images} if references is None else references
    numbers = {reference: number for number, reference in enumerate(sorted(groups))}
    paths = [files[reference] for reference in numbers if reference in files] + [image.path for image in images]
    first = len(files)
    problems = [f"{image}: listed {n} times" for image, n in Counter(image.name for image in images).items() if n > 1]
    problems += [
        f"{image.name}: score {image.score} is no finite number" for image in images if not np.isfinite(image.score)
    ]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        sizes = list(pool.map(attempt(header_size), paths))
        for image, size in zip(images if references else (), sizes[first:], strict=bool(references)):
            wanted = sizes[numbers[image.reference]]
            if not isinstance(size, DataError) and not isinstance(wanted, DataError) and size != wanted:
                problems.append(
                    f"{image.path}: {size[1]}x{size[0]} pixels, but its reference "
                    f"{files[image.reference]} has {wanted[1]}x{wanted[0]}; they must agree"
                )
        found = np.array([(0, 0) if isinstance(size, DataError) else size for size in sizes], dtype=np.int64)
        memory.check(name, found, shorter_side)
        shapes = memory.shrunk(found, shorter_side)
        offsets = np.concatenate([[0], np.cumsum(shapes.prod(axis=1) * 3)])
        pixels = np.empty(offsets[-1], dtype=np.uint8)

        def fill(number: int) -> None:
            image = decode(paths[number])
            if image.shape[:2] != tuple(found[number]):
                raise DataError(f"{paths[number]}: its header says {found[number]}, its pixels are {image.shape[:2]}")
            pixels[offsets[number] : offsets[number + 1]] = shrink(image, shorter_side).ravel()

        filled = pool.map(attempt(fill), range(len(paths)))
        problems += [str(outcome) for outcome in filled if isinstance(outcome, DataError)]
    if problems:
        raise DataError("\n".join(problems))
    classes = {distortion: number for number, distortion in enumerate(distortions)}
    return IqaDataset(
        name=name,
        labels=labels,
        direction=direction,
        score_range=score_range,
        pixels=pixels,
        offsets=offsets,
        shapes=shapes,
        references=tuple(numbers),
        images=tuple(image.name for image in images),
        reference=np.array([numbers[image.reference] for image in images], dtype=np.int64),
        distortions=tuple(distortions),
        distortion=np.array([classes[image.distortion] for image in images], dtype=np.int64),
        score=np.array([image.score for image in images], dtype=np.float64),
        notes=(*notes, *_said(found, shapes, shorter_side)),
        has_references=references is not None,
        published=published and tuple(tuple(sorted(set(part))) for part in published),  # type: ignore[arg-type]
    )


def _said(found: np.ndarray, shapes: np.ndarray, shorter_side: int | None) -> tuple[str, ...]:
    smaller = int((found != shapes).any(axis=1).sum())
    if not smaller:
        return ()
    return (f"{smaller} of {len(found)} images were shrunk to {shorter_side} pixels on their shorter side (bicubic)",)


def attempt(function: Callable[[In], Out]) -> Callable[[In], Out | DataError]:
    """The same function with its DataError returned, so that one bad file does not hide the others."""

    def attempted(value: In) -> Out | DataError:
        try:
            return function(value)
        except DataError as error:
            return error

    return attempted


def read(file: Path | BinaryIO, name: object, take: Callable[[Image.Image], Out]) -> Out:
    """What `take` makes of an opened image file.

    Raises:
        DataError: for whatever is wrong with the file, and what `take` raises as such; names the file by `name`.
    """
    try:
        with Image.open(file) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            return take(image)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image") from None
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except _BOMB:
        raise DataError(f"{name}: more than {Image.MAX_IMAGE_PIXELS} pixels, refused as a decompression bomb") from None
    except _DAMAGED as error:
        raise DataError(f"{name}: damaged or unreadable ({error})") from None


def shrink(image: np.ndarray, shorter_side: int | None) -> np.ndarray:
    """An image uint8 `[h, w, 3]`, bicubically shrunk to a shorter side; as it is without one, or if it is small."""
    height, width = memory.shrunk(np.array([image.shape[:2]]), shorter_side)[0].tolist()
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def header_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header."""
    return read(path, path, lambda image: (image.height, image.width))


def _pixels(image: Image.Image) -> np.ndarray:
    """uint8 `[h, w, 3]`; the DataErrors are without the file's name."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"{frames} frames or pages; keep the one that was judged")
    if image.mode in EIGHT_BIT and image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise DataError("has transparent pixels; put it on the background that was shown, without alpha")
    return rgb(image)


def rgb(image: Image.Image) -> np.ndarray:
    """uint8 `[h, w, 3]` without regard to alpha.

    Raises:
        DataError: for kinds of pixels that are refused, without the file's name.
    """
    if image.mode.startswith("I;16") and not image.has_transparency_data:
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode not in EIGHT_BIT:
        raise DataError(f"images of mode {image.mode} are refused; save it as 8-bit RGB or grey")
    return np.asarray(image.convert("RGB"))
