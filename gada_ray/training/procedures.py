"""Procedural distortions, the control for a learned generator in phase 2.

Each class of a database is matched by its name with one of four families, and a quality with a strength, from none at
the best to the strongest at the worst quality asked. Nothing is learned: whoever augments without a GAN would do this.

Letters in shapes: n crops, c crop side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gada_ray.model.layers import BLOCK_PX, cosine_transform
from gada_ray.system import devices

NOISE_SD = 0.3
"""Strongest noise, as a share of the full scale."""
BLUR_SD_PX = 4.0
"""Strongest blur."""
BLUR_RADIUS_PX = 12
BLOCK_STEP = 1.2
"""Coarsest step of the coefficients of a block, for images in [0, 1]."""
COARSE_PX = 8
"""Side of the squares that remain of the detail at the strongest loss of resolution."""


def family(distortion: str) -> str:
    """The family of a distortion class, by its name: noise, blocks (JPEG), blur, or else coarse (JPEG2000, others)."""
    name = distortion.lower()
    if re.search(r"noise|^wn|^awgn|^gn$", name):
        return "noise"
    if re.search(r"blur|defocus", name):
        return "blur"
    return "blocks" if re.search(r"jpe?g(?!.?2000)", name) and "2k" not in name else "coarse"


def distort(
    references: Tensor, distortion: Tensor, severity: Tensor, names: Sequence[str], random: torch.Generator
) -> Tensor:
    """Crops `[n, 3, c, c]` in [0, 1], distorted by their class `[n]` with a severity `[n]` in [0, 1].

    `names` are the classes' names. Sides must be multiples of 8. Numbers are drawn on the CPU.
    """
    families = [family(name) for name in names]
    noise = devices.to_device(torch.randn(references.shape, generator=random), references.device)
    out = torch.empty_like(references)
    for kind in sorted(set(families)):
        chosen = torch.tensor([one == kind for one in families], device=distortion.device)[distortion]
        images, strength = references[chosen], severity[chosen].view(-1, 1, 1, 1)
        match kind:
            case "noise":
                out[chosen] = images + NOISE_SD * strength * noise[chosen]
            case "blur":
                out[chosen] = _blur(images, strength)
            case "blocks":
                out[chosen] = _blocks(images, strength)
            case _:
                out[chosen] = _coarse(images, strength)
    return out.clamp_(0, 1)


def _blur(images: Tensor, strength: Tensor) -> Tensor:
    """Gaussian blur, each crop with its own width."""
    taps = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1, device=images.device)
    sd = (BLUR_SD_PX * strength).clamp(min=0.05)
    kernel = torch.exp(-0.5 * (taps / sd).square())
    kernel = (kernel / kernel.sum(dim=-1, keepdim=True)).repeat_interleave(3, dim=0)
    n, _, height, width = images.shape
    if n == 0:
        return images
    maps = images.reshape(1, 3 * n, height, width)
    padded = F.pad(maps, (BLUR_RADIUS_PX,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=3 * n)
    return F.conv2d(rows, kernel.transpose(2, 3), groups=3 * n).view_as(images)


def _blocks(images: Tensor, strength: Tensor) -> Tensor:
    """Cosine coefficients of 8x8 blocks, rounded to a step that grows with frequency, as JPEG does."""
    k = torch.arange(BLOCK_PX, device=images.device, dtype=images.dtype)
    cosines = cosine_transform(images.device, images.dtype)
    n, channels, height, width = images.shape
    blocks = images.reshape(n, channels, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX).transpose(3, 4)
    coefficients = cosines @ (blocks - 0.5) @ cosines.T
    step = BLOCK_STEP * strength.view(n, 1, 1, 1, 1, 1).clamp(min=1e-3) * (1 + k[:, None] + k[None, :]) / BLOCK_PX
    coefficients = (coefficients / step).round() * step
    return (cosines.T @ coefficients @ cosines + 0.5).transpose(3, 4).reshape(images.shape)


def _coarse(images: Tensor, strength: Tensor) -> Tensor:
    """Detail finer than 8 px fades."""
    small = F.avg_pool2d(images, COARSE_PX)
    coarse = F.interpolate(small, size=images.shape[2:], mode="bilinear", align_corners=False)
    return images + strength * (coarse - images)
