"""Our BRISQUE compared with an independent implementation: `python -m benchmarks.brisque --data-root live20`.

Both compute 36 statistics of every distorted image. piq pads with zeros and halves images by its own code. The same
regression is trained on either set of statistics, split by split, and tested on the test references.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from gada_ray import DataConfig
from gada_ray.data import load_dataset
from gada_ray.data.splits import make_splits
from gada_ray.evaluation import brisque

independent = importlib.import_module("piq.brisque")  # piq itself has a function of this name


def of_piq(image: np.ndarray) -> np.ndarray:
    """36 statistics of an image uint8 `[h, w, 3]` by piq, from luminance rounded as in ours."""
    luminance = np.asarray(Image.fromarray(image).convert("L"))
    x = torch.from_numpy(luminance.astype(np.float64))[None, None]
    halves = independent.imresize(x, sizes=(x.size(2) // 2, x.size(3) // 2))
    parts = [independent._natural_scene_statistics(each) for each in (x, halves)]
    return np.asarray(torch.cat(parts, dim=-1)[0].numpy())


def main(
    data_root: Annotated[Path | None, typer.Option(help="Folder with scores.csv; without it, the demo data.")] = None,
    splits: Annotated[int, typer.Option(min=1)] = 10,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Compare the two on test references."""
    dataset = load_dataset("manifest" if data_root else "demo", data_root, DataConfig())
    ours = brisque.of_dataset(dataset)
    theirs = np.stack([of_piq(dataset.distorted_image(row)) for row in range(len(dataset))])
    table = Table("split", "ours", "piq's", "difference", title=f"BRISQUE on {dataset.name}, test SROCC")
    rows = []
    for split in make_splits(dataset.references, splits, seed):
        fold = split.for_test()
        found = [brisque.baseline(dataset, each, fold.train, fold.held_out)["srocc"] for each in (ours, theirs)]
        rows.append((*found, found[0] - found[1]))
        table.add_row(str(split.index), *(f"{value:.3f}" for value in rows[-1]))
    table.add_row("mean", *(f"{value:.3f}" for value in np.mean(rows, axis=0)))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
