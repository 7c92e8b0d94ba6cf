"""Twenty-odd tables as people have them: each is read as it is meant, or refused in a line that says what to change."""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, load_dataset
from gada_ray.data.tables import read_table, to_number
from tests.data.fakes import write_flat

PLAIN = """\
reference,distorted,distortion,score
ref/boat.png,wn/boat.png,wn,1.5
ref/boat.png,jpeg/boat.png,jpeg,2.5
ref/alley.png,wn/alley.png,wn,3
ref/alley.png,jpeg/alley.png,jpeg,4.25
"""
DECLARATION = 'name = "mine"\ndirection = "higher_is_better"\nrange = [1.0, 5.0]\n'


def semicolons(text: str) -> str:
    return text.replace(",", ";")


def decimal_commas(text: str) -> str:
    return semicolons(text).replace(".5", ",5").replace(".25", ",25")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of images with its table."""
    root = tmp_path / "mine"
    for number, folder in enumerate(("ref", "wn", "jpeg")):
        for name in ("boat", "alley"):
            write_flat(root / f"{folder}/{name}.png", (10 + len(name), 9), (number, 2, len(name)))
    (root / "scores.csv").write_text(PLAIN)
    (root / "scores.toml").write_text(DECLARATION)
    return root


def load(root: Path, data: str | bytes, at: Path | None = None) -> IqaDataset:
    (root / "scores.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return load_dataset("manifest", at or root, DataConfig())


SAME: dict[str, str | bytes] = {
    "semicolons": semicolons(PLAIN),
    "tabs": PLAIN.replace(",", "\t"),
    "semicolons and decimal commas": decimal_commas(PLAIN),
    "decimal commas in quotes": PLAIN.replace("1.5", '"1,5"').replace("2.5", '"2,5"').replace("4.25", '"4,25"'),
    "backslashes": PLAIN.replace("/", "\\"),
    "UTF-16 with tabs, Excel's Unicode text": codecs.BOM_UTF16_LE + PLAIN.replace(",", "\t").encode("utf-16-le"),
    "UTF-16 of the other order": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-8 with a mark, and CRLF": codecs.BOM_UTF8 + PLAIN.replace("\n", "\r\n").encode(),
    "CR alone": PLAIN.replace("\n", "\r"),
    "capitals in column names": PLAIN.replace("reference,distorted", "Reference,DISTORTED"),
    "capitals in paths": PLAIN.replace("wn/boat", "WN/Boat").replace("ref/alley.png", "REF/ALLEY.PNG"),
    "paths with dots": PLAIN.replace("wn/boat", "./wn//boat").replace("ref/", "jpeg/../ref/"),
    "Excel's declaration": "sep=;\r\n" + decimal_commas(PLAIN),
    "further columns, one without a name": "\n".join(f"{line},," for line in PLAIN.splitlines()),
    "blank lines and spaces": PLAIN.replace("\n", "  \n\n").replace(",", " , "),
    "everything in quotes": "\n".join('"' + line.replace(",", '","') + '"' for line in PLAIN.splitlines()),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_table_in_another_form_is_the_same_data(root: Path, kind: str) -> None:
    plain = load(root, PLAIN)
    other = load(root, SAME[kind])
    assert other.images == plain.images == ("wn/boat.png", "jpeg/boat.png", "wn/alley.png", "jpeg/alley.png")
    assert (other.references, other.score.tolist()) == (("alley", "boat"), [1.5, 2.5, 3, 4.25])
    assert other.fingerprint == plain.fingerprint


def test_absolute_paths_are_the_same_data_here_and_after_the_folder_has_moved(root: Path) -> None:
    plain = load(root, PLAIN)
    absolute = PLAIN.replace("ref/", f"{root}/ref/").replace("wn/", f"{root}/wn/")
    assert load(root, absolute).fingerprint == plain.fingerprint
    moved = root.rename(root.with_name("moved"))
    assert load(moved, absolute).fingerprint == plain.fingerprint
    windows = PLAIN.replace("ref/", "D:\\data\\mine\\ref\\").replace("wn/", "D:\\data\\mine\\wn\\")
    assert load(moved, windows).fingerprint == plain.fingerprint


@pytest.mark.parametrize("written", ["as given", "resolved"])
def test_absolute_paths_through_symbolic_links_are_the_same_data(root: Path, tmp_path: Path, written: str) -> None:
    plain = load(root, PLAIN)
    (tmp_path / "disk").mkdir()
    root.rename(tmp_path / "disk/mine").joinpath("wn").rename(tmp_path / "disk/noise")
    (tmp_path / "disk/mine/wn").symlink_to(tmp_path / "disk/noise")
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "disk/mine")
    (tmp_path / "disk/mine/jpeg/boat.png").rename(tmp_path / "disk/other.png")
    (tmp_path / "disk/mine/jpeg/boat.png").symlink_to(tmp_path / "disk/other.png")
    header, *lines = PLAIN.splitlines()
    for base in (linked, tmp_path / "disk/mine"):
        rows = [line.split(",") for line in lines]
        for row in rows:
            for column in (0, 1):
                path = base / row[column]
                row[column] = str(path.resolve() if written == "resolved" else path)
        table = "\n".join([header, *map(",".join, rows)])
        for given in (linked, tmp_path / "disk/mine"):
            found = load(given, table)
            assert found.images == plain.images
            assert found.fingerprint == plain.fingerprint


def test_images_outside_the_folder_are_named_by_their_relative_path(root: Path, tmp_path: Path) -> None:
    write_flat(tmp_path / "elsewhere/x.png", (14, 9), (9, 9, 9))
    relative = load(root, PLAIN.replace("wn/boat.png", "../elsewhere/X.png"))
    assert relative.images[0] == "../elsewhere/x.png"
    absolute = load(root, PLAIN.replace("wn/boat.png", f"{tmp_path}/elsewhere/x.png"))
    assert absolute.fingerprint == relative.fingerprint


def test_the_data_root_may_be_the_table_itself_under_any_name(root: Path) -> None:
    plain = load(root, PLAIN)
    assert load(root, PLAIN, root / "scores.csv").fingerprint == plain.fingerprint
    renamed = (root / "scores.csv").rename(root / "ratings.tsv")
    renamed.write_text(PLAIN.replace(",", "\t"))
    assert load_dataset("manifest", renamed, DataConfig()).fingerprint == plain.fingerprint


def test_an_excel_sheet_is_a_table(root: Path) -> None:
    plain = load(root, PLAIN)
    pd.read_csv(root / "scores.csv").to_excel(root / "scores.xlsx", index=False)
    assert load_dataset("manifest", root / "scores.xlsx", DataConfig()).fingerprint == plain.fingerprint


def test_an_excel_sheet_is_read_to_its_end_whatever_it_says_of_its_size(root: Path) -> None:
    plain = load(root, PLAIN)
    pd.read_csv(root / "scores.csv").to_excel(root / "whole.xlsx", index=False)
    with zipfile.ZipFile(root / "whole.xlsx") as whole, zipfile.ZipFile(root / "scores.xlsx", "w") as stale:
        for name in whole.namelist():
            stale.writestr(name, re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:B2"', whole.read(name)))
    (root / "whole.xlsx").unlink()
    assert load_dataset("manifest", root / "scores.xlsx", DataConfig()).fingerprint == plain.fingerprint


SWAPPED = PLAIN.replace("reference,distorted", "distorted,reference")
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "swapped columns": (SWAPPED, r"columns look swapped: 'ref/\w+.png'.* exchange 'reference' and 'distorted'"),
    "no header": (
        PLAIN.split("\n", 1)[1],
        "no column distorted.*its first line is 'ref/boat.png.*must name the columns",
    ),
    "a decimal comma between commas": (PLAIN.replace("1.5", "1,5"), "line 2.*5 cells.*put a decimal comma.*in quotes"),
    "decimal commas and points": (
        semicolons(PLAIN).replace("1.5", "1,5"),
        "decimal comma in line 2 and a decimal point in line 3; use one",
    ),
    "thousands": (PLAIN.replace("1.5", '"1,001.5"'), "score '1,001.5' is not a number; leave out what separates"),
    "a word for a score": (PLAIN.replace("1.5", "good"), "line 2: score 'good' is not a number"),
    "no score": (PLAIN.replace("1.5", ""), "line 2 is .*; score is empty"),
    "not a number": (PLAIN.replace("1.5", "nan"), "wn/boat.png: score nan is not a finite number"),
    "two columns of one name": (
        "\n".join(f"{line},{line.split(',')[3]}" for line in PLAIN.splitlines()),
        "2 columns are named score; rename all but one",
    ),
    "an open quote": (PLAIN.replace("wn/boat.png", '"wn/boat.png'), "quotes must stand around a whole cell"),
    "another encoding": (PLAIN.replace("boat", "böt").encode("latin-1"), "neither UTF-8 nor UTF-16; save it as"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither UTF-8 nor UTF-16"),
    "a header alone": (PLAIN.splitlines()[0], "no line below its header"),
    "nothing": ("", "no column distorted, score"),
    "a missing file": (PLAIN.replace("wn/boat", "wn/boot"), r"wn/boot\.png: no such file"),
    "an image twice": (PLAIN.replace("jpeg/boat", "WN/boat"), r"wn/boat\.png: listed 2 times"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_broken_table_is_refused_in_one_line_that_says_what_to_change(root: Path, kind: str) -> None:
    data, message = REFUSED[kind]
    with pytest.raises(DataError, match=message) as error:
        load(root, data)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "number"), [("1,5", 1.5), ("-,5", -0.5), ("3,", 3), ("1e-3", 0.001), ("1,234", 1.234)]
)
def test_numbers_may_have_a_decimal_comma(text: str, number: float) -> None:
    assert to_number(text) == number


@pytest.mark.parametrize("text", ["1.234,5", "1,234,567", "5 000", "4/5", ""])
def test_text_that_could_be_read_in_two_ways_is_not_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        to_number(text)


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
    assert "score 'good' is not a number" in lines[1]


def test_many_bad_lines_are_counted_by_kind_with_the_first_of_each(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = ["image,score", *(f"{i},good" for i in range(30)), *(f"{i}," for i in range(15)), "a,1,2", "b,3"]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as error:
        read_table(path, ("image", "score"))
    shown = str(error.value).splitlines()
    assert [line.split("line ")[1][:2].strip(": ") for line in shown if "line " in line] == ["2", "3", "4", "32", "33",
                                                                                           "34", "47"]  # fmt: skip
    assert shown[3] == "... and 27 more: lines whose score is not a number (check --all lists every one)"
    assert shown[7].startswith("... and 12 more: lines with empty cells")
    assert len(error.value.everything.splitlines()) == 46


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary\x00", b""])
def test_a_file_that_is_not_a_table_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv: "):
        read_table(path, ("image", "score"))
