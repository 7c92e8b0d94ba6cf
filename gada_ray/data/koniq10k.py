"""KonIQ-10k (Hosu et al.): 10,073 photographs without references, in the three parts of its authors."""

from __future__ import annotations

from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.tables import read_cells, read_table
from gada_ray.data.words import counted

ENTRIES = 10_073
FOLDERS = ("1024x768", "512x384")
SCORES, SETS = "koniq10k_scores_and_distributions.csv", "koniq10k_distributions_sets.csv"
RANGES = {SCORES: (1.0, 5.0), SETS: (0.0, 100.0)}
"""Ends of the scale of MOS, by table."""
PARTS = ("training", "validation", "test")


def load_koniq10k(root: Path, config: DataConfig) -> IqaDataset:
    """Load KonIQ-10k; of the two sizes of its images the larger one where both are there.

    MOS is read from `koniq10k_scores_and_distributions.csv` (1 to 5, higher is better) or, where it is missing, from
    `koniq10k_distributions_sets.csv` (the same votes on 0 to 100), which also names the authors' parts.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = _find(root)
    scores = SCORES if SCORES in index else SETS
    folder = next((folder for folder in FOLDERS if folder in index), None)
    if folder is None:
        raise DataError(f"KonIQ-10k: {index.root} has neither {FOLDERS[0]} nor {FOLDERS[1]} with the images")
    images = [
        Labelled(name.lower(), index[f"{folder}/{name}"], name.lower(), UNSPECIFIED, mos)
        for (name,), mos in read_table(index[scores], ("image_name", "mos"))
    ]
    return load_images(
        name=f"KonIQ-10k, {folder}",
        labels=f"MOS of {scores}",
        direction="higher_is_better",
        score_range=RANGES[scores],
        references=None,
        images=images,
        distortions=[UNSPECIFIED],
        notes=[] if len(images) == ENTRIES else [f"{len(images)} of the {ENTRIES} images of KonIQ-10k"],
        shorter_side=config.shorter_side,
        published=_parts(index, {image.name for image in images}) if SETS in index else None,
    )


def _find(root: Path) -> FileIndex:
    """The folder with either of the tables."""
    try:
        return find_database(root, "KonIQ-10k", [SCORES])
    except DataError:
        pass
    try:
        return find_database(root, "KonIQ-10k", [SETS])
    except DataError as error:
        raise DataError(f"{error}; {SCORES} would do as well") from None


def _parts(index: FileIndex, known: set[str]) -> tuple[list[str], list[str], list[str]]:
    """The authors' training, validation and test part, of the images that are there."""
    table = read_cells(index[SETS], ("image_name", "set"))
    name, part = (table.columns.index(column) for column in ("image_name", "set"))
    found: dict[str, list[str]] = {each: [] for each in PARTS}
    problems = []
    for number, cells in table.lines:
        if len(cells) <= max(name, part):
            text = f"{table.path}: line {number} has {counted(len(cells), 'cell')}, the first line {len(table.header)}"
            problems.append(DataError(text, "lines with too few cells"))
        elif cells[part].lower() not in found:
            text = f"{table.path}: line {number}: set '{cells[part]}' is none of {', '.join(PARTS)}"
            problems.append(DataError(text, "lines with an unknown set"))
        elif cells[name].lower() in known:
            found[cells[part].lower()].append(cells[name].lower())
    if problems:
        raise DataError.of(problems)
    training, validation, test = found.values()
    return training, validation, test
