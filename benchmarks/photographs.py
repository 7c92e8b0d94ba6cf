"""Photographs that nobody rated, for `--extra-references`: `python -m benchmarks.photographs OUT`.

The colour photographs of the scikit-image and scikit-learn wheels, whole, reduced where they are wider than LIVE's;
the demo's own references are reduced to a quarter. Sources and licences are in `gada_ray/data/demo.py`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageChops

from gada_ray.data.demo_images import PHOTOGRAPHS

LONGER_PX = 768
"""LIVE's images are as wide."""


def main(out: Annotated[Path, typer.Argument(help="Folder to write.")]) -> None:
    """Write them as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (package, path, _) in PHOTOGRAPHS.items():
        with files(package).joinpath(path).open("rb") as file, Image.open(file) as image:
            image.thumbnail((LONGER_PX, LONGER_PX), Image.Resampling.LANCZOS)
            if not grey(image):
                image.convert("RGB").save(out / f"{name}.png")
                typer.echo(f"{name}.png: {image.width} x {image.height}")


def grey(image: Image.Image) -> bool:
    """Whether all channels are the same, or there is one."""
    channels = image.split()
    return all(ImageChops.difference(channels[0], other).getbbox() is None for other in channels[1:])


if __name__ == "__main__":
    typer.run(main)
