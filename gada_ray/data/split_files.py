"""Splits in files: our own JSON, and the forms in which others in this field share theirs."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.matlab import read_mat
from gada_ray.data.splits import Split, splits_hash, with_validation
from gada_ray.data.tables import read_cells

FORMS = (
    "JSON with a list 'splits' of 'train' and 'test' names; a .txt with a test name a line; a .csv whose columns named "
    "*split* say train, val or test of every image; a .mat with permutations in 'index'"
)
SPLIT_COLUMN = re.compile(r".*(^|_)(split|set|part)(_?\d+)?$")
PARTS = {
    "train": "train",
    "training": "train",
    "0": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "1": "validation",
    "test": "test",
    "testing": "test",
    "2": "test",
}
"""What split columns say."""
NAME_COLUMNS = ("dist_name", "img_name", "image_name", "image name", "distorted", "image", "name")
VALIDATION, TEST = 0.2, 0.2
"""Shares of a permutation: its last fifth is the test part, what comes before that the validation part."""

Parts = Mapping[str, Collection[str] | None]
"""Names by part; None for all that the other parts leave."""


def save_splits(splits: Sequence[Split], path: Path, dataset: IqaDataset) -> None:
    """Write splits as JSON by reference name, with their hash and the dataset's name and fingerprint."""
    path.write_text(to_json(splits, dataset))


def to_json(splits: Sequence[Split], dataset: IqaDataset) -> str:
    """The text of a split file."""
    record = {
        "format": 1,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "hash": splits_hash(splits),
        "splits": [{"index": s.index, "train": s.train, "validation": s.validation, "test": s.test} for s in splits],
    }
    return json.dumps(record, indent=1) + "\n"


def validate_splits_option(requested: str | None) -> None:
    """Make sure that a file of splits which is asked for is there; "published" and None ask for none.

    Raises:
        DataError: for a file that is not there.
    """
    if requested and requested != "published" and not Path(requested).exists():
        raise DataError(f"no split file at {requested}")


def load_splits(path: Path, dataset: IqaDataset, most: int | None = None) -> tuple[Split, ...]:
    """Read splits, one's own or somebody else's, in one of the forms by its suffix.

    - `.json`: `{"splits": [{"train": [...], "test": [...]}, ...]}`. `index`, `validation`, `hash` and the rest are
      optional; a hash that is there must be right.
    - `.txt`: a name of the test part a line; the rest is trained on. One split.
    - `.csv`, `.tsv`: a line an image and a column a split, as in tables of meta information: train, val and test, or 0,
      1 and 2. Where a column has no test, its val is the test part.
    - `.mat`: the variable `index`, a permutation of the numbers of the references, from 1, a column or row. The numbers
      are those of the names in `ref_names` or, without them, of the sorted references. `most` of them are taken.

    Names are of references or of images, and are matched without regard to folder, case and file suffix. All images of
    a reference must be in one part. Forms that know no validation part get one out of the training part.

    Raises:
        DataError: names the file and every rule that it breaks.
    """
    validate_splits_option(str(path))
    suffix = path.suffix.lower()
    if suffix == ".txt":
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
        entries: list[tuple[int, Parts]] = [(0, {"train": None, "test": [name for name in names if name]})]
    elif suffix in (".csv", ".tsv", ".xlsx"):
        entries = _columns(path)
    elif suffix == ".mat":
        entries = _permutations(path, dataset, most)
    else:
        return _ours(path, dataset)
    return tuple(with_validation(split) for split in _matched(path, entries, dataset))


