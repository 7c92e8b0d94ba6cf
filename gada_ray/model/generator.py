"""The generator of section 3.3: a reference, a distortion class and a quality in, a distorted image out.

Letters in shapes: n images, h and w their sides, k distortion classes, z noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gada_ray.config import ModelConfig
from gada_ray.model.layers import convolution, normalised


class Condition(nn.Module):
    """Distortion class `[n]` (int64) and quality `[n]` in [0, 1] as one vector `[n, 2 * embedding]`."""

    def __init__(self, distortions: int, size: int) -> None:
        super().__init__()
        self.distortion = nn.Embedding(distortions, size)
        self.quality = nn.Sequential(nn.Linear(1, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, distortion: Tensor, quality: Tensor) -> Tensor:
        """The vector."""
        return torch.cat([self.distortion(distortion), self.quality(2 * quality[:, None] - 1)], dim=1)


class Generator(nn.Module):
    """G(z, x, c, q)."""

    def __init__(self, config: ModelConfig, distortions: int) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.generator_widths
        at_input = config.condition_at != "bottleneck"
        at_bottleneck = config.condition_at != "input"
        self.input_condition = Condition(distortions, config.embedding) if at_input else None
        self.condition = Condition(distortions, config.embedding) if at_bottleneck else None
        channels = 3 + 2 * config.embedding * at_input
        self.encode_1 = convolution(channels, first, config.norm, first=True)
        self.encode_2 = convolution(first, second, config.norm)
        self.encode_3 = convolution(second, third, config.norm)
        bottleneck = third + config.noise_dim + 2 * config.embedding * at_bottleneck
        self.decode_3 = self._up(bottleneck, second)
        self.decode_2 = self._up(second * (1 + config.skips), first)
        self.decode_1 = self._up(first * (1 + config.skips), 3, last=True)
        if config.output == "residual":
            for parameter in self.decode_1.parameters():
                nn.init.zeros_(parameter)  # training starts at the reference

    def _up(self, inputs: int, outputs: int, *, last: bool = False) -> nn.Sequential:
        """A layer that doubles the image; the last one has no normalisation and ends in RGB."""
        norm = "none" if last else self.config.norm
        end: tuple[nn.Module, ...] = () if last else (nn.ReLU(),)
        if self.config.upsampling == "transpose":
            layer = nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
            return nn.Sequential(*normalised(layer, outputs, norm), *end)
        layer_3x3 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, padding_mode="reflect")
        return nn.Sequential(nn.Upsample(scale_factor=2), *normalised(layer_3x3, outputs, norm), *end)

    def draw_noise(self, n: int, crop_px: int, generator: torch.Generator) -> Tensor:
        """Gaussian noise `[n, z, 1, 1]`, or `[n, z, h/8, w/8]` with `noise_map`, drawn on the CPU."""
        side = crop_px // 8 if self.config.noise_map else 1
        return torch.randn(n, self.config.noise_dim, side, side, generator=generator)

    def forward(self, noise: Tensor, reference: Tensor, distortion: Tensor, quality: Tensor) -> Tensor:
        """Distorted images `[n, 3, h, w]` in [0, 1] from references `[n, 3, h, w]` in [0, 1]; sides multiples of 8."""
        x = 2 * reference - 1
        if self.input_condition is not None:
            maps = self.input_condition(distortion, quality)[:, :, None, None]
            x = torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], dim=1)
        half = self.encode_1(x)
        quarter = self.encode_2(half)
        latent = self.encode_3(quarter)
        size = latent.shape[2:]
        parts = [latent, noise.expand(-1, -1, *size)]
        if self.condition is not None:
            parts.append(self.condition(distortion, quality)[:, :, None, None].expand(-1, -1, *size))
        y = self.decode_3(torch.cat([part.to(latent.dtype) for part in parts], dim=1))
        y = self.decode_2(torch.cat([y, quarter], dim=1) if self.config.skips else y)
        y = self.decode_1(torch.cat([y, half], dim=1) if self.config.skips else y)
        y = y.float()
        image: Tensor = y.sigmoid() if self.config.output == "image" else (reference + y).clamp(0, 1)
        return image
