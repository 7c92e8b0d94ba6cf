"""The generator of section 3.3: it distorts a reference, given a distortion class and a quality.

There are two: the paper's auto-encoder, and a modulated generator that learns to distort within a few thousand steps.

Letters in shapes: n images, h and w their sides, k distortion classes, z noise.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gada_ray.config import ModelConfig
from gada_ray.model.layers import BLOCK_PX, SLOPE, activation, convolution, dct_2d, gaussian, normalised
from gada_ray.system import devices


class Condition(nn.Module):
    """Distortion class `[n]` (int64) and quality `[n]` in [0, 1] as one vector `[n, 2 * embedding]`."""

    def __init__(self, distortions: int, size: int) -> None:
        super().__init__()
        self.distortion = nn.Embedding(distortions, size)
        self.quality = nn.Sequential(nn.Linear(1, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, distortion: Tensor, quality: Tensor) -> Tensor:
        """The condition vector."""
        return torch.cat([self.distortion(distortion), self.quality(2 * quality[:, None] - 1)], dim=1)


class PlainGenerator(nn.Module):
    """G(z, x, c, q) as an auto-encoder with noise, class and quality at its bottleneck (section 3.3)."""

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
        """A layer that doubles the resolution; the last one has no normalisation and returns RGB."""
        norm = "none" if last else self.config.norm
        end: tuple[nn.Module, ...] = () if last else (nn.ReLU(),)
        if self.config.upsampling == "transpose":
            layer = nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
            return nn.Sequential(*normalised(layer, outputs, norm), *end)
        layer_3x3 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, padding_mode="reflect")
        return nn.Sequential(nn.Upsample(scale_factor=2), *normalised(layer_3x3, outputs, norm), *end)

    def draw_noise(self, n: int, crop_px: int, generator: torch.Generator) -> Tensor:
        """Gaussian noise `[n, z, 1, 1]`, or `[n, z, h/8, w/8]` with `noise_map`, drawn on the generator's device."""
        side = crop_px // 8 if self.config.noise_map else 1
        return torch.randn(n, self.config.noise_dim, side, side, generator=generator, device=generator.device)

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


GATE_SCALE = 5.0
"""Factor on the inputs of the sigmoids of gains and quantisation steps, which speeds up their training."""
MIDDLE = 128 / 255
"""Middle of the pixel scale, which JPEG subtracts."""
INITIAL_STEP = 1 / 255
"""Quantisation step before training: one grey level, which is invisible."""
LARGEST_STEP = 2.0


class Modulation(nn.Module):
    """Scale and shift of feature maps `[n, channels, h, w]` by a condition `[n, e]`, initially near the identity."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 2 * channels)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """The modulated maps."""
        scale, shift = self.linear(condition)[:, :, None, None].to(maps.dtype).chunk(2, dim=1)
        return torch.addcmul(shift, maps, 1 + scale)


class Quantisation(nn.Module):
    """Quantisation of the DCT coefficients of 8x8 blocks with steps that a condition determines, as in JPEG.

    Brightness and two differences of colour have a step for each of 64 coefficients. JPEG itself averages
    differences of colour over 2x2 pixels; here larger steps of their high-frequency coefficients have that effect.
    """

    YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
    """Rows of the transform of RGB (ITU-T T.871)."""

    transform: Tensor
    inverse: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 3 * BLOCK_PX**2)
        self.share = nn.Linear(size, 1)
        for parameter in (self.linear.weight, *self.share.parameters()):
            nn.init.zeros_(parameter)
        nn.init.constant_(self.linear.bias, math.log(INITIAL_STEP / (LARGEST_STEP - INITIAL_STEP)) / GATE_SCALE)
        colours = torch.tensor(self.YCBCR, dtype=torch.float64)
        blocks = dct_2d(torch.device("cpu")).double()
        for name, matrix in (("transform", colours), ("inverse", colours.inverse())):
            both = torch.kron(matrix, blocks if name == "transform" else blocks.T)
            self.register_buffer(name, both.float()[:, :, None, None], persistent=False)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Images `[n, 3, h, w]` of a condition `[n, e]`."""
        with devices.float32(images.device):  # coefficients are small differences of large numbers
            return self._quantised(images, condition.float())

    def _quantised(self, images: Tensor, condition: Tensor) -> Tensor:
        coefficients = _recombined(_space_to_depth(images - MIDDLE, BLOCK_PX), self.transform)
        step = LARGEST_STEP * torch.sigmoid(GATE_SCALE * self.linear(condition))[:, :, None, None] + 1e-6
        # Rounding has no gradient. A smooth function with the same effect replaces it in the backward pass: small
        # coefficients vanish, large ones stay.
        power = coefficients.square()
        smooth = coefficients * power / (power + (step / 2).square())
        rounded = smooth + (step * (coefficients / step).round() - smooth).detach()
        # It has no gradient for the steps of large coefficients, so that the share of rounding is learned as well.
        share = torch.sigmoid(GATE_SCALE * self.share(condition))[:, :, None, None]
        blocks = _recombined(torch.lerp(coefficients, rounded, share), self.inverse)
        return F.pixel_shuffle(blocks, BLOCK_PX) + MIDDLE