def _ours(path: Path, dataset: IqaDataset) -> tuple[Split, ...]:
    try:
        record = json.loads(path.read_text())
        entries = record["splits"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise DataError(f"{path} is no split file; what is read: {FORMS}") from None
    problems = [
        f"{path}: split {position} needs lists 'train' and 'test'"
        for position, entry in enumerate(entries)
        if not isinstance(entry, dict) or not {"train", "test"} <= set(entry)
    ]
    if problems:
        raise DataError("\n".join(problems))
    found: list[tuple[int, Parts]] = [(int(e.get("index", position)), e) for position, e in enumerate(entries)]
    splits = _matched(path, found, dataset)
    if "hash" in record and record["hash"] != splits_hash(splits):
        raise DataError(
            f"{path}: its hash is {record['hash'][:12]}, its content's is {splits_hash(splits)[:12]}: it was edited"
        )
    return splits


def _columns(path: Path) -> list[tuple[int, Parts]]:
    table = read_cells(path, ())
    name = next((table.columns.index(column) for column in NAME_COLUMNS if column in table.columns), None)
    splits = [at for at, column in enumerate(table.columns) if SPLIT_COLUMN.fullmatch(column)]
    if name is None or not splits:
        raise DataError(
            f"{path}: a column of image names ({', '.join(NAME_COLUMNS)}) and columns such as official_split or "
            f"ratio802_seed123_split_01 are needed; its columns are {', '.join(table.header)}"
        )
    entries: list[tuple[int, Parts]] = []
    for position, at in enumerate(splits):
        parts: dict[str, list[str]] = defaultdict(list)
        for number, cells in table.lines:
            said = cells[at].lower() if len(cells) > max(at, name) else ""
            if said not in PARTS:
                raise DataError(f"{path}: line {number}: {table.header[at]} '{said}' is none of {', '.join(PARTS)}")
            parts[PARTS[said]].append(cells[name])
        if "test" not in parts and "validation" in parts:
            parts["test"] = parts.pop("validation")
        entries.append((position, {"train": [], "test": [], **parts}))
    return entries


def _permutations(path: Path, dataset: IqaDataset, most: int | None) -> list[tuple[int, Parts]]:
    try:
        found = read_mat(path)
    except NotImplementedError:
        found = _hdf5(path)
    if "index" not in found:
        names = [name for name in found if not name.startswith("__")]
        raise DataError(f"{path}: no variable 'index' with permutations; it has {', '.join(names)}")
    index = np.asarray(found["index"])
    count = len(dataset.references)
    if index.ndim != 2 or count not in index.shape:
        raise DataError(f"{path}: 'index' is {index.shape}; permutations of {count} references are needed")
    columns = index if index.shape[0] == count else index.T
    names = list(dataset.references)
    if "ref_names" in found:
        names = [str(cell if isinstance(cell, str) else np.asarray(cell).item()) for cell in found["ref_names"].ravel()]
    entries: list[tuple[int, Parts]] = []
    for number, column in enumerate(columns.T[:most]):
        if sorted(column.astype(int).tolist()) != list(range(1, count + 1)) or len(names) != count:
            raise DataError(f"{path}: entry {number} of 'index' is no permutation of the numbers 1 to {count}")
        order = [names[int(i) - 1] for i in column]
        test_at = count - max(1, round(TEST * count))
        validation_at = test_at - max(1, round(VALIDATION * test_at))
        parts = {"train": order[:validation_at], "validation": order[validation_at:test_at], "test": order[test_at:]}
        entries.append((number, parts))
    return entries


def _hdf5(path: Path) -> dict[str, Any]:
    """`index` and `ref_names` of a MATLAB file of version 7.3, which is HDF5; its arrays lie on their sides."""
    import h5py

    found: dict[str, Any] = {}
    try:
        with h5py.File(path) as file:
            found |= {name: () for name in file if not name.startswith("#")}
            if "index" in found:
                found["index"] = np.asarray(file["index"]).T
            if "ref_names" in found:
                cells = np.asarray(file["ref_names"]).ravel()
                texts = ["".join(chr(int(letter)) for letter in np.asarray(file[cell]).ravel()) for cell in cells]
                found["ref_names"] = np.array(texts, dtype=object)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a MATLAB file that can be read ({error})") from None
    return found


def _matched(path: Path, entries: Sequence[tuple[int, Parts]], dataset: IqaDataset) -> tuple[Split, ...]:
    """Splits of references from names of references or images."""
    names = _Names(dataset)
    problems, splits = [], []
    for position, (index, given) in enumerate(entries):
        parts: dict[str, set[str]] = {}
        for part in ("train", "validation", "test"):
            listed = given.get(part) or ()
            found, wrong = names.references_of(listed)
            problems += [f"split {position}: {text}" for text in wrong]
            parts[part] = found
        if given["train"] is None:
            parts["train"] = set(dataset.references) - parts["test"] - parts["validation"]
        times = Counter(name for part in parts.values() for name in part)
        twice = sorted(name for name, n in times.items() if n > 1)
        if twice:
            problems.append(f"split {position}: {_some(twice)} in two parts, so content would be on both sides")
        if not parts["train"] or not parts["test"]:
            problems.append(f"split {position} has no training or no test reference")
        splits.append(Split(index, *(tuple(sorted(parts[part])) for part in ("train", "validation", "test"))))
    if len({split.index for split in splits}) != len(splits):
        problems.append("two splits have the same index")
    if problems or not splits:
        raise DataError("\n".join(f"{path}: {problem}" for problem in problems or ["no splits in it"]))
    return tuple(splits)


class _Names:
    """References by any of the names that people write for them or for one of their images."""

    def __init__(self, dataset: IqaDataset) -> None:
        self.dataset = dataset
        self.images = Counter(dataset.reference.tolist())
        of_images = [dataset.references[number] for number in dataset.reference]
        self.exact = {name.lower(): name for name in dataset.references}
        self.paths = dict(zip((name.lower() for name in dataset.images), of_images, strict=True))
        self.stems = _unambiguous((_key(name), name) for name in dataset.references)
        self.files = _unambiguous((PureWindowsPath(name.lower()).name, name.lower()) for name in dataset.images)

    def references_of(self, listed: Collection[str]) -> tuple[set[str], list[str]]:
        """References of some names, and what is wrong: names that are unknown, references of which only a part is."""
        found: set[str] = set()
        unknown: list[str] = []
        seen: dict[str, set[str]] = defaultdict(set)
        for name in listed:
            text = str(name).replace("\\", "/").lower()
            reference = self.exact.get(text)
            image = None
            if reference is None:
                image = text if text in self.paths else None
                reference = self.paths.get(text) or self.stems.get(_key(text))
            if reference is None:
                image = self.files.get(PureWindowsPath(text).name)
                reference = self.paths.get(image or "")
            if reference is None:
                unknown.append(str(name))
                continue
            found.add(reference)
            if image is not None:
                seen[reference].add(image)
        problems = [f"{self.dataset.name} has no reference {_some(unknown)}"] if unknown else []
        numbers = {name: number for number, name in enumerate(self.dataset.references)}
        torn = [name for name, some in seen.items() if len(some) < self.images[numbers[name]]]
        if torn:
            problems.append(
                f"only some images of {_some(sorted(torn))} are in a part, so content would be on both sides; "
                "splits go by reference"
            )
        return found, problems


def _unambiguous(pairs: Any) -> dict[str, str]:
    """A dict of pairs whose key occurs with one value only."""
    values: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        values[key].add(value)
    return {key: next(iter(some)) for key, some in values.items() if len(some) == 1}


def _some(names: Sequence[str], most: int = 10) -> str:
    """Names for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _key(name: str) -> str:
    """A name without folder, suffix and case."""
    return PureWindowsPath(name).stem.lower()
