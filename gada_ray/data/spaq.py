"""SPAQ (Fang et al.): 11,125 smartphone photographs without references."""

from __future__ import annotations

from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.tables import read_table

ENTRIES = 11_125
WORKBOOK = "MOS and Image attribute scores.xlsx"


def load_spaq(root: Path, config: DataConfig) -> IqaDataset:
    """Load SPAQ: MOS from 0 to 100, higher is better. Its images are large; a `config.shorter_side` of 512 is usual.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "SPAQ", ["TestImage"])
    places = [index[WORKBOOK], index[f"Annotations/{WORKBOOK}"]]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise DataError(f"SPAQ: neither {index.root} nor its folder Annotations contains '{WORKBOOK}'")
    images = [
        Labelled(name.lower(), index[f"TestImage/{name}"], name.lower(), UNSPECIFIED, mos)
        for (name,), mos in read_table(path, ("image name", "mos"))
    ]
    return load_images(
        name="SPAQ",
        labels=f"MOS of {path.name}",
        direction="higher_is_better",
        score_range=(0.0, 100.0),
        references=None,
        images=images,
        distortions=[UNSPECIFIED],
        notes=[] if len(images) == ENTRIES else [f"{len(images)} of the {ENTRIES} images of SPAQ"],
        shorter_side=config.shorter_side,
    )
