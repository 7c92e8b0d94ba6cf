"""Pictures of the demo dataset: photographs from two wheels, seeded textures, and their distortions.

Letters in shapes: h height, w width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from scipy.ndimage import gaussian_filter

from gada_ray.data.dataset import DataError

HEIGHT, WIDTH = 160, 192
PATCH_PX, MISPLACED_PX = 16, 12
"""Sides of the square patches of local distortions, in pixels: about as large in the picture as TID2013's."""

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png", 1.0),
    "brick": ("skimage", "data/brick.png", 0.8),
    "camera": ("skimage", "data/camera.png", 1.0),
    "chelsea": ("skimage", "data/chelsea.png", 1.0),
    "china": ("sklearn", "datasets/images/china.jpg", 1.0),
    "coffee": ("skimage", "data/coffee.png", 1.0),
    "coins": ("skimage", "data/coins.png", 1.0),
    "flower": ("sklearn", "datasets/images/flower.jpg", 1.0),
    "grass": ("skimage", "data/grass.png", 0.8),
    "gravel": ("skimage", "data/gravel.png", 0.8),
    "hubble": ("skimage", "data/hubble_deep_field.jpg", 0.5),
    "ihc": ("skimage", "data/ihc.png", 0.8),
    "retina": ("skimage", "data/retina.jpg", 0.5),
    "rocket": ("skimage", "data/rocket.jpg", 0.8),
}
"""By name: package, file in it, and the central part of the picture that is reduced to the demo's size."""


def photograph_file(name: str) -> Path:
    """The file of one of PHOTOGRAPHS in the installed wheel; nothing is downloaded.

    Raises:
        DataError: when the installed wheel does not contain it.
    """
    package, path, _ = PHOTOGRAPHS[name]
    found = find_spec(package)  # finds it without the seconds that importing it takes
    file = Path(found.origin if found and found.origin else "").parent / path
    if not file.is_file():
        raise DataError(f"the installed {package} has no {path}, which the demo dataset needs; reinstall {package}")
    return file


def photograph(name: str) -> np.ndarray:
    """The centre of one of PHOTOGRAPHS, reduced to the demo's size, uint8 `[h, w, 3]`.

    Raises:
        DataError: when the installed wheel does not contain it.
    """
    part = PHOTOGRAPHS[name][2]
    with Image.open(photograph_file(name)) as image:
        rgb = image.convert("RGB")
    return np.asarray(ImageOps.fit(rgb, (WIDTH, HEIGHT), Image.Resampling.LANCZOS, bleed=(1 - part) / 2))


def dead_leaves(seed: int, radii: tuple[float, float], contrast: float, saturation: float, grain: float) -> np.ndarray:
    """A seeded texture of opaque discs and boxes that occlude each other, uint8 `[h, w, 3]`.

    Its edges and its power spectrum resemble a photograph's (Lee, Mumford and Huang 2001): radii follow a power law of
    exponent -3 between `radii` (pixels).

    Args:
        contrast: spread of the leaves' brightness, 0 to 1.
        saturation: spread of their colours, 0 to 1.
        grain: greatest strength, 0 to 1, of the fine grating of a leaf; each leaf has its own strength.
    """
    rng = np.random.default_rng([2, seed])
    scale, count = 3, 4000
    colours = Image.new("RGB", (scale * WIDTH, scale * HEIGHT))
    grains = Image.new("L", colours.size)
    draw_colour, draw_grain = ImageDraw.Draw(colours), ImageDraw.Draw(grains)
    small, large = radii
    radius = scale / np.sqrt(large**-2.0 + rng.random(count) * (small**-2.0 - large**-2.0))
    centre = rng.random((count, 2)) * colours.size
    grey = 0.5 + contrast * (rng.random((count, 1)) - 0.5)
    colour = 255 * np.clip(grey + saturation * (rng.random((count, 3)) - 0.5), 0, 1)
    strength = 255 * rng.random(count)
    flat = rng.random(count) < 0.3
    for i in range(count):
        box = (*(centre[i] - radius[i]), *(centre[i] + radius[i]))
        for draw, fill in ((draw_colour, tuple(colour[i].astype(int))), (draw_grain, int(strength[i]))):
            (draw.rectangle if flat[i] else draw.ellipse)(box, fill=fill)
    leaves = np.asarray(colours.resize((WIDTH, HEIGHT), Image.Resampling.BOX), dtype=np.float64) / 255
    amount = np.asarray(grains.resize((WIDTH, HEIGHT), Image.Resampling.BOX), dtype=np.float64) / 255
    waves = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH)), (0.5, 1.5))
    return _uint8(255 * (leaves + grain * (amount * waves)[..., None]))


def clouds(seed: int, exponent: float, contrast: float) -> np.ndarray:
    """A seeded smooth texture with the amplitude spectrum 1 / f**exponent, coloured, uint8 `[h, w, 3]`."""
    rng = np.random.default_rng([3, seed])
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH))
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.standard_normal((3, HEIGHT, WIDTH))) / frequency**exponent
    fields = np.fft.ifft2(spectrum).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    mixed = np.tensordot(np.array([[1, 0.4, 0], [1, 0, 0.3], [1, -0.4, -0.3]]), fields, axes=1)
    return _uint8(255 * (0.5 + contrast * mixed.transpose(1, 2, 0)))


