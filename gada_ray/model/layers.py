"""Pieces that generator and discriminator share."""

from __future__ import annotations

import functools

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


@functools.lru_cache(maxsize=32)
def _band(size: int, device: torch.device) -> Tensor:
    """The 7-tap binomial average along a line of pixels, reflected at its ends, as a matrix `[size, size]`."""
    # It outlives its caller: one that is made while testing must serve training as well.
    with torch.inference_mode(False), torch.no_grad():
        taps = torch.tensor([1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0]) / 64
        padded = F.pad(torch.eye(size)[None], (3, 3), mode="reflect")[0]
        return F.conv1d(padded[:, None], taps[None, None])[:, 0].T.contiguous().to(device)


def local_mean(images: Tensor) -> Tensor:
    """The mean of `[n, c, h, w]` under a 7x7 binomial window, reflected at the borders; sides of at least 4.

    Two matrix products: as convolutions of single channels, the gradients alone cost as much as the whole trunk.
    """
    h, w = images.shape[2:]
    return _band(h, images.device) @ images @ _band(w, images.device).T


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

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images."""
        if self.kind == "none":
            return 2 * images - 1
        with torch.autocast(images.device.type, enabled=False):
            # In float32: the variance is a small difference of large numbers.
            images = images.float().contiguous()
            centred = images - local_mean(images)
            # The contrast of the centred image differs from the textbook's by second-order terms and has no
            # cancellation; the small constant keeps the square root differentiable on flat patches.
            contrast = (local_mean(centred.square()) + 1e-6).sqrt()
            mscn = centred / (contrast + self.CONTRAST_FLOOR)
        normalised = mscn if self.kind == "mscn" else torch.cat([2 * images - 1, mscn], dim=1)
        return normalised.contiguous(memory_format=torch.channels_last)
