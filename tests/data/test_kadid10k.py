from pathlib import Path

import numpy as np
import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, load_dataset
from tests.data.fakes import size_of, write_flat

ENTRIES = [(r, kind, level) for r in range(1, 82) for kind in range(1, 26) for level in range(1, 6)]


def score_of(entry: int) -> float:
    return round(1 + 3.9 * (entry * 11 % 10_125) / 10_125, 2)


def write_labels(root: Path) -> Path:
    (root / "images").mkdir(parents=True)
    rows = [
        f"I{r:02}_{kind:02}_{level:02}.png,I{r:02}.png,{score_of(entry)},0.5\n"
        for entry, (r, kind, level) in enumerate(ENTRIES)
    ]
    (root / "dmos.csv").write_text("dist_img,ref_img,dmos,var\n" + "".join(rows))
    return root


@pytest.mark.slow
def test_a_full_tree_gives_10125_images_81_references_25_classes_and_higher_is_better(tmp_path: Path) -> None:
    root = write_labels(tmp_path / "kadid10k")
    for r in range(1, 82):
        write_flat(root / f"images/I{r:02}.png", size_of(r), (r, 0, 0))
    for r, kind, level in ENTRIES:
        (root / f"images/I{r:02}_{kind:02}_{level:02}.png").hardlink_to(root / f"images/I{r:02}.png")
    dataset = load_dataset("kadid10k", root, DataConfig())
    assert (len(dataset), len(dataset.references), len(dataset.distortions)) == (10_125, 81, 25)
    assert np.array_equal(dataset.score, [score_of(entry) for entry in range(10_125)])
    assert np.allclose(dataset.quality, (dataset.score - 1) / 4)
    assert [dataset.distortions[d][:2] for d in dataset.distortion[:126:5]] == [f"{k % 25 + 1:02}" for k in range(26)]
    assert all(dataset.distorted_image(row)[0, 0, 0] == ENTRIES[row][0] for row in range(0, 10_125, 100))


@pytest.mark.parametrize(
    ("found", "written", "message"),
    [
        ("I02_03_04.png,I02.png", "I02_03_04.png,I03.png", "'I02_03_04.png' of 'I03.png'; IRR_TT_LL.png of IRR.png"),
        ("I02_03_04.png", "I02_26_04.png", "'I02_26_04.png' of 'I02.png'"),
        ("I01_01_01.png,I01.png,1.0,0.5\n", "", "10124 entries, KADID-10k has 10125"),
        ("dmos,var", "score,var", "no column dmos"),
    ],
)
def test_a_label_file_that_is_not_the_published_one_is_refused(
    tmp_path: Path, found: str, written: str, message: str
) -> None:
    path = write_labels(tmp_path) / "dmos.csv"
    assert found in path.read_text()
    path.write_text(path.read_text().replace(found, written))
    with pytest.raises(DataError, match=message):
        load_dataset("kadid10k", tmp_path, DataConfig())
