"""Layers that the generator and the quality network share."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gada_ray.system import devices

SLOPE = 0.2
"""Negative slope of every LeakyReLU."""


def convolution(inputs: int, outputs: int, norm: str, *, first: bool = False) -> nn.Sequential:
    """A convolution of stride 2, normalisation (not in a network's first layer), and LeakyReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
    return nn.Sequential(*normalised(conv, outputs, "none" if first else norm), activation())


def activation() -> nn.LeakyReLU:
    """LeakyReLU in place, since no layer before it needs its output for its gradient."""
    return nn.LeakyReLU(SLOPE, inplace=True)


def normalised(layer: nn.Module, channels: int, norm: str) -> tuple[nn.Module, ...]:
    """A layer and its normalisation; spectral normalisation wraps the layer."""
    match norm:
        case "batch":
            return layer, nn.BatchNorm2d(channels)
        case "instance":
            return layer, nn.InstanceNorm2d(channels, affine=True)
        case "spectral":
            return (spectral_norm(layer),)
        case _:
            return (layer,)


@functools.lru_cache(maxsize=64)
def _average(size: int, taps: tuple[float, ...], device: torch.device) -> Tensor:
    """A weighted average along a line of pixels, reflected at its ends, as a matrix `[size, size]`."""
    # It is cached: one that is made in inference mode must serve training as well.
    with torch.inference_mode(False), torch.no_grad():
        places = torch.arange(size)[:, None] + torch.arange(len(taps)) - len(taps) // 2
        period = 2 * size - 2
        places = (size - 1) - ((size - 1) - places % period).abs()
        weights = torch.tensor(taps).expand(size, -1)
        return torch.zeros(size, size).scatter_add_(1, places, weights).to(device)


def gaussian(size: int, sd_px: float, device: torch.device) -> Tensor:
    """A Gaussian average along a line of pixels, reflected at its ends, as a matrix `[size, size]`."""
    radius = math.ceil(3 * sd_px)
    taps = [math.exp(-0.5 * (i / sd_px) ** 2) for i in range(-radius, radius + 1)]
    return _average(size, tuple(tap / sum(taps) for tap in taps), device)


BINOMIAL = (1 / 64, 6 / 64, 15 / 64, 20 / 64, 15 / 64, 6 / 64, 1 / 64)


def binomial(size: int, device: torch.device) -> Tensor:
    """A binomial average of 7 pixels along a line, reflected at its ends, as a matrix `[size, size]`."""
    return _average(size, BINOMIAL, device)


def local_mean(images: Tensor) -> Tensor:
    """The mean of `[n, c, h, w]` under a 7x7 binomial window, reflected at the borders; sides of at least 4.

    Two matrix products: as convolutions of single channels, the gradients alone cost as much as the whole backbone.
    """
    h, w = images.shape[2:]
    return binomial(h, images.device) @ images @ binomial(w, images.device).T


BLOCK_PX = 8
"""Side of JPEG's blocks in pixels."""


def dct_1d(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The orthonormal DCT along a line of a block, as a matrix `[8, 8]`."""
    k = torch.arange(BLOCK_PX, device=device, dtype=dtype)
    matrix = torch.cos(math.pi * (k[None, :] + 0.5) * k[:, None] / BLOCK_PX) * math.sqrt(2 / BLOCK_PX)
    matrix[0] /= math.sqrt(2)
    return matrix


@functools.lru_cache(maxsize=4)
def dct_2d(device: torch.device) -> Tensor:
    """The two-dimensional DCT of a block: coefficients from pixels, row by row, as a matrix `[64, 64]`."""
    with torch.inference_mode(False), torch.no_grad():
        line = dct_1d(torch.device("cpu"))
        return torch.kron(line, line).to(device)


CONTRAST_FLOOR = 0.02


class Views:
    """Crops `[n, 3, h, w]` in [0, 1] as networks and losses see them; each view is computed once, on first use.

    Views of crops that require gradients belong to one graph, whose backward pass runs once.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        # Not `functools.cached_property`, whose lock torch.compile cannot trace.
        self._detail: Tensor | None = None
        self._contrast: Tensor | None = None

    def first(self, count: int) -> Views:
        """The views of the first crops, which share what has been computed."""
        part = Views(self.images[:count])
        part._detail, part._contrast = (
            view if view is None else view[:count] for view in (self._detail, self._contrast)
        )
        return part

    @property
    def detail(self) -> Tensor:
        """The crops minus their local mean, in float32, since contrast is a small difference of large numbers."""
        if self._detail is None:
            with devices.float32(self.images.device):
                images = self.images.float().contiguous()
                self._detail = images - local_mean(images)
        return self._detail

    @property
    def contrast(self) -> Tensor:
        """Mean-subtracted contrast-normalised (MSCN) coefficients, with channels last in memory."""
        # The contrast of the centred image differs from the textbook's by second-order terms and has no cancellation;
        # the small constant keeps the square root differentiable on flat patches.
        if self._contrast is None:
            detail = self.detail
            with devices.float32(self.images.device):
                contrast = (local_mean(detail.square()) + 1e-6).sqrt()
                scaled = detail / (contrast + CONTRAST_FLOOR)
                self._contrast = scaled.contiguous(memory_format=torch.channels_last)
        return self._contrast


def viewed(images: Tensor | Views) -> Views:
    """The views of crops; views are returned as they are."""
    return images if isinstance(images, Views) else Views(images)


class InputNormalisation(nn.Module):
    """The backbone's input `[n, channels, h, w]` from images `[n, 3, h, w]` in [0, 1].

    "none" maps to [-1, 1]. "mscn" subtracts the local mean and divides by the local contrast of every channel
    (mean-subtracted contrast-normalised coefficients), with a 7x7 binomial window. "both" concatenates the two.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.channels = 6 if kind == "both" else 3

    def forward(self, images: Tensor | Views) -> Tensor:
        """Normalised images."""
        views = viewed(images)
        match self.kind:
            case "none":
                return 2 * views.images - 1
            case "mscn":
                return views.contrast
            case _:
                both = torch.cat([2 * views.images - 1, views.contrast], dim=1)
                return both.contiguous(memory_format=torch.channels_last)
