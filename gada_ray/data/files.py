"""Files of a database, found without regard to case, in which copies of a database and file systems differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gada_ray.data.dataset import DataError


class FileIndex:
    """Files below a folder by path without regard to case; every folder is listed at most once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[Path, dict[str, Path]] = {}

    def __getitem__(self, relative: str) -> Path:
        """The file with this path relative to the root; the expected path where there is none."""
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
    """Find the folder that holds a database's `contents`: the root, the folder of a file, or one folder in the root.

    Raises:
        DataError: when no folder holds all contents, with what is missing, or several folders do.
    """
    if root.is_file():  # one of its files was named
        root = root.parent
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
