"""Files of a database, found without regard to case: copies of one database differ in it, and so do file systems."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gada_ray.data.dataset import DataError


class FileIndex:
    """Files below a folder by path without regard to case; every folder is listed at most once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[Path, dict[str, Path]] = {}

    def __getitem__(self, relative: str) -> Path:
        """The file with this path relative to the root; where there is none, the path at which it was expected."""
        path = self.root
        for part in Path(relative).parts:
            entries = self._entries(path)
            path = entries.get(part) or entries.get(part.lower()) or path / part
        return path

    def __contains__(self, relative: str) -> bool:
        return self[relative].exists()

    def _entries(self, folder: Path) -> dict[str, Path]:
        if folder not in self._folders:
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
            self._folders[folder] = {path.name.lower(): path for path in paths} | {path.name: path for path in paths}
        return self._folders[folder]


def find_database(root: Path, name: str, contents: Sequence[str]) -> FileIndex:
    """The folder that holds a database's `contents`: the root itself, or the one folder in it that does.

    Raises:
        DataError: when no folder does, with what is missing, or more than one.
    """
    if not root.is_dir():
        raise DataError(f"{name}: no folder {root}; --data-root must name the folder that holds the database")
    here = FileIndex(root)
    missing = [entry for entry in contents if entry not in here]
    if not missing:
        return here
    below = [FileIndex(entry) for entry in sorted(root.iterdir()) if entry.is_dir()]
    found = [index for index in below if all(entry in index for entry in contents)]
    if len(found) == 1:
        return found[0]
    rule = f"{name}: --data-root must name the folder that holds {', '.join(contents)}, or its parent"
    if found:
        raise DataError(f"{rule}; {root} has several: {', '.join(index.root.name for index in found)}")
    raise DataError(f"{rule}; {root} has no {', '.join(missing)}")


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[tuple[str, ...], float]]:
    """Rows of a comma-separated file: the texts of all `columns` but the last, and the last, the score, as a number.

    Raises:
        DataError: for a file that is no table, lacks a column, or has a cell that is empty or no number where one
            belongs, a line for each.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a comma-separated table ({error})") from None
    header = lines[0] if lines else []
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; its first line is '{','.join(header)}'")
    rows: list[tuple[tuple[str, ...], float]] = []
    problems = []
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        cells = dict(zip(header, line, strict=False))
        *texts, score = (cells.get(column, "") for column in columns)
        if len(line) != len(header) or not all(texts):
            problems.append(f"{path}: line {number} is '{','.join(line)}'; {', '.join(header)} are expected")
            continue
        try:
            rows.append((tuple(texts), float(score)))
        except ValueError:
            problems.append(f"{path}: line {number}: {columns[-1]} '{score}' is no number")
    if problems:
        raise DataError("\n".join(problems))
    return rows
