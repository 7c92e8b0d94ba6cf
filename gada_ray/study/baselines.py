"""BRISQUE on a study's splits, the classical baseline of its table; computed once for images and splits, and kept."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from gada_ray.config import digest
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Split
from gada_ray.trials.store import Folder, read_whole, write_whole

FILE = "brisque.csv"
"""Artifact of a whole study's run in MLflow, for reports; it also has the fingerprint of the images."""
VERSION = 2
"""Raised by one when the same images and splits would have other scores, or further ones."""
STATISTICS_VERSION = 1
"""Raised by one when the same images would have other statistics."""


def brisque_baseline(dataset: IqaDataset, splits: Sequence[Split], root: Folder) -> pd.DataFrame:
    """BRISQUE trained and tested on every split: columns split, srocc, plcc, srocc/jpeg and so on (`by_distortion`).

    Statistics of the images and the scores of each split are kept in the folder `baselines` of a storage.
    """
    place = root / "baselines"
    kept: dict[int, dict[str, float]] = {}
    names = {
        s.index: f"brisque-{digest([VERSION, dataset.fingerprint, s.train, s.validation, s.test])}.json" for s in splits
    }
    for split in splits:
        text = _read(place / names[split.index])
        if text is not None:
            kept[split.index] = json.loads(text)
    missing = [split for split in splits if split.index not in kept]
    if missing:
        from gada_ray.evaluation import brisque

        statistics = _statistics(dataset, place)

        def scores(split: Split) -> dict[str, float]:
            fold = split.for_test()
            return brisque.baseline(dataset, statistics, fold.train, fold.held_out)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for split, found in zip(missing, pool.map(scores, missing), strict=True):
                write_whole(place / names[split.index], json.dumps(found).encode())
                kept[split.index] = found
    return pd.DataFrame([{"split": split.index, **kept[split.index]} for split in splits])


def _statistics(dataset: IqaDataset, place: Folder) -> np.ndarray:
    path = place / f"brisque-{STATISTICS_VERSION}-{dataset.fingerprint}.npy"
    data = _read(path)
    if data is None:
        from gada_ray.evaluation import brisque

        buffer = io.BytesIO()
        np.save(buffer, brisque.of_dataset(dataset), allow_pickle=False)
        data = buffer.getvalue()
        write_whole(path, data)
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def _read(path: Folder) -> bytes | None:
    try:
        return read_whole(path)
    except FileNotFoundError:
        return None
