"""Decoding of image files: which kinds are accepted, and how many files become the one flat array of a dataset.

Every image becomes 8-bit RGB, without resampling unless a `shorter_side` is requested. Accepted are:

- RGB and palette images as they are; grey and black-and-white images with three equal channels.
- 16 bits a channel become 8 by the high byte (`>> 8`), which is also what PIL does to 16-bit colour.
- An alpha channel only where every pixel is opaque: what lies behind a transparent pixel affects its quality, and the
  file does not say what that is.

An EXIF orientation is applied, as viewers do and as scoring does. Everything else is refused by name: CMYK,
floating-point, 32-bit and animated images, and images of more pixels than PIL's limit.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from gada_ray.data import mapped, memory
from gada_ray.data.copies import equal_images, is_blank, merged
from gada_ray.data.dataset import DataError, Direction, IqaDataset
from gada_ray.data.words import counted, some

# What PIL's plugins raise on damaged files.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error),
    *(NotImplementedError, KeyError, TypeError, ZeroDivisionError, zlib.error),
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
EIGHT_BIT = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")
"""PIL's kinds of 8-bit pixels that are accepted; each of them may have transparent ones."""
BAND_PX = 2**23
"""Pixels that are converted at once; larger images are converted in bands of rows."""
TOO_LARGE = "images of more pixels than the limit"
"""The kind of the error for images that exceed PIL's limit."""

UNSPECIFIED = "unspecified"
"""The distortion class of images that are given without one."""

