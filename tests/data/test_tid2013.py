import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, load_dataset
from tests.data.fakes import colour_of, entry_of, size_of, write_flat


def write_labels(path: Path) -> Path:
    """A label file as TID2013's: 3,000 entries, mixed case, CRLF."""
    lines = []
    for entry in range(3000):
        reference, kind, level = entry // 120 + 1, entry % 120 // 5 + 1, entry % 5 + 1
        first = "I" if level == 1 and kind in (1, 11, 13) else "i"
        suffix = "BMP" if level == 1 and kind in (11, 13) else "bmp"
        lines.append(
            f"{0.25 + 6.9 * (entry * 7 % 3000) / 3000:.5f} {first}{reference:02}_{kind:02}_{level}.{suffix}\r\n"
        )
    path.write_bytes("".join(lines).encode())
    return path


def write_tree(root: Path, labels: Path) -> Path:
    """TID2013's 25 + 3,000 files, in lower case whatever the label file says, except for references as published."""
    root.mkdir(parents=True)
    shutil.copy(labels, root / "mos_with_names.txt")
    for entry, line in enumerate(labels.read_text().splitlines()):
        name = line.split()[1].lower()
        write_flat(root / "distorted_images" / name, size_of(int(name[1:3])), colour_of(entry))
    for number in range(1, 26):
        name = "i25.bmp" if number == 25 else f"I{number:02}.BMP"
        write_flat(root / "reference_images" / name, size_of(number), (9, 9, 9))
    return root


@pytest.fixture(scope="module", params=["made up", "real"])
def labels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "real":
        folder: Path = request.getfixturevalue("real_labels")("tid2013")
        return folder / "mos_with_names.txt"
    return write_labels(tmp_path_factory.mktemp("labels") / "mos_with_names.txt")


@pytest.fixture(scope="module")
def tree(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tid") / "tid2013", labels)


def test_a_full_tree_gives_3000_images_25_references_24_classes_and_the_label_of_every_file(
    tree: Path, labels: Path
) -> None:
    dataset = load_dataset("tid2013", tree, DataConfig())
    assert (len(dataset), len(dataset.references), len(dataset.distortions)) == (3000, 25, 24)
    assert [entry_of(dataset.distorted_image(row)) for row in range(3000)] == list(range(3000))
    published = [line.split() for line in labels.read_text().splitlines()]
    assert np.array_equal(dataset.score, [float(score) for score, _ in published])
    assert dataset.images == tuple(name.lower() for _, name in published)
    assert np.allclose(dataset.quality, dataset.score / 9)
    frame = dataset.frame()
    assert (frame["reference"] == frame["image"].str[:3]).all()
    assert (frame["distortion"].str[:2] == frame["image"].str[4:6]).all()
    assert (frame.groupby("distortion").size() == 125).all()


def test_the_artificial_reference_can_be_left_out(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tid", write_labels(tmp_path / "mos_with_names.txt"))
    dataset = load_dataset("tid2013", tree, DataConfig(drop_artificial_reference=True))
    assert (len(dataset), len(dataset.references)) == (2880, 24)
    assert "i25" not in dataset.references
    assert dataset.notes == ("120 images of the artificial reference i25 are left out",)


@pytest.fixture
def label_file(tmp_path: Path) -> Path:
    """The label file of a tree without pictures."""
    for folder in ("distorted_images", "reference_images"):
        (tmp_path / folder).mkdir()
    return write_labels(tmp_path / "mos_with_names.txt")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("i02_03_4.bmp", "i02_25_4.bmp"), "entry 134 is '.* i02_25_4.bmp'; '<MOS> iRR_TT_L"),
        (lambda text: "5.5 spare.bmp\r\n" + text, r"entry 1 is '5.5 spare.bmp'(.|\n)*3001 entries, TID2013 has 3000"),
        (lambda text: re.sub(r".*i02_03_4.bmp\r\n", "", text), "2999 entries, TID2013 has 3000"),
        (lambda text: re.sub(r"\S+ (i02_03_4.bmp)", r"high \1", text), "entry 134 has the score 'high'"),
        (lambda text: text.replace("i02_03_4", "i02_03_3"), "i02_03_3.bmp: listed 2 times"),
    ],
)
def test_a_label_file_that_is_not_the_published_one_is_refused(
    label_file: Path, damage: Callable[[str], str], message: str
) -> None:
    label_file.write_bytes(damage(label_file.read_bytes().decode()).encode())
    with pytest.raises(DataError, match=message):
        load_dataset("tid2013", label_file.parent, DataConfig())


def test_every_missing_picture_is_listed(label_file: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset("tid2013", label_file.parent, DataConfig())
    assert error.value.everything.count("no such file") == 3025
