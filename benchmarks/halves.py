"""Split a database into two, to train on one and test on the other: `python -m benchmarks.halves live20 OUT`.

`OUT/a` has half of the references with their distorted images and scores. `OUT/b` has the others and two scenes of `a`,
since real databases share scenes: one is cropped, one is reduced, both reference and distorted images. They keep the
scores of the whole images, which are not human scores of these. `test` and `--also-test` should find the two and show
figures without them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from PIL import Image

CROPPED, SHRUNK = "cropped", "shrunk"


def cropped(image: Image.Image) -> Image.Image:
    """Seven tenths of either side, from a corner on JPEG's grid."""
    return image.crop((16, 24, 16 + image.width * 7 // 10, 24 + image.height * 7 // 10))


def shrunk(image: Image.Image) -> Image.Image:
    """Three quarters of either side."""
    return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)


def write(table: pd.DataFrame, source: Path, target: Path) -> None:
    """Some rows of a manifest with their images."""
    for name in pd.unique(table[["reference", "distorted"]].to_numpy().ravel()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)
    table.to_csv(target / "scores.csv", index=False)
    shutil.copy(source / "scores.toml", target)


def main(
    source: Annotated[Path, typer.Argument(help="Folder with scores.csv, scores.toml and images.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Write both halves."""
    table = pd.read_csv(source / "scores.csv")
    references = sorted(table["reference"].unique())
    first = references[::2]
    ours = table[table["reference"].isin(first)]
    write(ours, source, out / "a")
    write(table.drop(index=ours.index), source, out / "b")
    parts = [pd.read_csv(out / "b" / "scores.csv")]
    for reference, (folder, change) in zip(first, ((CROPPED, cropped), (SHRUNK, shrunk)), strict=False):
        part = table[table["reference"] == reference]
        for name in [reference, *part["distorted"]]:
            place = (out / "b" / folder / name).with_suffix(".png")
            place.parent.mkdir(parents=True, exist_ok=True)
            change(Image.open(source / name).convert("RGB")).save(place)
        names = {
            column: [f"{folder}/{Path(n).with_suffix('.png')}" for n in part[column]]
            for column in ("reference", "distorted")
        }
        parts.append(part.assign(**names))
    both = pd.concat(parts)
    both.to_csv(out / "b" / "scores.csv", index=False)
    for name, rows in (("a", ours), ("b", both)):
        print(f"{out / name}: {len(rows)} images of {rows['reference'].nunique()} references")


if __name__ == "__main__":
    typer.run(main)
