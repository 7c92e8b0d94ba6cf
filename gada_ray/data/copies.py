"""Images with equal pixels, which splits must keep on one side."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def equal_images(pixels: np.ndarray, offsets: np.ndarray, shapes: np.ndarray) -> list[list[int]]:
    """The numbers of all images, those with equal pixels together, in the order of their first.

    Args:
        pixels, offsets, shapes: as in `IqaDataset`.
    """

    def key(number: int) -> tuple[tuple[int, ...], bytes]:
        image = np.ascontiguousarray(pixels[offsets[number] : offsets[number + 1]])
        return tuple(shapes[number].tolist()), hashlib.sha256(image.data).digest()

    found: dict[object, list[int]] = defaultdict(list)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, each in enumerate(pool.map(key, range(len(shapes)))):
            found[each].append(number)
    return list(found.values())


def is_blank(pixels: np.ndarray) -> bool:
    """Whether an image, uint8 flat or `[h, w, 3]`, has one colour."""
    colours = pixels.reshape(-1, 3)
    return bool((colours == colours[0]).all())


def merged(groups: Sequence[str], equal: Iterable[Sequence[int]]) -> list[str]:
    """The groups of images after those that share pixels have become one, which has the first of their names.

    Args:
        groups: the group of every image.
        equal: numbers of images that belong together.
    """
    first: dict[str, str] = {}

    def root(group: str) -> str:
        while group in first:
            group = first[group]
        return group

    for numbers in equal:
        least, *others = sorted({root(groups[number]) for number in numbers})
        first |= dict.fromkeys(others, least)
    return [root(group) for group in groups]
