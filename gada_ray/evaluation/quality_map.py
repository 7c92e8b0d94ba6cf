"""A smooth map of quality over an image, from predictions for overlapping crops.

Letters in shapes: a and b numbers of crops down and across, c crop side, h and w sides of an image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from gada_ray.config import TrainingConfig
from gada_ray.data.crops import grid_for
from gada_ray.evaluation.protocol import CROPS_AT_ONCE
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.system import devices

OVERLAP = 4
"""Crops overlap: their step is this fraction of their side."""


class QualityMap(NamedTuple):
    """Qualities of crops on a lattice over an image."""

    quality: np.ndarray
    """float64 `[a, b]`."""
    top: np.ndarray
    """int64 `[a]`, in pixels."""
    left: np.ndarray
    """int64 `[b]`."""
    crop_px: int

    def resized(self, height: int, width: int, factor: float = 1.0) -> np.ndarray:
        """The map `[height, width]` of an image that is shown `factor` times as large as it is.

        A pixel is the mean of the crops over it, each counting less the farther away its middle is. Pixels that no crop
        on the grid reaches, at the right and lower edge, are as the nearest that one does.
        """
        down, across = (
            _weights((np.arange(side) + 0.5) / factor, corners, self.crop_px)
            for side, corners in ((height, self.top), (width, self.left))
        )
        return np.asarray(down @ self.quality @ across.T)


def lattice(side: int, crop_px: int, grid: int) -> np.ndarray:
    """Corners, int64, of crops along a side: every quarter of a crop or the least of the grid, and at the far end."""
    step = max(1, crop_px // OVERLAP // grid) * grid
    last = (side - crop_px) // grid * grid
    return np.unique(np.append(np.arange(0, last + 1, step), last))


@torch.inference_mode()
def compute_quality_map(
    quality_network: QualityNetwork, image: np.ndarray, config: TrainingConfig, device: torch.device
) -> QualityMap:
    """The quality map of an image uint8 `[h, w, 3]`, of which no side may be shorter than a crop.

    Puts the quality network into evaluation mode and leaves it there. Memory holds the image and one batch of crops.
    """
    quality_network.eval()
    px, grid = config.data.crop_px, grid_for(config.test_alignment == "aligned")
    top, left = (lattice(side, px, grid) for side in image.shape[:2])
    pixels, parts = torch.from_numpy(np.require(image, requirements="W")), []
    crops = pixels.unfold(0, px, 1).unfold(1, px, 1)  # a view [h - c + 1, w - c + 1, 3, c, c]
    down, across = (torch.from_numpy(each.ravel()) for each in np.meshgrid(top, left, indexing="ij"))
    for part in torch.arange(len(down)).split(CROPS_AT_ONCE):
        batch = crops[down[part], across[part]].to(device).float().div_(255)
        batch = batch.contiguous(memory_format=torch.channels_last)
        with devices.autocast(device, config.precision):
            quality, _ = quality_network.evaluate(batch)
        parts.append(quality.cpu().double())
    return QualityMap(torch.cat(parts).view(len(top), len(left)).numpy(), top, left, px)


def _weights(at: np.ndarray, corners: np.ndarray, crop_px: int) -> np.ndarray:
    """Weight of every crop along a side at some positions, float64 `[positions, crops]`; rows sum to 1."""
    half = crop_px / 2
    within = at.clip(corners[0] + 0.5, corners[-1] + crop_px - 0.5)
    near = np.maximum(0, 1 - np.abs(within[:, None] - (corners + half)) / half)
    return np.asarray(near / near.sum(axis=1, keepdims=True))
