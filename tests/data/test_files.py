from pathlib import Path

import pytest

from gada_ray.data import DataError
from gada_ray.data.files import FileIndex, find_database


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_files_are_found_without_regard_to_case_in_every_part_of_the_path(tmp_path: Path) -> None:
    path = touch(tmp_path / "JP2K" / "Img1.BMP")
    index = FileIndex(tmp_path)
    assert index["jp2k/img1.bmp"] == path
    assert "Jp2K/iMG1.bmp" in index


def test_a_name_in_its_exact_case_wins(tmp_path: Path) -> None:
    names = {"a.bmp", "A.bmp"}
    for name in names:
        touch(tmp_path / name)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not tell cases apart")
    assert {FileIndex(tmp_path)[name].name for name in names} == names


def test_a_missing_file_has_its_expected_path(tmp_path: Path) -> None:
    touch(tmp_path / "JP2K" / "img1.bmp")
    assert FileIndex(tmp_path)["jp2k/img2.bmp"] == tmp_path / "JP2K" / "img2.bmp"
    assert "jp2k/img2.bmp" not in FileIndex(tmp_path)


def test_a_database_is_found_in_the_root_and_in_its_only_fitting_child(tmp_path: Path) -> None:
    touch(tmp_path / "TID" / "MOS.txt")
    (tmp_path / "other").mkdir()
    assert find_database(tmp_path / "TID", "X", ["mos.txt"]).root == tmp_path / "TID"
    assert find_database(tmp_path, "X", ["mos.txt"]).root == tmp_path / "TID"


def test_an_ambiguous_a_missing_and_an_incomplete_root_have_different_messages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"X: no folder .*none; --data-root must name"):
        find_database(tmp_path / "none", "X", ["mos.txt"])
    touch(tmp_path / "a" / "images" / "1.png")
    with pytest.raises(DataError, match=r"holds mos\.txt, images, or its parent; .*a has no mos\.txt$"):
        find_database(tmp_path / "a", "X", ["mos.txt", "images"])
    touch(tmp_path / "b" / "mos.txt")
    touch(tmp_path / "c" / "mos.txt")
    with pytest.raises(DataError, match="several: b, c"):
        find_database(tmp_path, "X", ["mos.txt"])