def references() -> dict[str, np.ndarray]:
    """The demo's 20 undistorted pictures, uint8 `[h, w, 3]`, by name."""
    textures = {
        "texture_bold": dead_leaves(1, (3, 60), contrast=1.0, saturation=0.7, grain=0.1),
        "texture_fine": dead_leaves(2, (1, 12), contrast=0.8, saturation=0.3, grain=0.2),
        "texture_grainy": dead_leaves(3, (4, 50), contrast=0.6, saturation=0.5, grain=0.5),
        "texture_pale": dead_leaves(4, (3, 40), contrast=0.25, saturation=0.15, grain=0.05),
        "texture_clouds": clouds(5, 1.6, contrast=0.16),
        "texture_rough": clouds(6, 1.0, contrast=0.12),
    }
    return {name: photograph(name) for name in PHOTOGRAPHS} | textures


def jp2k(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG2000 at compression ratios of 8 to 150."""
    return _jp2k(image, _between(8, 150, severity))


def jpeg(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG of quality 70 to 4 with chroma at half resolution."""
    return _recoded(image, format="JPEG", quality=round(_between(70, 4, severity)), subsampling="4:2:0")


def wn(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise in every channel, of standard deviation 0.012 to 0.4 of the full scale."""
    return _uint8(image + 255 * _between(0.012, 0.4, severity) * rng.standard_normal(image.shape))


def gblur(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of standard deviation 0.4 to 6 pixels."""
    return _uint8(gaussian_filter(image.astype(np.float64), (*[_between(0.4, 6, severity)] * 2, 0), mode="nearest"))


def ff_like(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG2000 with bursts of lost detail, in place of LIVE's fast fading, whose channel simulator is not public.

    Every burst replaces a strip of rows, or a part of it, by a much coarser decoding that is displaced sideways. The
    severity sets the fraction of the picture that bursts cover, 2% to 60%.
    """
    damaged = _jp2k(image, 8).copy()
    coarse = _jp2k(image, 250)
    wanted, covered = _between(0.02, 0.6, severity) * HEIGHT * WIDTH, np.zeros((HEIGHT, WIDTH), dtype=bool)
    while (rest := wanted - covered.sum()) > 0:
        width = int(rng.integers(WIDTH // 4, WIDTH))
        height = min(int(rng.integers(4, 20)), math.ceil(rest / width))
        top, left = int(rng.integers(0, HEIGHT - height)), int(rng.integers(0, WIDTH - width + 1))
        strip = np.s_[top : top + height, left : left + width]
        damaged[strip] = np.roll(coarse, int(rng.integers(-6, 7)), axis=1)[strip]
        covered[strip] = True
    return damaged


def patches(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Patches of another intensity, as in TID2013's type 15: square patches of 16 pixels, brighter or darker.

    The severity sets both the fraction of the picture that they would cover side by side, 1% to 20%, and the change of
    their pixels, 12 to 120 of 255. Dark patches become brighter, and others darker.
    """
    extent, strength = _extent_and_strength(severity, rng)
    shifted, change = image.astype(np.float64), _between(12, 120, strength)
    for _ in range(_count(_between(0.01, 0.2, extent), PATCH_PX)):
        top, left = int(rng.integers(HEIGHT - PATCH_PX + 1)), int(rng.integers(WIDTH - PATCH_PX + 1))
        patch = np.s_[top : top + PATCH_PX, left : left + PATCH_PX]
        shifted[patch] = image[patch] + (change if image[patch].mean() < 128 else -change)
    return _uint8(shifted)


def misplaced(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Misplaced patches, as in TID2013's type 14: square patches of 12 pixels that show a region some pixels away.

    The severity sets both the fraction of the picture that they would cover side by side, 2% to 30%, and the distance
    of that region, 3 to 24 pixels in any direction.
    """
    extent, strength = _extent_and_strength(severity, rng)
    out, distance = image.copy(), _between(3, 24, strength)
    for _ in range(_count(_between(0.02, 0.3, extent), MISPLACED_PX)):
        angle = 2 * math.pi * rng.random()
        down, right = round(distance * math.sin(angle)), round(distance * math.cos(angle))
        top = int(rng.integers(max(0, -down), HEIGHT - MISPLACED_PX - max(0, down) + 1))
        left = int(rng.integers(max(0, -right), WIDTH - MISPLACED_PX - max(0, right) + 1))
        there = image[top + down :, left + right :][:MISPLACED_PX, :MISPLACED_PX]
        out[top : top + MISPLACED_PX, left : left + MISPLACED_PX] = there
    return out


DISTORTIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "jp2k": jp2k,
    "jpeg": jpeg,
    "wn": wn,
    "gblur": gblur,
    "ff_like": ff_like,
}
"""LIVE's five types by name: each distorts an image uint8 `[h, w, 3]` with a severity in [0, 1]."""

WITH_LOCAL = DISTORTIONS | {"patches": patches, "misplaced": misplaced}
"""The same and two local types, which leave most of a picture unchanged."""


def _extent_and_strength(severity: float, rng: np.random.Generator) -> tuple[float, float]:
    """Two severities in [0, 1] with the given mean: some pictures have few strong faults, others many weak ones.

    Both grow with the severity for the same state of `rng`.
    """
    tilt = float(2 * rng.random() - 1) * min(severity, 1 - severity)
    return severity + tilt, severity - tilt


def _count(share: float, px: int) -> int:
    """The number of square patches, at least one, that side by side cover a fraction of the picture."""
    return max(1, round(share * HEIGHT * WIDTH / px**2))


def _between(low: float, high: float, severity: float) -> float:
    """Geometric interpolation from `low` at severity 0 to `high` at severity 1."""
    return float(low * (high / low) ** severity)


def _jp2k(image: np.ndarray, rate: float) -> np.ndarray:
    return _recoded(image, format="JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[rate])


def _recoded(image: np.ndarray, **options: object) -> np.ndarray:
    """The image after it was encoded and decoded by one of PIL's codecs."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(buffer).convert("RGB"))


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)
