from pathlib import Path

import numpy as np
import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, load_dataset
from tests.data.fakes import write_flat

DECLARATION = 'name = "mine"\ndescription = "DMOS"\ndirection = "lower_is_better"\nrange = [0.0, 100.0]  # nominal\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = ["reference,distorted,distortion,score"]
    for r, reference in enumerate(("Boat", "alley")):
        write_flat(tmp_path / f"refimgs/{reference}.png", (10 + r, 9), (1, 2, 3))
        for kind in ("wn", "jpeg"):
            write_flat(tmp_path / f"{kind}/{reference}.png", (10 + r, 9), (1, 2, 30))
            rows.append(f"refimgs/{reference}.png,{kind}/{reference}.png,{kind},{40 * r - 2}")
    (tmp_path / "scores.csv").write_text("\r\n".join(rows) + "\r\n")
    (tmp_path / "scores.toml").write_text(DECLARATION)
    return tmp_path


def change(path: Path, found: str, written: str) -> None:
    text = path.read_text()
    assert found in text
    path.write_text(text.replace(found, written))


def test_a_manifest_is_read_as_declared(root: Path) -> None:
    dataset = load_dataset("manifest", root, DataConfig())
    assert (dataset.name, dataset.labels, dataset.direction) == ("mine", "DMOS", "lower_is_better")
    assert dataset.score_range == (0.0, 100.0)
    assert dataset.references == ("alley", "boat")
    assert dataset.distortions == ("jpeg", "wn")
    assert dataset.images == ("wn/boat.png", "jpeg/boat.png", "wn/alley.png", "jpeg/alley.png")
    assert dataset.score.tolist() == [-2, -2, 38, 38]
    assert np.allclose(dataset.quality, [1.02, 1.02, 0.62, 0.62])
    assert dataset.distorted_image(2).shape == (9, 11, 3)


def test_a_missing_declaration_is_an_error_that_shows_what_to_write(root: Path) -> None:
    (root / "scores.toml").unlink()
    with pytest.raises(DataError, match=r"scores\.toml: no such file") as error:
        load_dataset("manifest", root, DataConfig())
    (root / "scores.toml").write_text(str(error.value).split("For example:\n")[1])
    assert load_dataset("manifest", root, DataConfig()).direction == "higher_is_better"


@pytest.mark.parametrize(
    ("found", "written", "message"),
    [
        ("lower_is_better", "down", "direction: .*'higher_is_better' or 'lower_is_better', got 'down'"),
        ('direction = "lower_is_better"', "", "direction: Field required"),
        ("[0.0, 100.0]", "[100.0, 0.0]", "range: the lower end of the scale comes first"),
        ("[0.0, 100.0]", "[0.0, nan]", "range"),
        ("[0.0, 100.0]", "[-inf, 1.0]", "range"),
        ("range = ", "scale = ", "range: Field required; scale: Extra inputs"),
        ("name = ", "name ", "not TOML"),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_field_and_an_example(
    root: Path, found: str, written: str, message: str
) -> None:
    change(root / "scores.toml", found, written)
    with pytest.raises(DataError, match=rf"scores\.toml: {message}") as error:
        load_dataset("manifest", root, DataConfig())
    assert 'direction = "higher_is_better"' in str(error.value)


def test_missing_columns_and_missing_files_are_refused_by_name(root: Path) -> None:
    change(root / "scores.csv", "wn/Boat.png", "wn/Ship.png")
    with pytest.raises(DataError, match=r"wn/Ship\.png: no such file"):
        load_dataset("manifest", root, DataConfig())
    change(root / "scores.csv", "distorted,", "image,")
    with pytest.raises(DataError, match=r"no column distorted; its first line is 'reference,image,distortion,score'"):
        load_dataset("manifest", root, DataConfig())


def test_two_references_with_one_name_are_refused_because_splits_go_by_it(root: Path) -> None:
    write_flat(root / "more/BOAT.png", (10, 9), (5, 5, 5))
    change(root / "scores.csv", "refimgs/Boat.png,jpeg", "more/BOAT.png,jpeg")
    with pytest.raises(DataError, match=r"references more/boat\.png, refimgs/boat\.png share the name 'boat'"):
        load_dataset("manifest", root, DataConfig())


def test_a_folder_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest: --data-root must name the folder that holds scores\.csv"):
        load_dataset("manifest", tmp_path, DataConfig())
