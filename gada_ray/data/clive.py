"""LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik): 1,162 photographs without references."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.matlab import read_mat

ENTRIES = 1169
EXERCISES = 7
"""Number of images, the first in the tables, on which the raters practised; they lie in a folder of their own."""


def load_clive(root: Path, config: DataConfig) -> IqaDataset:
    """Load LIVE in the Wild without the raters' seven practice images, as is usual; MOS from 0 to 100, higher better.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "LIVE in the Wild", ["Images", "Data"])
    names = [str(cell.item()).lower() for cell in _entries(index, "AllImages_release")]
    scores = [float(score) for score in _entries(index, "AllMOS_release")]
    return load_images(
        name="LIVE in the Wild",
        labels="MOS of AllMOS_release.mat",
        direction="higher_is_better",
        score_range=(0.0, 100.0),
        references=None,
        images=[
            Labelled(name, index[f"Images/{name}"], name, UNSPECIFIED, score)
            for name, score in zip(names[EXERCISES:], scores[EXERCISES:], strict=True)
        ],
        distortions=[UNSPECIFIED],
        notes=[f"the raters' {EXERCISES} practice images are left out"],
        shorter_side=config.shorter_side,
    )


def _entries(index: FileIndex, variable: str) -> np.ndarray:
    """Read one variable of the label files, 1,169 entries."""
    path = index[f"Data/{variable}.mat"]
    if not path.exists():
        raise DataError(f"{path}: no such file; the scores of LIVE in the Wild lie in its folder Data")
    try:
        values = np.asarray(read_mat(path)[variable]).ravel()
    except KeyError:
        raise DataError(f"{path}: it has no variable '{variable}'") from None
    except NotImplementedError as error:
        raise DataError(f"{path}: not a MATLAB file that can be read ({error})") from None
    if len(values) != ENTRIES:
        raise DataError(f"{path}: '{variable}' has {len(values)} entries, LIVE in the Wild has {ENTRIES}")
    return values
