"""A small database of one's own, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def make_manifest(root: Path, references: int = 6, px: int = 80, levels: int = 4) -> None:
    """Noise and darkness of growing strength on random textures, scored by their strength; lower is better."""
    random = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for letter in "abcdefghij"[:references]:
        coarse = random.integers(40, 216, (px // 8, px // 8, 3), dtype=np.uint8)
        reference = np.asarray(Image.fromarray(coarse).resize((px, px), Image.Resampling.BICUBIC))
        Image.fromarray(reference).save(root / f"{letter}.png")
        for number in range(levels):
            strength = number + random.random()
            noisy = np.clip(reference + 12 * strength * random.standard_normal(reference.shape), 0, 255)
            dark = reference * (1 - 0.2 * strength)
            for kind, first, image in (("noise", 0, noisy), ("dark", levels, dark)):
                name = f"{letter}_{first + number}.png"
                Image.fromarray(image.astype(np.uint8)).save(root / name)
                rows.append((f"{letter}.png", name, kind, round(20 * strength, 3)))
    frame = pd.DataFrame(rows, columns=["reference", "distorted", "distortion", "score"])
    frame.to_csv(root / "scores.csv", index=False)
    (root / "scores.toml").write_text('name = "toy"\ndirection = "lower_is_better"\nrange = [0.0, 80.0]\n')