Parts = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Training, validation and test part, by names of references or groups."""

In = TypeVar("In")
Out = TypeVar("Out")


class Labelled(NamedTuple):
    """A distorted image of a database before it is decoded."""

    name: str
    """Its path in the database, the same on every machine."""
    path: Path
    reference: str
    distortion: str
    score: float


def decode(path: Path) -> np.ndarray:
    """Decode a file into an image uint8 `[h, w, 3]`, upright, by the rules above.

    Raises:
        DataError: for a file that is missing, truncated or not an image, or of a kind that is refused; names the file.
    """
    return _decoded(path)[0]


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
    published: tuple[Collection[str], Collection[str], Collection[str]] | None = None,
    workers: int | None = None,
) -> IqaDataset:
    """Decode all files of a database in threads into one dataset.

    The array is allocated from the files' headers and filled in place, so the peak of memory is about one copy, and one
    image for every thread. Where memory is short the array is a file that is mapped (see `mapped`), with the same
    pixels. All files are read before an error is raised.

    Args:
        references: files by the name of the reference; None for a database without references, whose images name
            groups. Groups of images with equal pixels become one, so that no split has a picture on both sides.
        shorter_side: shrink images whose shorter side has more pixels than this.
        published: groups of the authors' training, validation and test parts, in a database without references.
        workers: number of threads; the number of cores when None.

    Raises:
        DataError: a line for every file that cannot be decoded, every distorted image whose size differs from its
            reference's, every name that occurs twice and every score that is not a finite number (many of one kind
            are counted); and for more pixels than fit into memory or on the disk, with what would fit.
    """
    if not images:
        raise DataError(f"{name}: no distorted images")
    named, parts = [image.reference for image in images], None
    files = [(references or {})[reference] for reference in sorted(references or {})]
    paths = [*files, *(image.path for image in images)]
    decoded = _decode_all(name, paths, shorter_side, workers)
    problems = _label_problems(images) + decoded.problems
    if references:
        number_of = {reference: number for number, reference in enumerate(sorted(references))}
        problems += _size_problems(decoded, [number_of[reference] for reference in named], paths)
    if problems:
        raise DataError.of(problems)
    shapes = memory.shrunk(decoded.sizes, shorter_side)
    notes = [*notes, *_notes(decoded, paths, shorter_side)]
    if references is None:
        named, parts, copies = _with_copies(images, decoded, shapes, published)
        notes += copies
    numbers = {reference: number for number, reference in enumerate(sorted(references or set(named)))}
    classes = {distortion: number for number, distortion in enumerate(distortions)}
    return IqaDataset(
        name=name,
        labels=labels,
        direction=direction,
        score_range=score_range,
        pixels=decoded.pixels,
        offsets=decoded.offsets,
        shapes=shapes,
        references=tuple(numbers),
        images=tuple(image.name for image in images),
        reference=np.array([numbers[reference] for reference in named], dtype=np.int64),
        distortions=tuple(distortions),
        distortion=np.array([classes[image.distortion] for image in images], dtype=np.int64),
        score=np.array([image.score for image in images], dtype=np.float64),
        notes=tuple(notes),
        has_references=references is not None,
        published=parts,
    )


def _with_copies(
    images: Sequence[Labelled],
    decoded: _Decoded,
    shapes: np.ndarray,
    published: tuple[Collection[str], Collection[str], Collection[str]] | None,
) -> tuple[list[str], Parts | None, list[str]]:
    """The group of every image, the published parts and notes, after groups that share a picture have become one.

    Blank pictures stay apart: they show nothing, and are refused before training. A group in several published parts
    goes to the test part or, where that has none of it, to the validation part.
    """
    groups = [image.reference for image in images]
    equal = [
        numbers
        for numbers in equal_images(decoded.pixels, decoded.offsets, shapes)
        if len({groups[number] for number in numbers}) > 1
        and not is_blank(decoded.pixels[decoded.offsets[numbers[0]] : decoded.offsets[numbers[0] + 1]])
    ]
    joint = merged(groups, equal)
    notes = []
    if equal:
        listed = some([" and ".join(images[number].name for number in numbers) for numbers in equal])
        pictures = counted(len(equal), "picture occurs", "pictures occur")
        notes.append(f"{pictures} under several names, which splits keep together: {listed}")
    if published is None:
        return joint, None, notes
    new = dict(zip(groups, joint, strict=True))
    train, validation, test = ({new[name] for name in part} for part in published)
    divided = sorted((train & validation) | (train & test) | (validation & test))
    if divided:
        notes.append(
            f"the authors' parts divide {some(divided)}, which this program keeps in the part that is tested on"
        )
    parts = train - validation - test, validation - test, test
    return joint, tuple(tuple(sorted(part)) for part in parts), notes  # type: ignore[return-value]


@dataclass
class _Decoded:
    """The pixels of many files, and what was found on the way."""

    pixels: np.ndarray
    """uint8, flat."""
    offsets: np.ndarray
    """int64 [n + 1]."""
    sizes: np.ndarray
    """int64 [n, 2]: height and width before shrinking, upright; 0 where the header cannot be read."""
    turned: list[int]
    """Numbers of the files that an EXIF orientation turned or mirrored."""
    problems: list[DataError]


def _decode_all(name: str, paths: Sequence[Path], shorter_side: int | None, workers: int | None) -> _Decoded:
    """Decode files in threads into one array; what is wrong with a file is kept and hides no other.

    Raises:
        DataError: for more pixels than fit into free memory or, mapped, on the disk of the cache folder.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        headers = pool.map(attempt(header_size), paths)
        sizes = np.array([(0, 0) if isinstance(size, DataError) else size for size in headers], dtype=np.int64)
        # Turning an image exchanges its sides and keeps its place in the array.
        offsets = np.concatenate([[0], np.cumsum(memory.shrunk(sizes, shorter_side).prod(axis=1) * 3)])
        path = None
        if mapped.is_required() or not memory.fits(sizes, shorter_side):
            path = mapped.path_for(paths, shorter_side)
            if found := mapped.find(path, int(offsets[-1])):
                return _Decoded(found.pixels, offsets, np.array(found.sizes), found.turned, [])
            memory.check_disk(name, sizes, shorter_side, path)
        pixels = np.empty(offsets[-1], dtype=np.uint8) if path is None else mapped.create(path, int(offsets[-1]))

        def fill(number: int) -> bool:
            image, turned = _decoded(paths[number])
            size = image.shape[:2]
            if sorted(size) != sorted(sizes[number]):
                raise DataError(f"{paths[number]}: its header says {sizes[number]}, its pixels are {size}")
            sizes[number] = size
            pixels[offsets[number] : offsets[number + 1]] = shrink(image, shorter_side).ravel()
            return turned

        outcomes = list(pool.map(attempt(fill), range(len(paths))))
    problems = [outcome for outcome in outcomes if isinstance(outcome, DataError)]
    turned = [number for number, outcome in enumerate(outcomes) if outcome is True]
    if isinstance(pixels, np.memmap) and path is not None:
        if problems:
            mapped.discard(pixels)
        else:
            pixels = mapped.finish(pixels, path, sizes, turned)
    return _Decoded(pixels, offsets, sizes, turned, problems)


def _label_problems(images: Sequence[Labelled]) -> list[DataError]:
    """Names that occur twice, and scores that are not finite."""
    counts = Counter(image.name for image in images)
    twice = [
        DataError(f"{name}: listed {times} times", "images listed more than once")
        for name, times in counts.items()
        if times > 1
    ]
    return twice + [
        DataError(f"{image.name}: score {image.score} is not a finite number", "scores that are not finite numbers")
        for image in images
        if not np.isfinite(image.score)
    ]


def _size_problems(decoded: _Decoded, reference: Sequence[int], paths: Sequence[Path]) -> list[DataError]:
    """Distorted images whose size differs from their reference's; their files follow those of the references."""
    first = len(paths) - len(reference)

    def described(number: int) -> str:
        height, width = decoded.sizes[number]
        return f"{width}x{height}" + (" (turned by its EXIF orientation)" if number in turned else "")

    problems, turned = [], set(decoded.turned)
    for number, of in enumerate(reference, start=first):
        sizes = decoded.sizes[[number, of]]
        if sizes.all() and (sizes[0] != sizes[1]).any():
            problems.append(
                DataError(
                    f"{paths[number]}: {described(number)} pixels, but its reference {paths[of]} has {described(of)}; "
                    "they must agree",
                    "images of another size than their reference",
                )
            )
    return problems


