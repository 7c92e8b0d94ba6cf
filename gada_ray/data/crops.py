"""Crops of many images at once, gathered on the device that holds the pixels.

Letters in shapes: n crops, c crop side in pixels, r references, m distorted images.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gada_ray.data.dataset import IqaDataset, Photographs
from gada_ray.system import devices

if TYPE_CHECKING:
    from gada_ray.data.prepared import Prepared


def seed_for(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part (except trailing zeros) and is the same on every machine.

    Each random decision has its own seed, derived from what it decides (split, phase, step, image), so that an
    interrupted training continues exactly without saved generator states.
    """
    words = [word for part in parts for word in (part.encode() if isinstance(part, str) else (part,))]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def generator_for(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `seed_for(*parts)`; random numbers are drawn on the CPU whatever the device."""
    return torch.Generator().manual_seed(seed_for(*parts))


PLASTIC = (0.7548776662466927, 0.5698402909980532)
"""The inverse of the plastic number and its square: the steps of the R2 low-discrepancy sequence."""


def random_places(count: int, generator: torch.Generator) -> Tensor:
    """Independent places, float64 `[count, 2]` in [0, 1)."""
    return torch.rand(count, 2, generator=generator, dtype=torch.float64)


def even_places(count: int) -> Tensor:
    """The first points of the R2 sequence (Roberts, 2018), which covers a square evenly; float64 `[count, 2]`."""
    steps = torch.tensor(PLASTIC, dtype=torch.float64)
    return (0.5 + torch.arange(1, count + 1, dtype=torch.float64)[:, None] * steps) % 1


BLOCK_PX = 8
"""Side of the blocks of a JPEG file; corners of aligned crops are multiples of it."""


def grid_for(aligned: bool) -> int:
    """Pixels between possible corners: a block where all crops are aligned, else 1."""
    return BLOCK_PX if aligned else 1


def align(top: Tensor, left: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (top, left) where those that `which`, bool of their shape, names are moved up and left to the block grid.

    A moved crop stays inside its image, since it moves towards the image's first pixel by 0 to 7 pixels.
    """
    moved = (torch.where(which, at - at % BLOCK_PX, at) for at in (top, left))
    return next(moved), next(moved)


def count_aligned(crops: int, fraction: float) -> int:
    """How many of the crops of a step are aligned: the first ones, so that their number is the same in every step."""
    return round(fraction * crops)


def align_fraction(top: Tensor, left: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Corners `[n]` of which the first `fraction` are aligned."""
    return align(top, left, torch.arange(len(top)) < count_aligned(len(top), fraction))


def every_other(crops: int) -> Tensor:
    """Which crops of an image are aligned in a mixed test, bool `[k]`: every other one, beginning with the first."""
    return torch.arange(crops) % 2 == 0


def corners(shapes: Tensor, places: Tensor, crop_px: int, grid: int) -> tuple[Tensor, Tensor]:
    """Corners (top, left), int64 [n] each, of crops at places `[n, 2]` in [0, 1) of images of `shapes` `[n, 2]`."""
    room = (shapes - crop_px) // grid + 1
    found = (places * room).long() * grid
    return found[:, 0], found[:, 1]


def random_corners(
    shapes: Tensor, crop_px: int, generator: torch.Generator, aligned_fraction: float
) -> tuple[Tensor, Tensor]:
    """Uniform random corners (top, left), int64 [n] each, of crops of images of `shapes` `[n, 2]`."""
    grid = grid_for(aligned_fraction == 1)
    found = corners(shapes, random_places(len(shapes), generator), crop_px, grid)
    return align_fraction(*found, aligned_fraction)


class Pictures:
    """Pixels on a device, as images in [0, 1].

    Sets of pixels that are too large for a GPU stay in host memory, where all trials of a node share them. Crops are
    then gathered on the host and copied from pinned memory, which the GPU does not wait for.
    """

    def __init__(self, images: IqaDataset | Photographs | Prepared, device: torch.device) -> None:
        with warnings.catch_warnings():
            # The array may be a read-only view of shared memory; it is only ever read here.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            pixels = torch.from_numpy(images.pixels)
        self.device = device
        self.on_host = devices.leaves_on_host(pixels.nbytes, device)
        self.pixels = pixels if self.on_host else pixels.to(device)
        self.offsets = torch.from_numpy(images.offsets.copy())
        self.shapes = torch.from_numpy(images.shapes.copy())

    def windows(
        self, images: Tensor, crop_px: int, generator: torch.Generator, aligned_fraction: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Uniform random corners (top, left), int64 [n] each, of crops of some images."""
        return random_corners(self.shapes[images], crop_px, generator, aligned_fraction)

    def spread(self, images: Tensor, crop_px: int, grid: int = 1) -> tuple[Tensor, Tensor]:
        """Corners that cover an image evenly, for any number n of crops; `images` repeats its number n times."""
        return corners(self.shapes[images], even_places(len(images)), crop_px, grid)

    def gather(self, images: Tensor, top: Tensor, left: Tensor, crop_px: int) -> Tensor:
        """Crops `[n, 3, c, c]` in [0, 1] of images (numbers as in `IqaDataset`), in one indexing operation."""
        line = 3 * self.shapes[images, 1]
        corners = torch.stack([self.offsets[images] + top * line + 3 * left, line])
        if not self.on_host:
            corners = devices.to_device(corners, self.device)
        start, line = corners
        rows = torch.arange(crop_px, device=start.device)[None, :] * line[:, None]
        columns = torch.arange(3 * crop_px, device=start.device)
        index = (start[:, None] + rows)[:, :, None] + columns
        crops = self.pixels[index].view(len(images), crop_px, crop_px, 3)
        if self.on_host:
            crops = devices.to_device(crops, self.device)
        # Channels stay last in memory, which convolutions prefer on CPU and on GPU.
        return crops.permute(0, 3, 1, 2).to(torch.float32).div_(255)


class CropSource(Pictures):
    """The pixels and labels of a dataset on a device. Images are in [0, 1]; higher quality is better."""

    def __init__(self, dataset: IqaDataset, device: torch.device) -> None:
        super().__init__(dataset, device)
        self.dataset = dataset
        self.reference = torch.from_numpy(dataset.reference.copy())
        self.distortion = torch.from_numpy(dataset.distortion.copy())
        self.quality = torch.from_numpy(dataset.quality.copy())
        self.first = dataset.first
        self.distortions = dataset.distortions

    @cached_property
    def extra(self) -> Pictures:
        """The dataset's unlabelled photographs, which are moved to the device at their first use."""
        assert self.dataset.extra is not None
        return Pictures(self.dataset.extra, self.device)

    def distorted(self, rows: Tensor) -> Tensor:
        """Image numbers of distorted rows, int64 [n]."""
        return self.first + rows
