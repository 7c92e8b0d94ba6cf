"""KonIQ-10k (Hosu et al.): 10,073 photographs without references, in the three parts of its authors."""

from __future__ import annotations

from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.tables import read_cells, read_table

ENTRIES = 10_073
FOLDERS = ("1024x768", "512x384")
SCORES, SETS = "koniq10k_scores_and_distributions.csv", "koniq10k_distributions_sets.csv"
PARTS = ("training", "validation", "test")


def load_koniq10k(root: Path, config: DataConfig) -> IqaDataset:
    """KonIQ-10k: MOS from 1 to 5, higher is better; of the larger images where there are both sizes.

    The authors' parts are known where `koniq10k_distributions_sets.csv` lies beside the scores.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "KonIQ-10k", [SCORES])
    folder = next((folder for folder in FOLDERS if folder in index), None)
    if folder is None:
        raise DataError(f"KonIQ-10k: {index.root} has neither {FOLDERS[0]} nor {FOLDERS[1]} with the images")
    images = [
        Labelled(name.lower(), index[f"{folder}/{name}"], name.lower(), UNSPECIFIED, mos)
        for (name,), mos in read_table(index[SCORES], ("image_name", "mos"))
    ]
    return load_images(
        name=f"KonIQ-10k, {folder}",
        labels=f"MOS of {SCORES}",
        direction="higher_is_better",
        score_range=(1.0, 5.0),
        references=None,
        images=images,
        distortions=[UNSPECIFIED],
        notes=[] if len(images) == ENTRIES else [f"{len(images)} of the {ENTRIES} images of KonIQ-10k"],
        shorter_side=config.shorter_side,
        published=_parts(index, {image.name for image in images}) if SETS in index else None,
    )


def _parts(index: FileIndex, known: set[str]) -> tuple[list[str], list[str], list[str]]:
    table = read_cells(index[SETS], ("image_name", "set"))
    name, part = (table.columns.index(column) for column in ("image_name", "set"))
    found: dict[str, list[str]] = {each: [] for each in PARTS}
    for number, cells in table.lines:
        if len(cells) <= max(name, part):
            raise DataError(f"{table.path}: line {number} has {len(cells)} cells, the first line {len(table.header)}")
        if cells[part].lower() not in found:
            raise DataError(f"{table.path}: line {number}: set '{cells[part]}' is none of {', '.join(PARTS)}")
        if cells[name].lower() in known:
            found[cells[part].lower()].append(cells[name].lower())
    training, validation, test = found.values()
    return training, validation, test
