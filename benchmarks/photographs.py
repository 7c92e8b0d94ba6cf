"""Unlabelled photographs, for `--extra-references`: `python -m benchmarks.photographs OUT`.

The colour photographs of the scikit-image and scikit-learn wheels, whole, reduced where they are wider than LIVE's;
the demo's own references are reduced to a quarter. Sources and licences are in `gada_ray/data/demo.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from gada_ray.data.demo_images import PHOTOGRAPHS, photograph_file

LONGER_PX = 768
"""Longer side, as of LIVE's images."""


def main(out: Annotated[Path, typer.Argument(help="Folder to write.")]) -> None:
    """Write the photographs as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        with Image.open(photograph_file(name)) as image:
            image.thumbnail((LONGER_PX, LONGER_PX), Image.Resampling.LANCZOS)
            rgb = image.convert("RGB")
        if np.ptp(np.asarray(rgb), axis=2).any():  # otherwise the photograph is grey
            rgb.save(out / f"{name}.png")
            typer.echo(f"{name}.png: {rgb.width} x {rgb.height}")


if __name__ == "__main__":
    typer.run(main)
