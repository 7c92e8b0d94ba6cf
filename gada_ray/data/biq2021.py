"""BIQ2021 (Ahmed and Asif): 12,000 photographs without references, in its authors' two parts."""

from __future__ import annotations

from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.files import find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.tables import read_table

ENTRIES = 12_000
TABLES = ("Train (Images and MOS).csv", "Test (Images and MOS).csv")


def load_biq2021(root: Path, config: DataConfig) -> IqaDataset:
    """Load BIQ2021, or a part of it: every image that its two tables list; MOS from 0 to 1, higher is better.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "BIQ2021", ["Images", *TABLES])
    images: list[Labelled] = []
    parts = []
    for table in TABLES:
        rows = read_table(index[table], ("image name", "mos"))
        names = [name.lower() for (name,), _ in rows]
        files = [index[f"Images/{name}"] for (name,), _ in rows]
        images += [
            Labelled(name, file, name, UNSPECIFIED, mos)
            for name, file, (_, mos) in zip(names, files, rows, strict=True)
        ]
        parts.append(names)
    train, test = parts
    return load_images(
        name="BIQ2021",
        labels="MOS of BIQ2021",
        direction="higher_is_better",
        score_range=(0.0, 1.0),
        references=None,
        images=images,
        distortions=[UNSPECIFIED],
        notes=[] if len(images) == ENTRIES else [f"{len(images)} of the {ENTRIES} images of BIQ2021"],
        shorter_side=config.shorter_side,
        published=(train, (), test),
    )
