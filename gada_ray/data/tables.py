"""Tables of scores: text with commas, semicolons or tabs between cells, from Excel or a script, or an Excel sheet.

Columns are found by name, without regard to case and order. Numbers may have decimal commas. A table that could be read
in two ways is refused in a line that says what to change.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

from gada_ray.data.dataset import DataError

DELIMITERS = (",", ";", "\t")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
SHOWN = 80
"""Largest number of characters of a line in a message."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+|[+-]?\d+,")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?|[+-]?\d{1,3}(\.\d{3})+,\d*")


class Table(NamedTuple):
    """The cells of a file, stripped of spaces."""

    path: Path
    delimiter: str
    """Empty for an Excel sheet."""
    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]
    """Number and cells of every line below the header that is not empty."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The header in lower case."""
        return tuple(name.lower() for name in self.header)


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[tuple[tuple[str, ...], float]]:
    """Read the rows of a table: the texts of all `columns` but the last, then of `optional` ones; and the score.

    The score is the last of `columns`. The text of an optional column that the table lacks is empty; in one that it has
    no cell may be empty.

    Raises:
        DataError: for a file that is not a table, lacks a column or has it twice; and one line for each faulty line of
            the table (many of one kind are counted).
    """
    table = read_cells(path, columns, optional)
    position = {name: table.columns.index(name) for name in (*columns, *optional) if name in table.columns}
    *texts, score = columns
    rows: list[tuple[tuple[str, ...], float]] = []
    problems: list[DataError] = []

    def complain(text: str, kind: str) -> None:
        problems.append(DataError(f"{path}: line {text}", kind))

    for number, cells in table.lines:
        if len(cells) != len(table.header):
            complain(
                f"{number} is {_shown(table, cells)}; {_too_many(table, cells)}", "lines with other numbers of cells"
            )
            continue
        empty = [name for name, at in position.items() if not cells[at]]
        if empty:
            complain(f"{number} is {_shown(table, cells)}; {', '.join(empty)} is empty", "lines with empty cells")
            continue
        found = tuple(cells[position[name]] if name in position else "" for name in (*texts, *optional))
        try:
            rows.append((found, to_number(cells[position[score]])))
        except ValueError as error:
            complain(f"{number}: {score} '{cells[position[score]]}' {error}", f"lines whose {score} is not a number")
    if not problems:
        marks = [{",", "."} & set(cells[position[score]]) for _, cells in table.lines]
        if {","} in marks and {"."} in marks:
            comma, point = (table.lines[marks.index({mark})][0] for mark in ",.")
            raise DataError(
                f"{path}: {score} has a decimal comma in line {comma} and a decimal point in line {point}; use one"
            )
    if problems:
        raise DataError.of(problems)
    if not rows:
        raise DataError(f"{path}: no line below its header; a line an image is needed")
    return rows


def read_cells(path: Path, columns: Sequence[str] = (), optional: Sequence[str] = ()) -> Table:
    """Read the cells of a text file or Excel sheet whose first line names `columns` and possibly others.

    Raises:
        DataError: for a file that is not a table, lacks one of the columns, or has it or an `optional` one twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if data[:4] == b"PK\x03\x04":
        delimiter, lines = "", _sheet(path)
    else:
        delimiter, lines = _split(path, _text(path, data), columns)
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else ()
    while header and not header[-1]:  # columns without name and content, as spreadsheets leave at the right
        if any(len(cells) >= len(header) and cells[len(header) - 1] for _, cells in lines):
            break
        width = len(header) - 1
        lines = [(number, cells[:width] if len(cells) > width else cells) for number, cells in lines]
        header = lines[0][1]
    table = Table(path, delimiter, header, tuple(lines[1:]))
    missing = [column for column in columns if column not in table.columns]
    if missing:
        first = ",".join(header)
        raise DataError(
            f"{path}: no column {', '.join(missing)}; its first line is '{_cut(first)}', "
            f"and must name the columns: {', '.join(columns)}"
        )
    twice = [column for column in (*columns, *optional) if table.columns.count(column) > 1]
    if twice:
        raise DataError(f"{path}: {twice.count(twice[0]) + 1} columns are named {twice[0]}; rename all but one")
    return table


def to_number(text: str) -> float:
    """A number with a decimal point or comma.

    Raises:
        ValueError: for a text that is not a number; says what to change.
    """
    if _THOUSANDS.fullmatch(text) and not (_DECIMAL_COMMA.fullmatch(text) and text.count(",") == 1):
        raise ValueError("is not a number; leave out what separates thousands")
    try:
        return float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        raise ValueError("is not a number") from None


def _text(path: Path, data: bytes) -> str:
    """The text of a file in UTF-8 or UTF-16, with or without a byte order mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in data[:2] and len(data) % 2 == 0:
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{path}: neither UTF-8 nor UTF-16; save it as 'CSV UTF-8'") from None
    if "\0" in text:
        raise DataError(f"{path}: not a text file; save the table as 'CSV UTF-8'")
    return text


def _split(path: Path, text: str, columns: Sequence[str]) -> tuple[str, list[tuple[int, tuple[str, ...]]]]:
    """The delimiter under which the first line names most of the columns, and the numbered lines' cells."""
    skipped = 0
    declared = re.match(r"sep=(.)\r?\n", text)  # Excel's own declaration
    if declared:
        text, skipped = text[declared.end() :], 1
    first = next((line for line in text.splitlines() if line.strip()), "")
    candidates = (declared[1],) if declared else DELIMITERS

    def fits(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip().strip('"').strip().lower() for cell in first.split(delimiter)]
        return sum(column in cells for column in columns), len(cells)

    delimiter = max(candidates, key=fits)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True, skipinitialspace=True)
    lines = []
    try:
        for cells in reader:
            lines.append((reader.line_num + skipped, tuple(cell.strip() for cell in cells)))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num + skipped}: {error}; quotes must stand around a whole cell, in pairs"
        ) from None
    return delimiter, lines


def _sheet(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """The numbered lines' cells of the first sheet of an Excel workbook."""
    from openpyxl import load_workbook

    try:
        with path.open("rb") as file:
            sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
            sheet.reset_dimensions()  # what a file says of its own size may be too little
            rows = list(sheet.iter_rows(values_only=True))
    except (BadZipFile, KeyError, ValueError, IndexError, OSError) as error:
        raise DataError(f"{path}: not an Excel workbook that can be read ({error}); save it as 'CSV UTF-8'") from None
    texts = [tuple("" if cell is None else str(cell).strip() for cell in row) for row in rows]
    width = max(map(len, texts), default=0)
    return [(number, row + ("",) * (width - len(row))) for number, row in enumerate(texts, 1)]


def _too_many(table: Table, cells: Sequence[str]) -> str:
    """What to do about a line whose number of cells differs from the header's."""
    wanted = f"it has {len(cells)} cells, the first line {len(table.header)}: {', '.join(table.header)}"
    if table.delimiter == "," and len(cells) > len(table.header):
        return f"{wanted}; put a decimal comma or a name with a comma in quotes, or semicolons between cells"
    return f"{wanted}; cells are separated by {NAMES.get(table.delimiter, table.delimiter)}"


def _shown(table: Table, cells: Sequence[str]) -> str:
    return f"'{_cut((table.delimiter or ',').join(cells))}'"


def _cut(text: str) -> str:
    """A text on one line, shortened for a message."""
    flat = " ".join(text.split("\n"))
    return flat if len(flat) <= SHOWN else f"{flat[: SHOWN - 3]}..."