class ColourTransform(nn.Module):
    """An affine transform of RGB that a condition determines, initially the identity.

    Mean shifts and changes of contrast and saturation are such transforms.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 12)
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Images `[n, 3, h, w]` of a condition `[n, e]`; the matrix acts around the middle of the scale of pixels."""
        change = self.linear(condition)
        matrix, offset = change[:, :9].view(-1, 3, 3, 1, 1), change[:, 9:, None, None]
        pixels = images - MIDDLE
        changed: Tensor = images + offset
        # One colour after another: on a CPU many times as fast as a batch of products of 3x3 matrices.
        for colour in range(3):
            changed = torch.addcmul(changed, matrix[:, :, colour], pixels[:, colour : colour + 1])
        return changed


class ModulatedGenerator(nn.Module):
    """G(z, x, c, q) as a change of the reference that class and quality modulate at every resolution.

    In order: the DCT coefficients of the reference's 8x8 blocks are quantised; an encoder-decoder that halves and
    doubles the image three times, as the paper's, adds a change; an affine transform of RGB is applied, if configured;
    and the frequency bands of the result are attenuated, which blurs it. Class and quality determine each of these.
    Gaussian noise enters at every resolution and at the end. The output is rounded to 256 levels, as in a file, since
    less than a level on a flat area looks like structure to a quality network. Training starts at the reference.
    """

    UNITS = 64
    """Units of the condition's two layers."""
    BANDS_SD_PX = (0.7, 1.4, 2.8, 5.6, 11.2)
    """Standard deviations of the Gaussian averages that separate the frequency bands."""

    def __init__(self, config: ModelConfig, distortions: int) -> None:
        super().__init__()
        first, second, third = config.generator_widths
        units, self.noisy = self.UNITS, config.noise_dim > 0
        z_half, z_low = (12, 3) if self.noisy else (0, 0)
        self.bands = len(self.BANDS_SD_PX)
        self.distortion = nn.Embedding(distortions, config.embedding)
        self.condition = nn.Sequential(
            nn.Linear(config.embedding + 1, units), activation(), nn.Linear(units, units), activation()
        )
        self.encode_half = nn.Conv2d(12, first, kernel_size=3, padding=1)
        self.encode_quarter = nn.Conv2d(first, second, kernel_size=4, stride=2, padding=1)
        self.encode_eighth = nn.Conv2d(second, third, kernel_size=4, stride=2, padding=1)
        self.encode_blocks = nn.Conv2d(3 * BLOCK_PX**2, third, kernel_size=1)
        self.decode_eighth = nn.Conv2d(2 * third + z_low, third, kernel_size=3, padding=1)
        self.decode_quarter = nn.Conv2d(second + z_low, second, kernel_size=3, padding=1)
        self.decode_half = nn.Conv2d(first + z_half, first, kernel_size=3, padding=1)
        self.up_quarter = nn.Conv2d(third, second, kernel_size=1)
        self.up_half = nn.Conv2d(second, first, kernel_size=1)
        self.to_pixels = nn.Conv2d(first, 12 + self.bands, kernel_size=3, padding=1)
        self.gains = nn.Linear(units, self.bands)
        self.quantise = Quantisation(units)
        widths = {
            "at_eighth": third,
            "skip_quarter": second,
            "at_quarter": second,
            "skip_half": first,
            "at_half": first,
        }
        self.modulate = nn.ModuleDict({name: Modulation(units, width) for name, width in widths.items()})
        self.strength = nn.ModuleDict(
            {
                name: nn.Linear(units, z)
                for name, z in (("at_eighth", z_low), ("at_quarter", z_low), ("at_half", z_half))
                if z
            }
        )
        last: tuple[nn.Module, ...] = (self.to_pixels, self.gains)
        if self.noisy:
            self.strength["at_image"] = nn.Linear(units, 3)
            last += (self.strength["at_image"],)
        self.colours = ColourTransform(units) if config.colour_transform else None
        for layer in last:  # training starts at the reference
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def draw_noise(self, n: int, crop_px: int, generator: torch.Generator) -> Tensor:
        """Gaussian noise `[n, 3, h, w]`, drawn on the generator's device; empty where noise is left out."""
        return torch.randn(n, 3 if self.noisy else 0, crop_px, crop_px, generator=generator, device=generator.device)

    def forward(self, noise: Tensor, reference: Tensor, distortion: Tensor, quality: Tensor) -> Tensor:
        """Distorted images `[n, 3, h, w]` in [0, 1] from references `[n, 3, h, w]` in [0, 1]; sides multiples of 8."""
        x = 2 * reference - 1
        condition = self.condition(torch.cat([self.distortion(distortion), 2 * quality[:, None] - 1], dim=1))
        half = F.leaky_relu_(self.encode_half(_space_to_depth(x, 2)), SLOPE)
        quarter = F.leaky_relu_(self.encode_quarter(half), SLOPE)
        eighth = F.leaky_relu_(self.encode_eighth(quarter), SLOPE)
        blocks = self.encode_blocks(_space_to_depth(x, BLOCK_PX))

        y = self.decode_eighth(self._with_noise("at_eighth", torch.cat([eighth, blocks], dim=1), noise, condition))
        y = F.leaky_relu_(self.modulate["at_eighth"](y, condition), SLOPE)
        y = F.interpolate(self.up_quarter(y), scale_factor=2) + self.modulate["skip_quarter"](quarter, condition)
        y = self.decode_quarter(self._with_noise("at_quarter", y, noise, condition))
        y = F.leaky_relu_(self.modulate["at_quarter"](y, condition), SLOPE)
        y = F.interpolate(self.up_half(y), scale_factor=2) + self.modulate["skip_half"](half, condition)
        y = self.decode_half(self._with_noise("at_half", y, noise, condition))
        y = F.leaky_relu_(self.modulate["at_half"](y, condition), SLOPE)
        pixels, gains = self.to_pixels(y).float().split([12, self.bands], dim=1)

        gains = GATE_SCALE * (gains + self.gains(condition).float()[:, :, None, None])
        with devices.float32(reference.device):
            image = self.quantise(reference, condition.float())
            image = image + F.pixel_shuffle(pixels.float(), 2)
            if self.colours is not None:
                image = self.colours(image, condition.float())
            image = self._attenuated(image, F.interpolate(gains, scale_factor=2))
        if self.noisy:
            image = torch.addcmul(image, self.strength["at_image"](condition).float()[:, :, None, None], noise)
        # Clipped and rounded as in a file, with a straight-through gradient.
        return image + ((255 * image.clamp(0, 1)).round() / 255 - image).detach()

    def _attenuated(self, images: Tensor, gains: Tensor) -> Tensor:
        """Images whose frequency bands are attenuated by gains `[n, bands, h, w]`: unchanged at 0.

        A gain multiplies a band and all finer ones by up to 1.1, so that attenuation extends to finer bands, as in a
        blur.
        """
        h, w = images.shape[2:]
        kept = 1.1 * torch.sigmoid(gains + math.log(10))
        averages = [images]
        for sd in self.BANDS_SD_PX:
            averages.append(gaussian(h, sd, images.device) @ images @ gaussian(w, sd, images.device).T)
        out = averages[-1]
        share: Tensor | float = 1.0
        for band in reversed(range(self.bands)):
            share = share * kept[:, band : band + 1]
            out = torch.addcmul(out, share, averages[band] - averages[band + 1])
        return out

    def _with_noise(self, place: str, maps: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """Feature maps with the noise at their resolution appended, its strength determined by the condition."""
        if not self.noisy:
            return maps
        ratio = noise.shape[2] // maps.shape[2]
        z = _space_to_depth(noise, 2) if ratio == 2 else ratio * F.avg_pool2d(noise, ratio)
        z = self.strength[place](condition)[:, :, None, None] * z
        return torch.cat([maps, z.to(maps.dtype)], dim=1)


Generator: TypeAlias = PlainGenerator | ModulatedGenerator


def make_generator(config: ModelConfig, distortions: int) -> Generator:
    """The generator of a configuration."""
    return (PlainGenerator if config.generator == "plain" else ModulatedGenerator)(config, distortions)


def _recombined(maps: Tensor, matrix: Tensor) -> Tensor:
    """Linear combinations of channels `[n, c, h, w]`, at each position the same, by a matrix `[c, c, 1, 1]`."""
    if torch.compiler.is_compiling():
        # Compiled code cannot change the precision of convolutions; matrix products always have float32.
        return torch.einsum("oc,nchw->nohw", matrix[:, :, 0, 0], maps)
    return F.conv2d(maps, matrix)


def _space_to_depth(images: Tensor, side: int) -> Tensor:
    """Space to depth: `[n, c, h, w]` to `[n, c * side^2, h / side, w / side]`, with channels last in memory."""
    return F.pixel_unshuffle(images, side).contiguous(memory_format=torch.channels_last)
