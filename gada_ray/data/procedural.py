"""Procedural distortions: what LIVE, TID2013, KADID-10k and CSIQ do to a reference, as functions of a strength.

Every class of a database is matched with one procedure by its name. A class without a procedure has none: it is never
replaced by another distortion. JPEG and JPEG 2000 are Pillow's real coders. Five levels of strength come from the
databases where their parameters are known; between them, and down to the undistorted image, parameters are
interpolated.

Levels of TID2013's types 01, 07, 08, 10, 16 and 17 are the parameters with which published images can be reproduced,
those of 11 and 18 lie amid parameters that differ from image to image; those of its other noises follow from its rule
that levels have PSNRs of 33, 30, 27, 24 and 21 dB.
KADID-10k's are those of its authors' generator, as later work (ARNIQA, Agnolucci et al. 2024) lists them. LIVE's cover
the range of its parameters. The remaining ones are ours. Not modelled: LIVE's fast fading, TID2013's comfort noise and
its transmission errors of JPEG 2000.

Letters in shapes: h and w, the sides of an image. Images are float64 `[h, w, 3]` in [0, 255] between functions.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from gada_ray.data.dataset import DataError

VERSION = 1
"""Raised when any procedure changes; part of the name of prepared files."""

Make = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""Image, parameter and random generator to an image, which need not be rounded or clipped."""


@dataclass(frozen=True)
class Procedure:
    """One kind of distortion with a strength in [0, 1]."""

    name: str
    make: Make
    levels: tuple[float, ...]
    """The parameter at five strengths: 0.2, 0.4, 0.6, 0.8 and 1."""
    none: float = 0.0
    """The parameter that leaves an image as it is; strengths below 0.2 lie between it and the first level."""
    ordered: bool = True
    """Whether a greater strength is worse. Contrast and mean intensity change in both directions, and are not."""

    def parameter(self, strength: float) -> float:
        """The parameter at a strength."""
        return float(np.interp(strength, np.linspace(0, 1, len(self.levels) + 1), (self.none, *self.levels)))

    def distort(self, image: np.ndarray, strength: float, seed: int) -> np.ndarray:
        """An image uint8 `[h, w, 3]`, distorted; a strength of 0 returns a copy.

        The same seed gives the same noise, places and directions at every strength.

        Raises:
            ValueError: for a strength outside [0, 1].
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in [0, 1], got {strength}")
        if strength == 0:
            return image.copy()
        made = self.make(image.astype(np.float64), self.parameter(strength), np.random.default_rng(seed))
        return np.clip(np.floor(made + 0.5), 0, 255).astype(np.uint8)


# Colour spaces.

YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""Rows of the transform of RGB to luma and two colour differences (ITU-T T.871), without offsets."""
RGB_OF_YCBCR = np.linalg.inv(YCBCR)
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Rows of the transform of linear sRGB to CIE XYZ (IEC 61966-2-1)."""
WHITE = XYZ.sum(axis=1)


def lab(image: np.ndarray) -> np.ndarray:
    """CIE L*a*b* `[h, w, 3]` under D65 of an sRGB image; L* is in [0, 100]."""
    values = image / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = linear @ XYZ.T / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def rgb_of_lab(values: np.ndarray) -> np.ndarray:
    """The inverse of `lab`; colours outside sRGB are clipped."""
    y = (values[..., 0] + 16) / 116
    f = np.stack([y + values[..., 1] / 500, y, y - values[..., 2] / 200], axis=-1)
    ratio = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(ratio * WHITE @ np.linalg.inv(XYZ).T, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def _uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


# Noise. The parameter is a variance on the scale of 255, unless said otherwise.


def white_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Independent Gaussian noise in every channel."""
    return image + math.sqrt(variance) * random.standard_normal(image.shape)


def color_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise with twice the standard deviation in the colour differences; its mean variance in RGB is given."""
    gains = RGB_OF_YCBCR * (1, 2, 2)
    return image + math.sqrt(3 * variance / np.square(gains).sum()) * random.standard_normal(image.shape) @ gains.T


def ycbcr_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of one variance in luma and colour differences."""
    return image + math.sqrt(variance) * random.standard_normal(image.shape) @ RGB_OF_YCBCR.T


def _scaled(noise: np.ndarray, variance: float) -> np.ndarray:
    return noise * math.sqrt(variance / np.square(noise).mean())


