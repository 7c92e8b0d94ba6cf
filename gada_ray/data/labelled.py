"""The images of a training part that count as labelled, for studies of how few labels suffice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset


def labelled_rows(dataset: IqaDataset, references: Sequence[str], config: DataConfig, *seed: int) -> np.ndarray:
    """Rows, ascending, int64, of the distorted images of some references that training may use.

    All of them, or the first `labelled_images` of one seeded order, so that a smaller set is part of a larger one. Of
    the other images neither scores nor pixels are used.

    Raises:
        DataError: for more labelled images than the training part has.
    """
    rows = dataset.rows_of(references)
    if config.labelled_images is None:
        return rows
    if config.labelled_images > len(rows):
        raise DataError(
            f"data.labelled_images is {config.labelled_images}, but a training part of {dataset.name} has {len(rows)} "
            f"images; ask for fewer"
        )
    return np.sort(_order(dataset, rows, config.labelled_by, seed)[: config.labelled_images])


def _order(dataset: IqaDataset, rows: np.ndarray, by: str, seed: Sequence[int]) -> np.ndarray:
    """Some rows in the order in which they are labelled.

    By "reference": all images of one reference before those of the next, with its classes in turn; or at "random". One
    image of every class comes before a second one of any class.
    """
    import pandas as pd

    random = np.random.Generator(np.random.PCG64([*seed]))
    rows = random.permutation(rows)
    frame = pd.DataFrame({"row": rows, "reference": dataset.reference[rows], "distortion": dataset.distortion[rows]})
    if by == "reference":
        places = pd.Series({one: place for place, one in enumerate(random.permutation(np.unique(frame["reference"])))})
        frame["place"] = frame["reference"].map(places)
        frame["turn"] = frame.groupby(["reference", "distortion"]).cumcount()
        frame = frame.sort_values(["place", "turn"], kind="stable")
    again = frame.duplicated("distortion").to_numpy()
    return np.concatenate([frame["row"].to_numpy()[~again], frame["row"].to_numpy()[again]])
