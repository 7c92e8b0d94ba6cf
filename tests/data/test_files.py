from pathlib import Path

import pytest

from gada_ray.data import DataError
from gada_ray.data.files import FileIndex, find_database, read_table


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


def test_a_missing_file_keeps_the_path_at_which_it_was_expected(tmp_path: Path) -> None:
    touch(tmp_path / "JP2K" / "img1.bmp")
    assert FileIndex(tmp_path)["jp2k/img2.bmp"] == tmp_path / "JP2K" / "img2.bmp"
    assert "jp2k/img2.bmp" not in FileIndex(tmp_path)


def test_a_database_is_found_in_the_root_and_in_its_only_fitting_child(tmp_path: Path) -> None:
    touch(tmp_path / "TID" / "MOS.txt")
    (tmp_path / "other").mkdir()
    assert find_database(tmp_path / "TID", "X", ["mos.txt"]).root == tmp_path / "TID"
    assert find_database(tmp_path, "X", ["mos.txt"]).root == tmp_path / "TID"


def test_an_ambiguous_a_missing_and_an_incomplete_root_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"X: no folder .*none; --data-root must name"):
        find_database(tmp_path / "none", "X", ["mos.txt"])
    touch(tmp_path / "a" / "images" / "1.png")
    with pytest.raises(DataError, match=r"holds mos\.txt, images, or its parent; .*a has no mos\.txt$"):
        find_database(tmp_path / "a", "X", ["mos.txt", "images"])
    touch(tmp_path / "b" / "mos.txt")
    touch(tmp_path / "c" / "mos.txt")
    with pytest.raises(DataError, match="several: b, c"):
        find_database(tmp_path, "X", ["mos.txt"])


def test_a_table_is_read_with_byte_order_mark_crlf_spaces_blank_lines_and_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfimage, var ,score\r\n"a, b.png",1, 2.5 \r\n\r\nc.png,2,3\r\n')
    assert read_table(path, ("image", "score")) == [(("a, b.png",), 2.5), (("c.png",), 3.0)]


def test_a_table_without_a_column_is_refused_with_the_columns_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("picture,mos\na,1\n")
    with pytest.raises(DataError, match=r"t\.csv: no column image, score; its first line is 'picture,mos'"):
        read_table(path, ("image", "score"))


def test_all_bad_lines_of_a_table_are_listed_by_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,score\na,1\n,2\nb,good\nc\nd,1,2\n")
    with pytest.raises(DataError) as error:
        read_table(path, ("image", "score"))
    lines = str(error.value).splitlines()
    assert [line.split("line ")[1][0] for line in lines] == ["3", "4", "5", "6"]
    assert "score 'good' is no number" in lines[1]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary\x00", b""])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv: "):
        read_table(path, ("image", "score"))
