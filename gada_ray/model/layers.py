"""Pieces that generator and discriminator share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2
"""Of LeakyReLU, everywhere."""


def convolution(inputs: int, outputs: int, norm: str, *, first: bool = False) -> nn.Sequential:
    """A convolution that halves the image, normalisation (not in a network's first), and LeakyReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
    return nn.Sequential(*normalised(conv, outputs, "none" if first else norm), nn.LeakyReLU(SLOPE))


def normalised(layer: nn.Module, channels: int, norm: str) -> tuple[nn.Module, ...]:
    """A layer followed, or for spectral normalisation wrapped, by its normalisation."""
    match norm:
        case "batch":
            return layer, nn.BatchNorm2d(channels)
        case "instance":
            return layer, nn.InstanceNorm2d(channels, affine=True)
        case "spectral":
            return (spectral_norm(layer),)
        case _:
            return (layer,)


class InputNormalisation(nn.Module):
    """What the trunk sees of images `[n, 3, h, w]` in [0, 1]: `[n, channels, h, w]`.

    "none" maps to [-1, 1]. "mscn" subtracts the local mean and divides by the local contrast of every channel
    (mean-subtracted contrast-normalised coefficients), with a 7x7 binomial window. "both" concatenates the two.
    """

    CONTRAST_FLOOR = 0.02

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.channels = 6 if kind == "both" else 3
        binomial = torch.tensor([1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0]) / 64
        self.register_buffer("window", torch.outer(binomial, binomial)[None, None], persistent=False)

    def _local_mean(self, images: Tensor) -> Tensor:
        n, channels, h, w = images.shape
        planes = F.pad(images.reshape(n * channels, 1, h, w), (3, 3, 3, 3), mode="reflect")
        window: Tensor = self.window  # type: ignore[assignment]
        return F.conv2d(planes, window).view(n, channels, h, w)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images."""
        if self.kind == "none":
            return 2 * images - 1
        with torch.autocast(images.device.type, enabled=False):
            # In float32: the variance is a small difference of large numbers.
            images = images.float()
            centred = images - self._local_mean(images)
            # The contrast of the centred image differs from the textbook's by second-order terms and has no
            # cancellation; the small constant keeps the square root differentiable on flat patches.
            contrast = (self._local_mean(centred.square()) + 1e-6).sqrt()
            mscn = centred / (contrast + self.CONTRAST_FLOOR)
        return mscn if self.kind == "mscn" else torch.cat([2 * images - 1, mscn], dim=1)
