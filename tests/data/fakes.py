"""Fake databases: the authors' names and label files, with pictures of a few pixels.

Every reference has a size of its own, and so have its distorted images; a label that is joined to a wrong reference
therefore fails on loading. The colour of every distorted image says which entry of the label file it belongs to.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def colour_of(entry: int) -> tuple[int, int, int]:
    """A colour that names an entry of a label file."""
    return entry % 256, entry // 256, 7


def entry_of(image: np.ndarray) -> int:
    """The entry that the colour of an image `[h, w, 3]` names."""
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])


def size_of(number: int) -> tuple[int, int]:
    """A width and height that names a reference."""
    return 8 + number % 10, 8 + number // 10


def write_flat(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_noisy(root: Path, references: int, levels: Sequence[float], direction: str = "higher_is_better") -> Path:
    """A manifest of noise on smooth pictures of 32x40 pixels, whose score truly falls from 5 with the noise."""
    rng = np.random.default_rng(0)
    rows = ["reference,distorted,distortion,score"]
    y, x = np.mgrid[:32, :40]
    for r in range(references):
        waves = [np.sin(x / (3 + r) + c) + np.cos(y / (4 + c) + r) for c in range(3)]
        picture = 128 + 40 * np.stack(waves, axis=2)
        write_picture(root / f"ref/r{r}.png", picture.astype(np.uint8))
        for level in levels:
            noisy = picture + level * rng.standard_normal(picture.shape)
            write_picture(root / f"dist/r{r}_{level:g}.png", noisy.clip(0, 255).astype(np.uint8))
            rows.append(f"ref/r{r}.png,dist/r{r}_{level:g}.png,noise,{5 - level / 20}")
    (root / "scores.csv").write_text("\n".join(rows) + "\n")
    (root / "scores.toml").write_text(f'name = "noisy"\ndirection = "{direction}"\nrange = [0.0, 5.0]\n')
    return root
