"""Sampling of crops: uniform, or rather where an image is salient, active or different from its reference.

A map weights the locations of an image with one number for every cell of 8x8 pixels. The probability of a window grows
with the mean of the map in it. All computation after the map is in integers, so that equal seeds give equal windows on
all machines.

Letters in shapes: n windows, m images, h and w the sides of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gada_ray.data.dataset import IqaDataset

CELL_PX = 8
UNIFORM_SHARE = 0.1
"""Fraction of draws that are uniform whatever the map: every window can be drawn, and the inverse of a probability is
at most ten times its mean (a defensive mixture; Hesterberg, 1995)."""
RESOLUTION = 2**16
"""Resolution of the probabilities of windows: integer steps in their mean."""
RESIDUAL_PX = 64
"""Width, in pixels, at which the spectral residual is computed, as its authors do."""
LUMA = np.array([0.299, 0.587, 0.114])


class Windows(NamedTuple):
    """Corners of crops, and the inverse of their probabilities; all of one shape."""

    top: Tensor
    """int64, in pixels."""
    left: Tensor
    weight: Tensor
    """float64, 1 / (N p) for a window of probability p among N: 1 where all are equal, with mean 1 over draws."""


def saliency(image: np.ndarray) -> np.ndarray:
    """The saliency of every cell of an image uint8 `[h, w, 3]`, by the spectral residual (Hou and Zhang, 2007)."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    height, width = image.shape[:2]
    grey = Image.fromarray(image).convert("L")
    small = np.asarray(grey.resize((RESIDUAL_PX, max(8, round(height * RESIDUAL_PX / width))), Image.Resampling.BOX))
    spectrum = np.fft.fft2(small.astype(np.float64))
    amplitude = np.log(np.abs(spectrum) + 1e-3)
    residual = amplitude - uniform_filter(amplitude, 3, mode="wrap")
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = gaussian_filter(found, 2.5, mode="nearest")
    size = tuple(-(-side // CELL_PX) for side in (width, height))
    resized = Image.fromarray(smooth.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float64)


def activity(image: np.ndarray) -> np.ndarray:
    """The local contrast of an image uint8 `[h, w, 3]`: the standard deviation of luminance in every cell."""
    luma = image @ LUMA
    return np.asarray(np.sqrt(np.maximum(_means(luma**2) - _means(luma) ** 2, 0)))


def difference(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The mean absolute difference of two images uint8 `[h, w, 3]` in every cell."""
    return _means(np.abs(image.astype(np.int16) - reference).mean(axis=2))


MAPS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"saliency": saliency, "activity": activity}
"""Maps that are computed from the image alone, by name."""


def _means(values: np.ndarray) -> np.ndarray:
    """Means of `[h, w]` over cells; cells at the right and lower edge may be smaller."""
    rows, columns = (np.arange(0, side, CELL_PX) for side in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    sizes = np.outer(*(np.diff(np.append(at, side)) for at, side in zip((rows, columns), values.shape, strict=True)))
    return np.asarray(sums / sizes)


def _of_row(dataset: IqaDataset, kind: str) -> Callable[[int], np.ndarray]:
    if kind == "difference":
        return lambda row: difference(dataset.distorted_image(row), dataset.reference_image(row))
    return lambda row: MAPS[kind](dataset.distorted_image(row))


def levels(found: np.ndarray) -> np.ndarray:
    """A map scaled to uint8 with a maximum of 255; 255 everywhere where the map is zero."""
    highest = found.max()
    return np.full(found.shape, 255, np.uint8) if highest <= 0 else np.rint(255 * found / highest).astype(np.uint8)


def maps(dataset: IqaDataset, kind: str) -> list[np.ndarray]:
    """The maps uint8 `[h/8, w/8]` (rounded up) of all distorted images, computed at the first request.

    Raises:
        DataError: for "difference" in a database without references.
    """
    if kind not in dataset.maps:
        of_row = _of_row(dataset, kind)
        dataset.maps[kind] = np.concatenate([levels(of_row(row)).ravel() for row in range(len(dataset))])
    sides = -(-dataset.shapes[dataset.first :] // CELL_PX)
    ends = np.cumsum(sides.prod(axis=1))
    return [part.reshape(side) for part, side in zip(np.split(dataset.maps[kind], ends[:-1]), sides, strict=True)]


class Sampler:
    """Draws windows of images with probabilities given by their maps."""

    def __init__(
        self,
        found: Iterable[np.ndarray],
        shapes: Sequence[tuple[int, int]] | np.ndarray,
        crop_px: int,
        grid: int,
        temperature: float,
    ) -> None:
        """Prepare for windows of `crop_px` on a grid of pixels.

        Args:
            found: a map for each of m images of `shapes`.
            temperature: probabilities are proportional to the mean of the map in a window to the power 1 / temperature;
                higher is nearer to uniform, lower is nearer to the maximum alone.
        """
        self.grid = grid
        chances, corners, sizes = [], [], []
        for cells, shape in zip(found, shapes, strict=True):
            rows, columns = (_corners(int(side) - crop_px, grid) for side in shape)
            here = np.outer(rows, columns)
            chances.append((_chances(cells, crop_px, len(rows), len(columns), temperature) * here).ravel())
            corners.append(np.stack([here, np.broadcast_to(columns, here.shape)], axis=-1).reshape(-1, 2))
            sizes.append((here.size, len(columns), here.sum(), chances[-1].sum()))
        self._upto = torch.from_numpy(np.append(0, np.concatenate(chances).cumsum()))
        """Cumulative integer probabilities of blocks of 8x8 corners, image after image."""
        self._corners = torch.from_numpy(np.concatenate(corners).astype(np.uint8))
        """The number of corners of a block that lie on the grid, and how many of them are in a row."""
        blocks, self._columns, self._windows, self._total = torch.from_numpy(np.array(sizes, dtype=np.int64)).T
        self._first, self._before = blocks.cumsum(0) - blocks, self._total.cumsum(0) - self._total

    def windows(self, images: Tensor, draws: Tensor) -> Windows:
        """Windows `[n]` of images `[n]`, by their number here, from float64 draws `[n]` in [0, 1)."""
        total = self._total[images]
        wanted = self._before[images] + torch.minimum((draws * total).long(), total - 1)
        block = torch.searchsorted(self._upto, wanted, right=True) - 1
        corners, wide = self._corners[block].long().T
        one = (self._upto[block + 1] - self._upto[block]) // corners
        row, column = _divided(block - self._first[images], self._columns[images])
        down, right = _divided((wanted - self._upto[block]) // one, wide)
        top, left = (
            -(-CELL_PX * at // self.grid) * self.grid + self.grid * within
            for at, within in ((row, down), (column, right))
        )
        return Windows(top, left, total.double() / (self._windows[images] * one))


def _divided(value: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    whole = value // by
    return whole, value - whole * by


def _corners(room: int, grid: int) -> np.ndarray:
    """The number of corners on a grid, from 0 to `room`, in each stretch of 8 pixels."""
    return np.bincount(np.arange(0, room + 1, grid) // CELL_PX, minlength=room // CELL_PX + 1)


def _chances(cells: np.ndarray, crop_px: int, rows: int, columns: int, temperature: float) -> np.ndarray:
    """Integer probabilities `[rows, columns]` of one window in every block of corners, with mean `RESOLUTION`."""
    side = -(-crop_px // CELL_PX)
    sums = np.pad(cells.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    top, left = np.arange(rows)[:, None], np.arange(columns)[None, :]
    below, beyond = (np.minimum(at + side, most) for at, most in zip((top, left), cells.shape, strict=True))
    mean = (sums[below, beyond] - sums[top, beyond] - sums[below, left] + sums[top, left]) / (
        (below - top) * (beyond - left)
    )
    # One level more everywhere, so that a mean of zero has a probability at every temperature.
    power = ((mean + 1) / (mean.max() + 1)) ** (1 / temperature)
    mixed = UNIFORM_SHARE + (1 - UNIFORM_SHARE) * power / power.mean()
    return np.asarray(np.rint(RESOLUTION * mixed), dtype=np.int64)


def sampler(
    dataset: IqaDataset, rows: Sequence[int] | np.ndarray, kind: str, crop_px: int, grid: int, temperature: float
) -> Sampler:
    """A sampler of windows of some distorted images, which it numbers in the order of `rows`."""
    found = maps(dataset, kind)
    return Sampler(
        [found[row] for row in rows], dataset.shapes[dataset.first + np.asarray(rows)], crop_px, grid, temperature
    )
