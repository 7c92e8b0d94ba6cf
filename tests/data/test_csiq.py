from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook

from gada_ray.config import DataConfig
from gada_ray.data import DataError, load_dataset
from tests.data.fakes import colour_of, entry_of, size_of, write_flat

KINDS = {
    "noise": ("AWGN", "AWGN"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
    "fnoise": ("fnoise", "fnoise"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
}
"""Folder and part of the file name, in the authors' cases, by the workbook's name of a type."""
REFERENCES = ["1600", *(f"scene_{i}" for i in range(29))]


def entries() -> list[tuple[str, str, int, float]]:
    """Reference, type, level and DMOS of 866 images; 34 of the 900 combinations do not exist, all of them contrast."""
    every = [(r, kind, level) for r in REFERENCES for kind in KINDS for level in range(1, 6)]
    missing = {(r, "contrast", 5) for r in REFERENCES} | {(r, "contrast", 4) for r in REFERENCES[:4]}
    return [(*entry, round(i / 900, 3)) for i, entry in enumerate(every) if entry not in missing]


def write_workbook(path: Path) -> None:
    """A workbook laid out as the authors': headings in row 4, from column D; the name 1600 is a number."""
    book = Workbook()
    sheet = book.create_sheet("all_by_image")
    for column, heading in enumerate(("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"), 4):
        sheet.cell(4, column, heading)
    for row, (reference, kind, level, score) in enumerate(entries(), 5):
        name = int(reference) if reference.isdigit() else reference
        for column, value in enumerate((name, list(KINDS).index(kind) + 1, kind, level, 0.05, score), 4):
            sheet.cell(row, column, value)
    book.save(path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("csiq") / "CSIQ"
    for number, reference in enumerate(REFERENCES):
        write_flat(root / f"src_imgs/{reference}.png", size_of(number), (9, 9, 9))
    lines = []
    for entry, (reference, kind, level, score) in enumerate(entries()):
        folder, code = KINDS[kind]
        name = f"{reference}.{code}.{level}.png"
        write_flat(root / "dst_imgs" / folder / name, size_of(REFERENCES.index(reference)), colour_of(entry))
        lines.append(f"{name}\t{score}\n")
    (root / "csiq_label.txt").write_text("".join(lines))
    write_workbook(root / "csiq.DMOS.xlsx")
    return root


def test_a_full_tree_gives_866_images_30_references_and_the_label_of_every_file(tree: Path) -> None:
    dataset = load_dataset("csiq", tree, DataConfig())
    assert (len(dataset), len(dataset.references), dataset.labels) == (866, 30, "DMOS of csiq.DMOS.xlsx")
    assert dataset.distortions == ("awgn", "blur", "contrast", "fnoise", "jpeg", "jpeg2000")
    assert [entry_of(dataset.distorted_image(row)) for row in range(866)] == list(range(866))
    assert np.array_equal(dataset.score, [score for *_, score in entries()])
    assert np.allclose(dataset.quality, 1 - dataset.score)
    assert dataset.images[0] == "1600.awgn.1.png"


def linked(tree: Path, root: Path, without: str, flat: bool = False) -> Path:
    """The same tree without one file and, if `flat`, without folders of types."""
    for path in tree.rglob("*.*"):
        relative = path.relative_to(tree)
        target = root / (Path("dst_imgs") / path.name if flat and relative.parts[0] == "dst_imgs" else relative)
        if path.is_file() and path.name != without:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    return root


def test_workbook_and_list_and_folders_of_types_or_none_give_the_same_dataset(tree: Path, tmp_path: Path) -> None:
    other = load_dataset("csiq", linked(tree, tmp_path, "csiq.DMOS.xlsx", flat=True), DataConfig())
    assert other.labels == "DMOS of csiq_label.txt"
    assert other.fingerprint == load_dataset("csiq", tree, DataConfig()).fingerprint


def test_labels_that_are_missing_or_not_the_published_ones_are_refused(tree: Path, tmp_path: Path) -> None:
    root = linked(tree, tmp_path, "csiq.DMOS.xlsx")
    labels = root / "csiq_label.txt"
    lines = labels.read_text().splitlines()
    labels.unlink()
    with pytest.raises(DataError, match=r"neither csiq\.DMOS\.xlsx nor csiq_label\.txt"):
        load_dataset("csiq", root, DataConfig())
    labels.write_text("\n".join([*lines[1:], "1600.sepia.1.png 0.5"]))
    with pytest.raises(DataError, match=r"'1600\.sepia\.1\.png' is not a name of CSIQ"):
        load_dataset("csiq", root, DataConfig())
    labels.write_text("\n".join(lines[:10]))
    with pytest.raises(DataError, match="10 entries, CSIQ has 866"):
        load_dataset("csiq", root, DataConfig())
    labels.write_text("1600.AWGN.1.png bad")
    with pytest.raises(DataError, match=r"line 1 is '1600[.]AWGN[.]1[.]png bad'"):
        load_dataset("csiq", root, DataConfig())
    (root / "csiq.DMOS.xlsx").write_text("no workbook")
    with pytest.raises(DataError, match=r"csiq\.DMOS\.xlsx: no workbook"):
        load_dataset("csiq", root, DataConfig())
    Workbook().save(root / "csiq.DMOS.xlsx")
    with pytest.raises(DataError, match="no workbook with a sheet 'all_by_image'"):
        load_dataset("csiq", root, DataConfig())
