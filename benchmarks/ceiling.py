"""Upper bound of predictions from class and strength on the demo data: `python -m benchmarks.ceiling`.

An oracle knows the distortion class and strength of a test image, and no pixel. It predicts the score by isotonic
regression on the images of the training references, class by class. Its error is the part of a score that depends on
the picture itself, so that a network which recognises class and strength without error would be about as good.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.isotonic import IsotonicRegression

from gada_ray import DataConfig
from gada_ray.data import load_dataset
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.demo import severities
from gada_ray.data.splits import make_splits
from gada_ray.evaluation import brisque
from gada_ray.evaluation.metrics import agreement


def predicted(dataset: IqaDataset, severity: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predicted qualities of test rows `[n]`, from classes, severities `[m]` and the qualities of training rows."""
    quality = np.empty(len(test))
    for distortion in range(len(dataset.distortions)):
        rows, here = train[dataset.distortion[train] == distortion], dataset.distortion[test] == distortion
        falling = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(severity[rows], dataset.quality[rows])
        quality[here] = falling.predict(severity[test[here]])
    return quality


def main(splits: Annotated[int, typer.Option(min=1)] = 3, seed: Annotated[int, typer.Option()] = 0) -> None:
    """Print the oracle's test SROCC by split, beside BRISQUE's."""
    dataset = load_dataset("demo", None, DataConfig())
    severity, features = severities(dataset), brisque.of_dataset(dataset)
    table = Table("split", "oracle of class and strength", "BRISQUE", title="test SROCC on the demo data")
    rows = []
    for split in make_splits(dataset.references, splits, seed):
        fold = split.for_test()
        train, test = dataset.rows_of(fold.train), dataset.rows_of(fold.held_out)
        oracle = agreement(dataset.quality[test], predicted(dataset, severity, train, test))["srocc"]
        rows.append((oracle, brisque.baseline(dataset, features, fold.train, fold.held_out)["srocc"]))
        table.add_row(str(split.index), *(f"{value:.3f}" for value in rows[-1]))
    table.add_row("mean", *(f"{value:.3f}" for value in np.mean(rows, axis=0)))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