def correlated_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise averaged over 3x3 pixels."""
    return np.asarray(image + _scaled(ndimage.uniform_filter(random.standard_normal(image.shape), (3, 3, 0)), variance))


def masked_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise where the image masks it: its standard deviation follows that of 7x7 pixels of the image."""
    luma = image @ YCBCR[0]
    mean = ndimage.uniform_filter(luma, 7)
    activity = np.sqrt(np.maximum(ndimage.uniform_filter(luma**2, 7) - mean**2, 0)) + 1
    return np.asarray(image + _scaled(activity[..., None] * random.standard_normal(image.shape), variance))


def high_frequency_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise without its low frequencies."""
    noise = random.standard_normal(image.shape)
    return np.asarray(image + _scaled(noise - ndimage.gaussian_filter(noise, (1, 1, 0)), variance))


def pink_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose amplitude falls as 1 / frequency (CSIQ)."""
    height, width = image.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(random.standard_normal(image.shape), axes=(0, 1)) / frequency[..., None]
    return np.asarray(image + _scaled(np.fft.ifft2(spectrum, axes=(0, 1)).real, variance))


def impulse_noise(image: np.ndarray, density: float, random: np.random.Generator) -> np.ndarray:
    """Salt and pepper in this share of all values."""
    draws = random.random(image.shape)
    return np.where(draws < density / 2, 0.0, np.where(draws > 1 - density / 2, 255.0, image))


