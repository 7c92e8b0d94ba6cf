"""CSIQ (Larson and Chandler): 866 images, 30 references, 6 types of distortion."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import Labelled, load_images

DISTORTIONS = ("awgn", "blur", "contrast", "fnoise", "jpeg", "jpeg2000")
ENTRIES = 866
WORKBOOK, SHEET, LIST = "csiq.DMOS.xlsx", "all_by_image", "csiq_label.txt"
_NAME = re.compile(r"(.+)\.(awgn|blur|contrast|fnoise|jpeg|jpeg2000)\.([1-5])\.png")
_CODES = {"noise": "awgn", "jpeg 2000": "jpeg2000"}


def load_csiq(root: Path, config: DataConfig) -> IqaDataset:
    """Load CSIQ: 866 distorted images; of `config`, `shorter_side` applies.

    Scores are read from the authors' workbook or, without one, from `csiq_label.txt` (a name and a score on each line);
    both hold DMOS from 0 to 1, lower is better. The distorted images may lie in a folder for each type or in `dst_imgs`
    itself.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "CSIQ", ["src_imgs", "dst_imgs"])
    path = index[WORKBOOK] if WORKBOOK in index else index[LIST]
    if not path.exists():
        raise DataError(f"CSIQ: {index.root} has neither {WORKBOOK} nor {LIST} with the scores")
    entries = _workbook(path) if WORKBOOK in index else _list(path)
    images, problems = [], []
    for name, score in entries:
        match = _NAME.fullmatch(name.lower())
        if not match:
            text = f"{path}: {name!r} is not a name of CSIQ, such as 1600.AWGN.1.png"
            problems.append(DataError(text, "names that are not CSIQ's"))
            continue
        images.append(Labelled(match[0], _file(index, match[2], match[0]), match[1], match[2], score))
    if len(entries) != ENTRIES:
        problems.append(DataError(f"{path}: {len(entries)} entries, CSIQ has {ENTRIES}"))
    if problems:
        raise DataError.of(problems)
    return load_images(
        name="CSIQ",
        labels=f"DMOS of {path.name}",
        direction="lower_is_better",
        score_range=(0.0, 1.0),
        references={name: index[f"src_imgs/{name}.png"] for name in sorted({image.reference for image in images})},
        images=images,
        distortions=DISTORTIONS,
        shorter_side=config.shorter_side,
    )


def _file(index: FileIndex, distortion: str, name: str) -> Path:
    flat = f"dst_imgs/{name}"
    return index[flat] if flat in index else index[f"dst_imgs/{distortion}/{name}"]


def _list(path: Path) -> list[tuple[str, float]]:
    """Names and scores of `csiq_label.txt`."""
    entries: list[tuple[str, float]] = []
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            name, score = line.split()
            entries.append((name, float(score)))
        except ValueError:
            text = f"{path}: line {number} is {line!r}; a name and a score are expected"
            problems.append(DataError(text, "lines without a name and a score"))
    if problems:
        raise DataError.of(problems)
    return entries


def _workbook(path: Path) -> list[tuple[str, float]]:
    """File names and scores of the workbook's sheet that lists all images; its header is not in the first row."""
    import pandas as pd

    try:
        cells = pd.read_excel(path, sheet_name=SHEET, header=None, dtype=object)
    except (ValueError, OSError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: no workbook with a sheet '{SHEET}' ({error})") from None
    wanted = ["image", "dst_type", "dst_lev", "dmos"]
    headers = [row for row in cells.index if set(wanted) <= set(cells.loc[row].astype(str))]
    if not headers:
        raise DataError(f"{path}: sheet '{SHEET}' has no row with the headings {', '.join(wanted)}")
    table = cells.loc[headers[0] + 1 :].set_axis(cells.loc[headers[0]].astype(str), axis=1)[wanted].dropna()
    try:
        return [
            (f"{image}.{_CODES.get(str(kind), kind)}.{int(level)}.png", float(score))
            for image, kind, level, score in table.itertuples(index=False)
        ]
    except ValueError as error:
        raise DataError(f"{path}: sheet '{SHEET}': dst_lev and dmos must be numbers ({error})") from None
