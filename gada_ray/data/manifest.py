"""One's own images: a folder with `scores.csv` and, beside it, `scores.toml` that says what the scores mean."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from gada_ray.config import DataConfig, Frozen, explain
from gada_ray.data.dataset import DataError, Direction, IqaDataset
from gada_ray.data.files import find_database, read_table
from gada_ray.data.images import Labelled, load_images

COLUMNS = ("reference", "distorted", "distortion", "score")
EXAMPLE = """\
name = "my images"
description = "MOS of 20 viewers"
direction = "higher_is_better"  # or "lower_is_better"
range = [1.0, 5.0]  # ends of the scale; scores may lie outside"""


class Declaration(Frozen):
    """What the scores of `scores.csv` mean."""

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
    """The images that `scores.csv` lists, a row a distorted image; no option of `config` applies.

    Columns: `reference` and `distorted` (paths relative to the file), `distortion` (name of the class), `score`. A
    reference is named by its file's stem in lower case. `scores.toml` declares name, direction and range.

    Raises:
        DataError: for a missing or wrong declaration (with what to write), missing columns, references that share a
            name, scores that are no numbers; and see `load_images`.
    """
    index = find_database(root, "manifest", ["scores.csv"])
    path = index["scores.csv"]
    declaration = read_declaration(index["scores.toml"])
    rows = read_table(path, COLUMNS)
    files: dict[str, set[str]] = defaultdict(set)
    for (reference, _, _), _ in rows:
        files[_key(reference)].add(reference)
    shared = [
        f"{path}: references {', '.join(sorted(names))} share the name '{key}'; splits go by it, so rename files"
        for key, names in files.items()
        if len(names) > 1
    ]
    if shared:
        raise DataError("\n".join(shared))
    return load_images(
        name=declaration.name,
        labels=declaration.description,
        direction=declaration.direction,
        score_range=declaration.range,
        references={key: index[names.pop()] for key, names in files.items()},
        images=[
            Labelled(distorted, index[distorted], _key(reference), distortion, score)
            for (reference, distorted, distortion), score in rows
        ],
        distortions=sorted({distortion for (_, _, distortion), _ in rows}),
    )


def _key(reference: str) -> str:
    """A reference's name: its file's stem in lower case."""
    return Path(reference).stem.lower()


def read_declaration(path: Path) -> Declaration:
    """The declaration in a `scores.toml`.

    Raises:
        DataError: when there is none or it breaks a rule; shows what to write.
    """
    try:
        return Declaration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        problem = "no such file; it must say what the scores mean"
    except ValidationError as error:
        problem = explain(error)
    except ValueError as error:
        problem = f"not TOML ({error})"
    raise DataError(f"{path}: {problem}. For example:\n{EXAMPLE}")