def multiplicative_noise(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise in proportion to the image; the parameter is the variance of the factor."""
    return image * (1 + math.sqrt(variance) * random.standard_normal(image.shape))


# Blur. The parameter is in pixels.


def _blurred(image: np.ndarray, sd: float, radius: int) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(image, (sd, sd, 0), mode="nearest", radius=(radius, radius, 0)))


def gaussian_blur(image: np.ndarray, sd: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian blur; the parameter is its standard deviation."""
    return _blurred(image, sd, math.ceil(3 * sd))


def tid_blur(image: np.ndarray, sd: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian blur in a window of 11x11 pixels, whatever its standard deviation (TID2013)."""
    return _blurred(image, sd, 5)


def lens_blur(image: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """The mean over a disk; the parameter is its radius."""
    reach = math.ceil(radius)
    at = np.arange(-reach, reach + 1)
    disk = np.clip(radius + 0.5 - np.hypot(at[:, None], at), 0, 1)
    return np.asarray(ndimage.convolve(image, (disk / disk.sum())[..., None], mode="nearest"))


def motion_blur(image: np.ndarray, length: float, random: np.random.Generator) -> np.ndarray:
    """The mean along a line in a random direction; the parameter is its length."""
    angle = math.pi * random.random()
    along = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
    rows, columns = along * math.sin(angle), along * math.cos(angle)
    reach = math.ceil(length / 2)
    at = np.arange(-reach, reach + 1)
    down, across = (np.clip(1 - np.abs(at[:, None] - place), 0, 1) for place in (rows, columns))
    line = down @ across.T
    return np.asarray(ndimage.convolve(image, (line / line.sum())[..., None], mode="nearest"))


# Coders.

# fmt: off
LUMA = (16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
        51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
        120, 101, 72, 92, 95, 98, 112, 100, 103, 99)
CHROMA = (17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
          *[99] * 38)
# fmt: on
"""Quantisation tables of ITU-T T.81, annex K."""


def _jpeg_bytes(image: np.ndarray, tables: Sequence[Sequence[int]], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_uint8(image)).save(buffer, "JPEG", qtables=tables, **options)
    return buffer.getvalue()


def _decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.float64)


def jpeg_tables(quality: float) -> list[list[int]]:
    """Both tables at a quality in (0, 100], by the rule of the Independent JPEG Group, for baseline JPEG."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return [[min(255, max(1, math.floor((entry * scale + 50) / 100))) for entry in table] for table in (LUMA, CHROMA)]


def jpeg(image: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    """JPEG with colour differences at half the resolution; the parameter is the quality."""
    return _decoded(_jpeg_bytes(image, jpeg_tables(quality), subsampling=2))


def jpeg2000(image: np.ndarray, ratio: float, random: np.random.Generator) -> np.ndarray:
    """JPEG 2000, irreversible; the parameter is the ratio of compression of 512x384 pixels.

    A smaller picture gets as many bytes a pixel for its coefficients, and the same for its headers.
    """
    share = 1 / ratio - JPEG2000_HEADERS / (3 * AREA) + JPEG2000_HEADERS / image.size
    buffer = io.BytesIO()
    picture, options = Image.fromarray(_uint8(image)), {"quality_mode": "rates", "quality_layers": [1 / share]}
    picture.save(buffer, "JPEG2000", irreversible=True, mct=1, **options)
    return _decoded(buffer.getvalue())


def noisy_compression(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """White noise, then JPEG with one step for all coefficients: 1.5 standard deviations of the noise."""
    step = max(1, round(1.5 * math.sqrt(variance)))
    return _decoded(_jpeg_bytes(white_noise(image, variance, random), [[step] * 64] * 2, subsampling=0))


def jpeg_transmission(image: np.ndarray, errors: float, random: np.random.Generator) -> np.ndarray:
    """JPEG of quality 60 with wrong bits in its coded data, so many on 512x384 pixels, as a real decoder shows it.

    The coder sets a restart marker after every row of blocks, so that an error ends with its row.
    """
    data = bytearray(_jpeg_bytes(image, jpeg_tables(60), subsampling=2, restart_marker_rows=1))
    first = data.index(b"\xff\xda") + 14  # after the header of the scan
    places, bits = random.random(MOST_ERRORS), random.integers(8, size=MOST_ERRORS)
    wanted = max(1, round(errors * image[..., 0].size / AREA))
    for place, bit in zip(places[:wanted], bits, strict=False):
        at = first + int(place * (len(data) - 2 - first))
        changed = data[at] ^ (1 << bit)
        if 0xFF not in (data[at - 1], data[at], changed):  # markers stay as they are, and none is made
            data[at] = changed
    return _decoded(bytes(data))


AREA = 512 * 384
"""Pixels of an image of TID2013 and KADID-10k, to which numbers of places refer."""
MOST_ERRORS = 100_000
JPEG2000_HEADERS = 150
"""Bytes of a JPEG 2000 file that hold no coefficients."""


# Denoising and sparse reconstruction.


def _dct_matrix(size: int = 8) -> np.ndarray:
    k = np.arange(size)
    basis = np.cos(np.pi * (k + 0.5) * k[:, None] / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


DCT = _dct_matrix()


def shrunk(image: np.ndarray, threshold: float, stride: int = 2) -> np.ndarray:
    """An image without the DCT coefficients of 8x8 blocks below a threshold, averaged over shifted blocks."""
    height, width = image.shape[:2]
    pad = ((8, 8 + -height % 8), (8, 8 + -width % 8), (0, 0))
    padded = np.pad(image, pad, mode="symmetric")
    total = np.zeros_like(padded)
    for down in range(0, 8, stride):
        for right in range(0, 8, stride):
            moved = np.roll(padded, (-down, -right), axis=(0, 1))
            rows, columns = moved.shape[0] // 8, moved.shape[1] // 8
            blocks = moved.reshape(rows, 8, columns, 8, 3).transpose(0, 2, 4, 1, 3)
            found = DCT @ blocks @ DCT.T
            kept = np.abs(found) >= threshold
            kept[..., 0, 0] = True
            back = (DCT.T @ (found * kept) @ DCT).transpose(0, 3, 1, 4, 2).reshape(moved.shape)
            total += np.roll(back, (down, right), axis=(0, 1))
    return total[8 : 8 + height, 8 : 8 + width] / (8 // stride) ** 2


def denoising(image: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """White noise of some variance, removed by thresholding a sliding DCT at 2.7 of its standard deviations."""
    return shrunk(white_noise(image, variance, random), 2.7 * math.sqrt(variance))


def sparse_sampling(image: np.ndarray, lost: float, random: np.random.Generator) -> np.ndarray:
    """A share of the pixels is lost, and completed so that the sliding DCT is sparse (iterative thresholding)."""
    known = (random.random(image.shape[:2]) >= lost)[..., None]
    weight = ndimage.gaussian_filter(known.astype(np.float64), (2, 2, 0)) + 1e-3
    found = np.where(known, image, ndimage.gaussian_filter(known * image, (2, 2, 0)) / weight)
    for threshold in (80, 40, 20, 10):
        found = np.where(known, image, shrunk(found, threshold, stride=4))
    return found


# Colour and intensity.


def saturation(image: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """The colour differences times a factor; below 0, complementary colours (TID2013)."""
    luma = (image @ YCBCR[0])[..., None]
    return np.asarray(luma + factor * (image - luma))


def saturation_hsv(image: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """The saturation of HSV times a factor."""
    value = image.max(axis=2, keepdims=True)
    return np.asarray(value - factor * (value - image))


def saturation_lab(image: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """a* and b* times a factor."""
    return rgb_of_lab(lab(image) * (1, factor, factor))


def color_diffusion(image: np.ndarray, sd: float, random: np.random.Generator) -> np.ndarray:
    """a* and b* blurred; the parameter is the standard deviation in pixels."""
    values = lab(image)
    values[..., 1:] = ndimage.gaussian_filter(values[..., 1:], (sd, sd, 0), mode="nearest", truncate=3)
    return rgb_of_lab(values)


def _moved(channel: np.ndarray, rows: float, columns: float) -> np.ndarray:
    return np.asarray(ndimage.shift(channel, (rows, columns), order=1, mode="nearest"))


def color_shift(image: np.ndarray, distance: float, random: np.random.Generator) -> np.ndarray:
    """The green channel moved in a random direction; the parameter is the distance in pixels."""
    angle = 2 * math.pi * random.random()
    out = image.copy()
    out[..., 1] = _moved(image[..., 1], distance * math.sin(angle), distance * math.cos(angle))
    return out


def chromatic_aberration(image: np.ndarray, distance: float, random: np.random.Generator) -> np.ndarray:
    """Red and blue moved in opposite directions and blurred a little; the parameter is the distance in pixels."""
    angle = 2 * math.pi * random.random()
    out = image.copy()
    for channel, sign in ((0, 1), (2, -1)):
        moved = _moved(image[..., channel], sign * distance * math.sin(angle), sign * distance * math.cos(angle))
        out[..., channel] = ndimage.gaussian_filter(moved, distance / 4, mode="nearest")
    return out


def _palette(image: np.ndarray, colors: float, dither: Image.Dither) -> np.ndarray:
    picture = Image.fromarray(_uint8(image))
    palette = picture.quantize(max(2, round(colors)), Image.Quantize.MEDIANCUT)
    return np.asarray(picture.quantize(palette=palette, dither=dither).convert("RGB")).astype(np.float64)


def dithered_colors(image: np.ndarray, colors: float, random: np.random.Generator) -> np.ndarray:
    """A palette of so many colours, with dithering (Floyd and Steinberg)."""
    return _palette(image, colors, Image.Dither.FLOYDSTEINBERG)


def color_quantization(image: np.ndarray, colors: float, random: np.random.Generator) -> np.ndarray:
    """A palette of so many colours, without dithering."""
    return _palette(image, colors, Image.Dither.NONE)


def quantization(image: np.ndarray, step: float, random: np.random.Generator) -> np.ndarray:
    """Every value rounded to a multiple of a step."""
    return np.asarray(np.floor(image / step + 0.5) * step)


def quantization_levels(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """So many values between 0 and 255 in every channel."""
    return quantization(image, 255 / (count - 1), random)


def mean_shift(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Every value greater, or else smaller, by an amount."""
    return np.asarray(image + amount * random.choice((-1, 1)))


def contrast_decrease(image: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """The contrast about the mean times a factor."""
    return np.asarray(image.mean() + factor * (image - image.mean()))


def contrast_change(image: np.ndarray, change: float, random: np.random.Generator) -> np.ndarray:
    """The contrast about the mean greater, or else smaller, by a share."""
    return contrast_decrease(image, 1 + change * random.choice((-1, 1)), random)


def lightness(image: np.ndarray, middle: float, random: np.random.Generator) -> np.ndarray:
    """A power law of L* that takes its middle to a value in (0, 1), which leaves black and white."""
    values = lab(image)
    values[..., 0] = 100 * (np.clip(values[..., 0], 0, 100) / 100) ** (math.log(middle) / math.log(0.5))
    return rgb_of_lab(values)


# Places.


def jitter(image: np.ndarray, distance: float, random: np.random.Generator) -> np.ndarray:
    """Pixels taken from random places nearby, five times over; the parameter is a standard deviation in pixels."""
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    for _ in range(5):
        down, right = np.rint(distance * random.standard_normal((2, height, width))).astype(int)
        image = image[np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)]
    return image


def pixelation(image: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """The image made smaller by a factor and larger again, both without interpolation."""
    picture = Image.fromarray(_uint8(image))
    small = picture.resize([max(1, round(scale * side)) for side in picture.size], Image.Resampling.NEAREST)
    return np.asarray(small.resize(picture.size, Image.Resampling.NEAREST)).astype(np.float64)


def sharpening(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """An unsharp mask of 3 pixels; the parameter is its amount."""
    return np.asarray(image + amount * (image - ndimage.gaussian_filter(image, (3, 3, 0), mode="nearest")))


def _square_patches(
    shape: tuple[int, ...], count: float, side: int, random: np.random.Generator
) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """Square patches, `count` on 512x384 pixels, each with random numbers `[5]`; fewer are the first of more."""
    number = max(1, round(count * shape[0] * shape[1] / AREA))
    draws = random.random((number, 7))
    tops, lefts = (draws[:, i] * max(1, shape[i] - side + 1) for i in (0, 1))
    return [
        ((slice(int(top), int(top) + side), slice(int(left), int(left) + side)), rest)
        for top, left, rest in zip(tops, lefts, draws[:, 2:], strict=True)
    ]


def non_eccentricity(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """Square patches of 16 pixels that show a region 4 to 16 pixels away; `count` on 512x384 pixels."""
    out = image.copy()
    for place, draws in _square_patches(image.shape, count, 16, random):
        distance, angle = 4 + 12 * draws[0], 2 * math.pi * draws[1]
        moved = (round(distance * math.sin(angle)), round(distance * math.cos(angle)))
        rows, columns = (
            np.clip(np.arange(at.start, min(at.stop, side)) + by, 0, side - 1)
            for at, by, side in zip(place, moved, image.shape, strict=False)
        )
        out[place] = image[np.ix_(rows, columns)]
    return out


def local_blocks(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """Square patches of 32 pixels, brighter or darker by 20 to 80 of 255; `count` on 512x384 pixels."""
    out = image.copy()
    for place, draws in _square_patches(image.shape, count, 32, random):
        out[place] = image[place] + (20 + 60 * draws[0]) * (1 if draws[1] < 0.5 else -1)
    return out


def color_blocks(image: np.ndarray, count: float, random: np.random.Generator) -> np.ndarray:
    """Square patches of 32 pixels in random colours; `count` on 512x384 pixels."""
    out = image.copy()
    for place, draws in _square_patches(image.shape, count, 32, random):
        out[place] = 255 * draws[:3]
    return out


def fading(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """JPEG 2000 with bursts of lost detail on a share of the picture: the demo data's stand-in for fast fading.

    A burst replaces a part of a strip of rows by a far coarser decoding, displaced sideways.
    """
    height, width = image.shape[:2]
    out, coarse = jpeg2000(image, 8, random), jpeg2000(image, 250, random)
    covered = np.zeros((height, width), dtype=bool)
    while covered.mean() < share:
        down, right, tall, wide, by = random.random(5)
        rows, columns = 4 + int(16 * tall), int(width * (0.25 + 0.75 * wide))
        top, left = int(down * (height - rows)), int(right * (width - columns + 1))
        strip = np.s_[top : top + rows, left : left + columns]
        out[strip] = np.roll(coarse, round(12 * by - 6), axis=1)[strip]
        covered[strip] = True
    return out


# What the databases do.

_PSNR = (32.0, 64.0, 130.0, 260.0, 525.0)
"""Variances of TID2013's levels: PSNRs of 33 to 21 dB."""
_FULL = 255.0**2


def _variances(*shares: float) -> tuple[float, ...]:
    return tuple(_FULL * share for share in shares)


def _numbered(database: str, settings: Mapping[int, tuple[Any, ...]]) -> dict[int, Procedure]:
    """Procedures by a database's numbers, from their function, levels, and what follows."""
    return {number: Procedure(f"{database} {number:02d}", *values) for number, values in settings.items()}


TID2013 = _numbered(
    "TID2013",
    {
        1: (white_noise, _PSNR),
        2: (color_noise, _PSNR),
        3: (correlated_noise, _PSNR),
        4: (masked_noise, _PSNR),
        5: (high_frequency_noise, _PSNR),
        6: (impulse_noise, (0.0015, 0.003, 0.006, 0.012, 0.025)),
        7: (quantization, (19.0, 27.0, 39.0, 55.0, 76.0), 1.0),
        8: (tid_blur, (0.5, 0.65, 1.0, 1.7, 4.0), 0.2),
        9: (denoising, (100.0, 225.0, 400.0, 900.0, 2000.0)),
        10: (jpeg, (80.0, 60.0, 23.0, 8.0, 4.0), 100.0),
        11: (jpeg2000, (36.0, 64.0, 130.0, 360.0, 960.0), 4.0),
        12: (jpeg_transmission, (4.0, 8.0, 16.0, 32.0, 64.0)),
        14: (non_eccentricity, (20.0, 40.0, 60.0, 80.0, 100.0)),
        15: (local_blocks, (4.0, 8.0, 14.0, 22.0, 32.0)),
        16: (mean_shift, (6.0, 10.0, 20.0, 30.0, 40.0), 0.0, False),
        17: (contrast_change, (0.1, 0.2, 0.25, 0.45, 0.5), 0.0, False),
        18: (saturation, (0.72, 0.6, 0.43, 0.2, -0.13), 1.0),
        19: (multiplicative_noise, (0.0017, 0.0034, 0.0069, 0.0138, 0.0278)),
        21: (noisy_compression, _PSNR),
        22: (dithered_colors, (64.0, 40.0, 24.0, 14.0, 8.0), 256.0),
        23: (chromatic_aberration, (0.5, 1.0, 1.5, 2.5, 4.0)),
        24: (sparse_sampling, (0.3, 0.45, 0.6, 0.75, 0.85)),
    },
)
"""By TID2013's numbers."""

KADID10K = _numbered(
    "KADID-10k",
    {
        1: (gaussian_blur, (0.3, 0.5, 1.0, 2.0, 5.0), 0.2),
        2: (lens_blur, (1.0, 2.0, 4.0, 6.0, 8.0)),
        3: (motion_blur, (1.0, 2.0, 4.0, 6.0, 10.0)),
        4: (color_diffusion, (1.0, 3.0, 6.0, 8.0, 12.0)),
        5: (color_shift, (1.0, 3.0, 6.0, 8.0, 12.0)),
        6: (color_quantization, (64.0, 48.0, 32.0, 16.0, 8.0), 256.0),
        7: (saturation_hsv, (0.4, 0.2, 0.1, 0.0, -0.4), 1.0),
        8: (saturation_lab, (1.5, 2.0, 3.0, 6.0, 9.0), 1.0),
        9: (jpeg2000, (16.0, 32.0, 45.0, 120.0, 170.0), 4.0),
        10: (jpeg, (43.0, 36.0, 24.0, 7.0, 4.0), 100.0),
        11: (white_noise, _variances(0.001, 0.002, 0.003, 0.005, 0.01)),
        12: (ycbcr_noise, _variances(0.0001, 0.0005, 0.001, 0.002, 0.003)),
        13: (impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03)),
        14: (multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05)),
        15: (denoising, _variances(0.001, 0.002, 0.003, 0.005, 0.01)),
        16: (lightness, (0.55, 0.6, 0.68, 0.78, 0.88), 0.5),
        17: (lightness, (0.475, 0.45, 0.4, 0.3, 0.1), 0.5),
        18: (mean_shift, (10.0, 20.0, 20.0, 38.0, 38.0), 0.0, False),
        19: (jitter, (0.25, 0.4, 0.5, 0.7, 1.0)),
        20: (non_eccentricity, (20.0, 40.0, 60.0, 80.0, 100.0)),
        21: (pixelation, (0.887, 0.784, 0.699, 0.569, 0.29), 1.0),
        22: (quantization_levels, (20.0, 16.0, 13.0, 10.0, 7.0), 256.0),
        23: (color_blocks, (2.0, 4.0, 6.0, 8.0, 10.0)),
        24: (sharpening, (1.0, 2.0, 3.0, 6.0, 12.0)),
        25: (contrast_change, (0.1, 0.15, 0.3, 0.4, 0.6), 0.0, False),
    },
)
"""By KADID-10k's numbers. Its weakest blur and jitter, below what 8 bits show, and its Lab factor of 1 are ours."""

_BLUR = Procedure("Gaussian blur", gaussian_blur, (0.6, 0.95, 1.3, 2.0, 4.0), 0.2)
_JPEG = Procedure("JPEG", jpeg, (75.0, 40.0, 20.0, 10.0, 5.0), 100.0)
_JPEG2000 = Procedure("JPEG 2000", jpeg2000, (13.0, 30.0, 60.0, 140.0, 400.0), 4.0)
_NOISE = Procedure("white noise", white_noise, _variances(0.02**2, 0.05**2, 0.1**2, 0.2**2, 0.5**2))
_CONTRAST = Procedure("contrast decrease", contrast_decrease, (0.8, 0.65, 0.5, 0.35, 0.2), 1.0)
_PINK = Procedure("pink noise", pink_noise, _variances(0.02**2, 0.04**2, 0.07**2, 0.12**2, 0.2**2))

NAMED: Mapping[str, Procedure] = {
    **dict.fromkeys(("gblur", "blur", "gaussianblur"), _BLUR),
    **dict.fromkeys(("jpeg", "jpg", "jpegcompression"), _JPEG),
    **dict.fromkeys(("jp2k", "jpeg2000", "jpeg2k", "jpeg2000compression"), _JPEG2000),
    **dict.fromkeys(("wn", "awgn", "gn", "whitenoise", "gaussiannoise", "additivegaussiannoise", "noise"), _NOISE),
    **dict.fromkeys(("contrastdecrease", "contrastdecrements"), _CONTRAST),
    **dict.fromkeys(("fnoise", "pinknoise"), _PINK),
    "fflike": Procedure("fading", fading, (0.06, 0.18, 0.3, 0.45, 0.6)),
    "patches": replace(TID2013[15], name="local blocks"),
    "misplaced": replace(TID2013[14], name="non-eccentricity"),
    "impulsenoise": TID2013[6],
    "saltandpepper": TID2013[6],
    "motionblur": KADID10K[3],
    "lensblur": KADID10K[2],
    "meanshift": TID2013[16],
    "contrast": TID2013[17],
    "contrastchange": TID2013[17],
}
"""By names of LIVE, CSIQ, the demo data and one's own tables; small letters and figures alone."""


def find(distortion: str, database: str = "") -> Procedure | None:
    """The procedure of a class, by its name; None where there is none.

    A number (`07`, `07_quantization_noise`) is that of TID2013 or KADID-10k, whichever the name of the database
    begins with; TID2013's and KADID-10k's full names, as this project gives them, are known in any database.
    """
    from gada_ray.data import kadid10k, tid2013

    made_by, numbered = database.lower(), re.fullmatch(r"(\d{1,2})(_.*)?", distortion.strip())
    for prefix, table, names in (
        ("tid", TID2013, tid2013.DISTORTIONS),
        ("kadid", KADID10K, kadid10k.DISTORTIONS),
    ):
        in_other = distortion in names and not made_by.startswith(("tid", "kadid"))
        if numbered and (made_by.startswith(prefix) or in_other):
            return table.get(int(numbered[1]))
    name = re.sub(r"[^a-z0-9]", "", distortion.lower())
    if name == "contrast" and made_by.startswith("csiq"):
        return _CONTRAST  # CSIQ only takes contrast away
    return NAMED.get(name)


def procedures(distortions: Sequence[str], database: str, *, skip: bool = False) -> tuple[Procedure | None, ...]:
    """The procedures of some classes, in their order; with `skip`, None for those without one.

    Raises:
        DataError: for classes without a procedure, by name, unless they are skipped; for none with one in any case.
    """
    found = tuple(find(distortion, database) for distortion in distortions)
    missing = [name for name, procedure in zip(distortions, found, strict=True) if procedure is None]
    if missing and (not skip or len(missing) == len(found)):
        able = ", ".join(name for name, procedure in zip(distortions, found, strict=True) if procedure) or "none"
        raise DataError(
            f"{database}: no procedure distorts as {', '.join(missing)} "
            f"(there is one for: {able}); "
            f"set skip_unmatched=true of the phase to leave such classes out, or leave procedural distortions out "
            f"(train: --no-ranking)"
        )
    return found


def ordered(distortions: Sequence[str], database: str) -> tuple[bool, ...]:
    """Of every class, whether a greater strength is worse; assumed of classes without a procedure."""
    found = (find(distortion, database) for distortion in distortions)
    return tuple(procedure is None or procedure.ordered for procedure in found)
