import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from gada_ray.config import DataConfig
from gada_ray.data import DataError, load_dataset
from tests.data.fakes import colour_of, entry_of, size_of, write_flat

FOLDERS = {"jp2k": (227, 58), "jpeg": (233, 58), "wn": (174, 29), "gblur": (174, 29), "fastfading": (174, 29)}
"""Images and copies in each folder, as published."""


def write_labels(folder: Path) -> Path:
    """Label files as LIVE's: 982 entries, 203 of them copies with the score 0, and 29 references."""
    rng = np.random.default_rng(0)
    orgs = np.concatenate([rng.permutation(np.arange(count) < copies) for count, copies in FOLDERS.values()])
    names = [f"Reference{i % 29:02}.bmp" for i in range(982)]
    savemat(folder / "refnames_all.mat", {"refnames_all": np.array(names, dtype=object)[None]})
    for file, key, low, high in (("dmos", "dmos", 18, 84), ("dmos_realigned", "dmos_new", -2.5, 111.5)):
        scores = np.where(orgs, 0, np.linspace(low, high, 982))
        savemat(folder / f"{file}.mat", {key: scores[None], "orgs": orgs[None].astype(np.uint8)})
    return folder


def write_tree(root: Path, labels: Path, spell: Callable[[str], str] = str) -> Path:
    """LIVE's 29 + 982 files, spelt as told, beside its label files."""
    for file in ("dmos.mat", "dmos_realigned.mat", "refnames_all.mat"):
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(labels / file, root / file)
    references = [str(cell.item()) for cell in loadmat(labels / "refnames_all.mat")["refnames_all"].ravel()]
    sizes = {name: size_of(number) for number, name in enumerate(sorted(set(references)))}
    for name, size in sizes.items():
        write_flat(root / spell("refimgs") / spell(name), size, (200, 200, 200))
    files = [f"{folder}/img{i + 1}.bmp" for folder, (count, _) in FOLDERS.items() for i in range(count)]
    for entry, (file, reference) in enumerate(zip(files, references, strict=True)):
        folder, name = file.split("/")
        write_flat(root / spell(folder) / spell(name), sizes[reference], colour_of(entry))
    return root


@pytest.fixture(scope="module", params=["made up", "real"])
def labels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "real":
        folder: Path = request.getfixturevalue("real_labels")("live")
        return folder
    return write_labels(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def tree(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("live") / "databaserelease2", labels)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with made up labels."""
    return write_tree(tmp_path_factory.mktemp("plain") / "LIVE", write_labels(tmp_path_factory.mktemp("made")))


@pytest.fixture
def small(tmp_path: Path, plain: Path) -> Path:
    """A copy of it that may be damaged."""
    return shutil.copytree(plain, tmp_path / "live")


def test_a_full_tree_gives_779_images_of_29_references_with_the_label_of_every_file(tree: Path, labels: Path) -> None:
    dataset = load_dataset("live", tree, DataConfig())
    published = {key: loadmat(labels / "dmos.mat")[key].ravel() for key in ("dmos", "orgs")}
    assert (len(dataset), len(dataset.references)) == (779, 29)
    assert Counter(dataset.frame()["distortion"]) == {"jp2k": 169, "jpeg": 175, "wn": 145, "gblur": 145, "ff": 145}
    entries = [entry_of(dataset.distorted_image(row)) for row in range(len(dataset))]
    assert entries == np.flatnonzero(published["orgs"] == 0).tolist()
    assert np.array_equal(dataset.score, published["dmos"][entries])
    assert np.allclose(dataset.quality, 1 - published["dmos"][entries] / 100)
    assert dataset.images[0].startswith("jp2k/img") and dataset.images[-1].startswith("fastfading/img")
    assert dataset.notes == ("203 of 982 entries are undistorted copies of references, left out",)
    assert "dmos.mat" in dataset.labels


def test_copies_of_references_are_included_only_on_request(plain: Path) -> None:
    dataset = load_dataset("live", plain, DataConfig(include_reference_copies=True))
    assert len(dataset) == 982
    assert int(np.sum(dataset.score == 0)) == 203
    assert Counter(dataset.frame()["distortion"]) == {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "ff": 174}
    assert "203 of 982" in dataset.notes[0] and "kept" in dataset.notes[0]


def test_realigned_scores_come_from_their_own_file_and_are_not_clipped(tree: Path, labels: Path) -> None:
    dataset = load_dataset("live", tree, DataConfig(dmos="realigned"))
    entries = [entry_of(dataset.distorted_image(row)) for row in range(len(dataset))]
    assert np.array_equal(dataset.score, loadmat(labels / "dmos_realigned.mat")["dmos_new"].ravel()[entries])
    assert dataset.quality.min() < 0 and dataset.quality.max() > 1
    assert "dmos_realigned.mat" in dataset.labels


@pytest.mark.parametrize("spell", [str.upper, lambda name: name.replace("jp2k", "jp2K")], ids=["JP2K", "jp2K"])
def test_the_case_of_folders_and_files_changes_nothing(
    tmp_path: Path, plain: Path, spell: Callable[[str], str]
) -> None:
    other = load_dataset("live", write_tree(tmp_path, plain, spell), DataConfig())
    assert other.fingerprint == load_dataset("live", plain, DataConfig()).fingerprint


def test_the_parent_of_the_database_may_be_named(plain: Path) -> None:
    assert len(load_dataset("live", plain.parent, DataConfig())) == 779


def test_all_missing_and_damaged_files_are_listed(small: Path) -> None:
    images = load_dataset("live", small, DataConfig()).images
    (small / images[3]).unlink()
    (small / images[5]).write_bytes(b"BM")
    (small / "refimgs/Reference07.bmp").unlink()
    with pytest.raises(DataError) as error:
        load_dataset("live", small, DataConfig())
    assert sorted(re.findall(r"\w+/\w+\.bmp(?=:)", str(error.value))) == sorted(
        [images[3], images[5], "refimgs/reference07.bmp"]
    )


def test_missing_realigned_scores_are_named_as_a_separate_download(small: Path) -> None:
    (small / "dmos_realigned.mat").unlink()
    assert len(load_dataset("live", small, DataConfig())) == 779
    with pytest.raises(DataError, match=r"dmos_realigned\.mat: no such file; .*separate download"):
        load_dataset("live", small, DataConfig(dmos="realigned"))


def test_label_files_that_do_not_fit_are_refused_by_name(small: Path) -> None:
    path = small / "dmos.mat"
    savemat(path, {"dmos": np.zeros((1, 779)), "orgs": np.zeros((1, 779))})
    with pytest.raises(DataError, match=r"dmos\.mat: 'dmos' has 779 entries, LIVE release 2 has 982"):
        load_dataset("live", small, DataConfig())
    savemat(path, {"mos": np.zeros((1, 982))})
    with pytest.raises(DataError, match=r"dmos\.mat: it has no variable 'dmos'"):
        load_dataset("live", small, DataConfig())
    whole = (small / "dmos_realigned.mat").read_bytes()
    for content in (b"", b"<html>login</html>" * 50, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"dmos\.mat: not a MATLAB file"):
            load_dataset("live", small, DataConfig())


def test_labels_in_another_order_than_the_files_are_refused(small: Path) -> None:
    names = loadmat(small / "refnames_all.mat")["refnames_all"]
    savemat(small / "refnames_all.mat", {"refnames_all": np.roll(names, 1)})
    with pytest.raises(DataError, match=r"pixels, but its reference .* they must agree"):
        load_dataset("live", small, DataConfig())