def _notes(decoded: _Decoded, paths: Sequence[Path], shorter_side: int | None) -> list[str]:
    """Notes on images that were turned or shrunk."""
    notes = []
    if file := mapped.file_of(decoded.pixels):
        notes.append(
            f"the pixels ({memory.gib(decoded.pixels.nbytes)}) do not fit twice into memory and are mapped from "
            f"{file}, which may be deleted after use; {memory.advice(decoded.sizes, memory.COPIES, memory.free())}"
        )
    if decoded.turned:
        names = some([paths[number].name for number in decoded.turned])
        images = counted(len(decoded.turned), "image is", "images are")
        notes.append(f"{images} turned upright by an EXIF orientation: {names}")
    smaller = int((memory.shrunk(decoded.sizes, shorter_side) != decoded.sizes).any(axis=1).sum())
    if smaller:
        notes.append(
            f"{smaller} of {len(paths)} images were shrunk to {shorter_side} pixels on their shorter side (bicubic)"
        )
    return notes


def attempt(function: Callable[[In], Out]) -> Callable[[In], Out | DataError]:
    """The same function with its DataError returned, so that one bad file does not hide the others."""

    def attempted(value: In) -> Out | DataError:
        try:
            return function(value)
        except DataError as error:
            return error

    return attempted


def read(file: Path | BinaryIO, name: object, take: Callable[[Image.Image], Out]) -> Out:
    """Open an image file and return what `take` makes of it.

    Raises:
        DataError: for whatever is wrong with the file, and what `take` raises as such; names the file by `name`.
    """
    try:
        with Image.open(file) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            return take(image)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file", "files that do not exist") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image", "files that are not images") from None
    except DataError as error:
        raise DataError(f"{name}: {error}", error.kind or str(error)) from None
    except _BOMB:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise DataError(
            f"{name}: larger than the limit of {limit:.4g} megapixels; save it smaller", TOO_LARGE
        ) from None
    except _DAMAGED as error:
        raise DataError(f"{name}: damaged or unreadable ({error})", "files that are damaged or unreadable") from None


def shrink(image: np.ndarray, shorter_side: int | None) -> np.ndarray:
    """An image uint8 `[h, w, 3]`, bicubically shrunk to a shorter side; as it is without one, or if it is small."""
    height, width = memory.shrunk(np.array([image.shape[:2]]), shorter_side)[0].tolist()
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def header_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header, without regard to its EXIF orientation."""
    return read(path, path, lambda image: (image.height, image.width))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where it has none or one that means nothing."""
    image.load()  # PIL itself turns some kinds of files while it loads them, and then says so here
    # Not ImageOps.exif_transpose, which also rewrites all metadata, and fails on some that cameras write.
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn or mirror pixels `[h, w, 3]` as their EXIF orientation, 1 to 8, asks for."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decoded(path: Path) -> tuple[np.ndarray, bool]:
    """The upright image of a file, uint8 `[h, w, 3]`, and whether an EXIF orientation changed it."""
    pixels, turn = read(path, path, _pixels)
    return upright(pixels, turn), turn != 1


def _pixels(image: Image.Image) -> tuple[np.ndarray, int]:
    """Pixels as stored, uint8 `[h, w, 3]`, and their EXIF orientation; the DataErrors do not name the file."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(
            f"{frames} frames or pages; keep the one that has the score", "files of several frames or pages"
        )
    turn = orientation(image)
    if image.mode in EIGHT_BIT and image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise DataError("has transparent pixels; put it on the background that was shown, without alpha")
    return rgb(image), turn


def rgb(image: Image.Image) -> np.ndarray:
    """An image as uint8 `[h, w, 3]` without regard to alpha.

    Large images are converted in bands of rows, so that no second copy of them is made.

    Raises:
        DataError: for kinds of pixels that are refused, without the file's name.
    """
    if image.mode.startswith("I;16") and not image.has_transparency_data:
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode not in EIGHT_BIT:
        raise DataError(f"images of mode {image.mode} are refused; save it as 8-bit RGB or grey")
    return in_bands(image, lambda band: np.asarray(band.convert("RGB")))


def in_bands(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Convert an image to uint8 `[h, w, 3]`, a band of rows at a time where it is large."""
    rows = max(1, BAND_PX // image.width)
    if image.height <= rows:
        return convert(image)
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, rows):
        pixels[top : top + rows] = convert(image.crop((0, top, image.width, min(image.height, top + rows))))
    return pixels
