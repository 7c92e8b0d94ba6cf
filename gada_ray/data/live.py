"""LIVE Image Quality Assessment Database, release 2 (Sheikh et al.), in its authors' layout.

Facts of the label files: `dmos.mat` and `refnames_all.mat` list 982 entries in the order of FOLDERS; 203 of them
(`orgs` = 1, score 0) are undistorted copies of references, which leaves 779 distorted images of 29 references.
`dmos_realigned.mat` is the authors' later file of realigned scores. In both, lower is better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import Labelled, load_images
from gada_ray.data.matlab import read_mat

FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
"""Numbers of images by folder, in the order of the label files."""
DISTORTIONS = ("jp2k", "jpeg", "wn", "gblur", "ff")
LABELS = {"original": ("dmos.mat", "dmos"), "realigned": ("dmos_realigned.mat", "dmos_new")}
"""Label file and variable by the name of the scores."""


def load_live(root: Path, config: DataConfig) -> IqaDataset:
    """Load LIVE release 2: 779 distorted images, or all 982 with `config.include_reference_copies`.

    A copy of a reference has the distortion class of its folder. Quality is 1 - DMOS / 100; realigned scores reach from
    -2.6 to 111.8 and are not clipped.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    file, variable = LABELS[config.dmos]
    index = find_database(root, "LIVE release 2", ["refimgs", "refnames_all.mat", *FOLDERS])
    scores, copies = (_entries(index, file, key) for key in (variable, "orgs"))
    references = [Path(str(cell.item())).stem.lower() for cell in _entries(index, "refnames_all.mat", "refnames_all")]
    names = [f"{folder}/img{i + 1}.bmp" for folder, count in FOLDERS.items() for i in range(count)]
    classes = np.repeat(DISTORTIONS, list(FOLDERS.values()))
    images = [
        Labelled(name, index[name], reference, str(distortion), float(score))
        for name, reference, distortion, score, copy in zip(names, references, classes, scores, copies, strict=True)
        if config.include_reference_copies or not copy
    ]
    n_copies = int(np.sum(copies))
    action = "kept: they raise correlations" if config.include_reference_copies else "left out"
    return load_images(
        name="LIVE release 2",
        labels=f"DMOS of {file}",
        direction="lower_is_better",
        score_range=(0.0, 100.0),
        references={reference: index[f"refimgs/{reference}.bmp"] for reference in sorted(set(references))},
        images=images,
        distortions=DISTORTIONS,
        notes=[f"{n_copies} of {len(names)} entries are undistorted copies of references, {action}"],
        shorter_side=config.shorter_side,
    )


def _entries(index: FileIndex, file: str, variable: str) -> np.ndarray:
    """Read one variable of a label file, an array `[982]`."""
    path = index[file]
    expected = sum(FOLDERS.values())
    if not path.exists():
        apart = " (a separate download; or use the original scores)" if file == "dmos_realigned.mat" else ""
        raise DataError(f"{path}: no such file; LIVE's scores belong beside its folders{apart}")
    try:
        values = read_mat(path)[variable].ravel()
    except KeyError:
        raise DataError(f"{path}: it has no variable '{variable}'; is it LIVE's {file}?") from None
    except NotImplementedError as error:
        raise DataError(f"{path}: not a MATLAB file that can be read ({error})") from None
    if len(values) != expected:
        raise DataError(f"{path}: '{variable}' has {len(values)} entries, LIVE release 2 has {expected}")
    return np.asarray(values)
