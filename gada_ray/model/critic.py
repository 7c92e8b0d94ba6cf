"""The patch discriminator: a small source network of its own, which compares a crop with its reference.

The paper's source head (section 3.3) shares the backbone, so that its gradients also change the features of classifier
and evaluator. This network shares no weights. Letters in shapes: n images, h and w their sides, k distortion classes, f
features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gada_ray.model.layers import SLOPE

FOLD_PX = 2
"""Side of the blocks of pixels that become one position of the first convolution (space to depth)."""
WIDTHS = (16, 32, 64)
"""Feature maps of the convolutions."""
STRIDES = (1, 2, 2)
"""Strides of the convolutions."""
CHANGE_GAIN = 4.0
"""Factor on the change of the reference, which is small compared with the image itself."""


class PatchDiscriminator(nn.Module):
    """Logits of being a truly distorted crop, from the crop, its reference, and its class and quality.

    Spectrally normalised convolutions see small patches, so that it responds to texture and not to content. The logit
    is a mean over all patches of a linear output and of a projection of class and quality on the features (Miyato and
    Koyama, 2018): for each class one direction, and one that quality scales.
    """

    def __init__(self, distortions: int) -> None:
        super().__init__()
        channels = (6 * FOLD_PX**2, *WIDTHS)
        self.convolutions = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels[i], channels[i + 1], kernel_size=3, stride=stride, padding=1))
            for i, stride in enumerate(STRIDES)
        )
        self.output = nn.Linear(WIDTHS[-1], 1)
        self.projection = nn.Embedding(distortions, 2 * WIDTHS[-1])
        nn.init.zeros_(self.projection.weight)  # at first, logits do not depend on class and quality

    def forward(self, reference: Tensor, image: Tensor, distortion: Tensor, quality: Tensor) -> Tensor:
        """Logits `[n]` in float32.

        `reference` and `image` are `[n, 3, h, w]` in [0, 1], with sides that are multiples of 8; `distortion` `[n]` is
        int64 in [0, k), `quality` `[n]` is in [0, 1].
        """
        pair = torch.cat([2 * reference - 1, CHANGE_GAIN * (image - reference)], dim=1)
        maps = F.pixel_unshuffle(pair, FOLD_PX).contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            maps = F.leaky_relu_(convolution(maps), SLOPE)
        # Output and projection are linear, so that the mean over places may come first.
        features = maps.float().mean(dim=(2, 3))
        by_class, by_quality = self.projection(distortion).chunk(2, dim=1)
        direction = by_class + (2 * quality[:, None] - 1) * by_quality
        logits: Tensor = self.output(features).float().squeeze(1) + (features * direction).sum(dim=1)
        return logits
