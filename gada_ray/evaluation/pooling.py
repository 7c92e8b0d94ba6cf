"""Pooling of crop predictions into one quality, and its standard error.

Letters in shapes: m images, k crops of each.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MIDDLE = 0.5
"""Middle of the quality scale. Inverse-probability weights apply to differences from it, which keeps the expectation
and removes most of the variance of the weights."""


class CropScores(NamedTuple):
    """Predictions for the crops of some images, float32 `[m, k]` each."""

    quality: Tensor
    weight: Tensor
    """Weight of a crop in the pooling; 1 if all are equal."""

    def first(self, crops: int) -> CropScores:
        """The first crops of every image."""
        return CropScores(self.quality[:, :crops], self.weight[:, :crops])


def weighted_mean(quality: Tensor, weight: Tensor) -> Tensor:
    """The mean over crops `[m, k]` of an image, weighted, as `[m]` (Bosse et al. 2018)."""
    return (weight * quality).sum(dim=1) / weight.sum(dim=1)


def pooled(scores: CropScores, pooling: str) -> Tensor:
    """Quality `[m]` of images from those of their crops `[m, k]`."""
    quality, weight = scores
    match pooling:
        case "median":
            return quality.quantile(0.5, dim=1)
        case "inverse":
            return MIDDLE + (weight * (quality - MIDDLE)).mean(dim=1)
        case "learned":
            return weighted_mean(quality, weight)
        case _:
            return quality.mean(dim=1)


def spread(scores: CropScores, pooling: str) -> Tensor:
    """The standard error `[m]` of `pooled` by the draw of the crops; of the mean also for the median.

    It falls with the square root of the number of crops, so it says how many of them another spread would take.
    """
    quality, weight = scores
    crops = quality.shape[1]
    if crops == 1:
        return torch.zeros(len(quality))
    match pooling:
        case "inverse":
            return (weight * (quality - MIDDLE)).std(dim=1) / math.sqrt(crops)
        case "learned":  # a ratio of means, to first order
            off = weight * (quality - pooled(scores, pooling)[:, None])
            return off.std(dim=1) / weight.mean(dim=1) / math.sqrt(crops)
        case _:
            return quality.std(dim=1) / math.sqrt(crops)
