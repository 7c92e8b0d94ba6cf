"""Which images of a training part have scores, where a study asks how few will do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset


def labelled_rows(dataset: IqaDataset, references: Sequence[str], config: DataConfig, *seed: int) -> np.ndarray:
    """Rows of the distorted images of some references that training may use, ascending, int64.

    All of them, or the first `labelled_images` of one seeded order, so that fewer are among more. Nothing else of the
    others is used: neither score nor pixels.

    Raises:
        DataError: where there are fewer images than that.
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
    """Some rows in the order in which they get their scores.

    By "reference": all images of one reference before the next one's, its classes in turn; or at "random". An image of
    every class goes before the second of any.
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
