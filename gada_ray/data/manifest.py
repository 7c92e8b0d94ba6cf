"""The user's own images: a folder with `scores.csv` and, beside it, `scores.toml`, which declares the scores."""

from __future__ import annotations

import os
import posixpath
import tomllib
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from gada_ray.config import DataConfig, Frozen, explain
from gada_ray.data.dataset import DataError, Direction, IqaDataset
from gada_ray.data.files import FileIndex, find_database
from gada_ray.data.images import UNSPECIFIED, Labelled, load_images
from gada_ray.data.tables import read_cells, read_table
from gada_ray.data.words import some

COLUMNS = ("reference", "distorted", "distortion", "score")
EXAMPLE = """\
name = "my images"
description = "MOS of 20 viewers"
direction = "higher_is_better"  # or "lower_is_better"
range = [1.0, 5.0]  # ends of the scale; scores may lie outside"""


class Declaration(Frozen):
    """The declaration of the scores of `scores.csv`."""

    name: str = Field(min_length=1)
    description: str = "scores of scores.csv"
    direction: Direction
    range: tuple[FiniteFloat, FiniteFloat]

    @field_validator("range")
    @classmethod
    def _ascending(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not ends[0] < ends[1]:
            raise ValueError("the lower end of the scale comes first; direction says which end is better")
        return ends


def load_manifest(root: Path, config: DataConfig) -> IqaDataset:
    """Load the images that a table lists, one row an image; of `config`, `shorter_side` applies.

    Columns: `distorted` (a path, relative to the table or absolute) and `score`; with references also `reference` (a
    path) and `distortion` (name of the class). Without references, `distortion` is optional, and `group` may name what
    splits must keep together, such as a scene; otherwise every image is its own group. A reference is named by its
    file's stem, an image by its path in the folder, both in lower case. `scores.toml`, or the file named like the
    table, declares name, direction and range.

    Args:
        root: the folder with `scores.csv`, its parent, or the table itself.

    Raises:
        DataError: for a missing or wrong declaration (with what to write), missing columns, references that share a
            name, scores that are not numbers; and see `load_images`.
    """
    path, declaration = _find(root)
    rows = _read(path)
    names = _Names(path.parent)
    files: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.reference:
            files[_key(row.reference)].add(names.of(row.reference))
    shared = [
        DataError(
            f"{path}: references {some(sorted(found))} share the name '{key}'; splits go by it, so rename files",
            "names that several references share",
        )
        for key, found in files.items()
        if len(found) > 1
    ]
    if shared:
        raise DataError.of(shared)
    images = []
    for row in rows:
        name = names.of(row.distorted)
        group = _key(row.reference) if row.reference else row.group.lower() or name
        images.append(Labelled(name, names.file(row.distorted), group, row.distortion or UNSPECIFIED, row.score))
    return load_images(
        name=declaration.name,
        labels=declaration.description,
        direction=declaration.direction,
        score_range=declaration.range,
        references={_key(row.reference): names.file(row.reference) for row in rows} if files else None,
        images=images,
        distortions=sorted({image.distortion for image in images}),
        shorter_side=config.shorter_side,
    )


class _Row(NamedTuple):
    reference: str
    """Empty in a table without references."""
    distorted: str
    distortion: str
    group: str
    score: float


def _find(root: Path) -> tuple[Path, Declaration]:
    """The table and its declaration."""
    if root.is_file() and root.suffix.lower() != ".toml":
        index, path = FileIndex(root.parent), root
    else:
        index = find_database(root, "manifest", ["scores.csv"])
        path = index["scores.csv"]
    own = path.with_suffix(".toml")
    return path, read_declaration(own if own.exists() else index["scores.toml"])


def _read(path: Path) -> list[_Row]:
    """The rows of a table with or without references."""
    if "reference" not in read_cells(path, ("distorted", "score")).columns:
        found = read_table(path, ("distorted", "score"), ("distortion", "group"))
        return [_Row("", *texts, score) for texts, score in found]  # type: ignore[arg-type, call-arg]
    rows = [
        _Row(reference, distorted, distortion, "", score)
        for (reference, distorted, distortion), score in read_table(path, COLUMNS)
    ]
    references, distorted = ({getattr(row, column) for row in rows} for column in ("reference", "distorted"))
    if len(references) == len(rows) > len(distorted):
        name = Counter(row.distorted for row in rows).most_common(1)[0][0]
        raise DataError(
            f"{path}: its columns look swapped: '{name}' and others occur several times as distorted, and no reference "
            "occurs twice; exchange 'reference' and 'distorted' in the first line"
        )
    return rows


class _Names:
    """Files of a table, and their names, which do not depend on where the folder lies or how its path is written."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self._index = FileIndex(Path(self._root))

    def of(self, written: str) -> str:
        """A name: the path from the table's folder with `/`, in small letters."""
        return self._relative(written).lower()

    def file(self, written: str) -> Path:
        """The file; where there is none, the place at which it was expected."""
        return self._index[self._relative(written)]

    def _relative(self, written: str) -> str:
        path = written.replace("\\", "/")
        if not (path.startswith("/") or PureWindowsPath(path).drive):
            return posixpath.normpath(path)
        if os.path.exists(path):
            return self._below_root(path) or Path(os.path.relpath(path, self._root)).as_posix()
        # Written on another machine, or before the folder was moved: take the part of it that lies in this folder.
        parts = path.split("/")
        tails = ("/".join(parts[at:]) for at in range(1, len(parts)))
        return next((tail for tail in tails if tail and tail in self._index), path)

    def _below_root(self, path: str) -> str | None:
        """The part of an existing absolute path below the root, whatever symbolic links it goes through; or None."""
        path = os.path.abspath(path)
        if path.startswith(self._root + os.sep):
            return Path(path).relative_to(self._root).as_posix()
        real = os.path.realpath(path)
        for start in (path, real):
            for folder in map(str, Path(start).parents):
                if folder in self._links:
                    return (self._links[folder] / Path(start).relative_to(folder)).as_posix()
        return self._links[real].as_posix() if real in self._links else None

    @cached_property
    def _links(self) -> dict[str, Path]:
        """Where the root, and the symbolic links in it, lead to: by real path, the path from the root."""
        links = {os.path.realpath(self._root): Path()}
        for folder, folders, files in os.walk(self._root):
            for path in (os.path.join(folder, name) for name in (*folders, *files)):
                if os.path.islink(path):
                    links[os.path.realpath(path)] = Path(path).relative_to(self._root)
        return links


def _key(reference: str) -> str:
    """A reference's name: its file's stem in lower case."""
    return PureWindowsPath(reference).stem.lower()


def read_declaration(path: Path) -> Declaration:
    """Read the declaration in a `scores.toml`.

    Raises:
        DataError: when it is missing or breaks a rule; shows what to write.
    """
    try:
        return Declaration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        problem = "no such file; it must declare what the scores mean"
    except ValidationError as error:
        problem = explain(error)
    except ValueError as error:
        problem = f"not TOML ({error})"
    raise DataError(f"{path}: {problem}. For example:\n{EXAMPLE}")
