"""Files of splits: the JSON of this project, and the forms in which other projects of the field share theirs."""

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
from gada_ray.data.words import some

FORMS = (
    "JSON with a list 'splits' of 'train' and 'test' names; a .txt with a test name a line; a .csv whose columns named "
    "*split* say train, val or test of every image; a .mat with permutations in 'index'; train.npy, val.npy and "
    "test.npy with numbers of images from 0 in the order of the database's table, a row a split, padded with -1"
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
"""Parts of a split by the entries of split columns."""
NAME_COLUMNS = ("dist_name", "img_name", "image_name", "image name", "distorted", "image", "name")
NUMBERED = {"train": "train", "validation": "val", "test": "test"}
"""Stems of .npy files by part."""
VALIDATION, TEST = 0.2, 0.2
"""Shares of a permutation: its last fifth is the test part, and the last fifth of the rest the validation part."""

Parts = Mapping[str, Collection[str] | None]
"""Names by part; None for all names that are in no other part."""


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
    """Make sure that a requested file of splits exists; "published" and None request none.

    Raises:
        DataError: for a missing file, or a folder.
    """
    if not requested or requested == "published":
        return
    if Path(requested).is_dir():
        raise DataError(f"{requested} is a folder; --splits takes a number, published or a file: {FORMS}")
    if not Path(requested).exists():
        raise DataError(f"no split file at {requested}; --splits takes a number, published or a file")


def load_splits(path: Path, dataset: IqaDataset, most: int | None = None) -> tuple[Split, ...]:
    """Read the splits of a file, whose suffix tells its form.

    - `.json`: `{"splits": [{"train": [...], "test": [...]}, ...]}`. `index`, `validation`, `hash` and the rest are
      optional; a hash that is there must be right.
    - `.txt`: one name of the test part on each line; the rest is the training part. One split.
    - `.csv`, `.tsv`, `.xlsx`: a line for each image and a column for each split, as in tables of meta information:
      train, val and test, or 0, 1 and 2. Where a column has no test, its val is the test part.
    - `.mat`: the variable `index`, a permutation of the numbers of the references, from 1, a column or row. The numbers
      are those of the names in `ref_names` or, without them, of the sorted references. The first `most` are taken.
    - `.npy`: numbers of images from 0, in the order of the database's table (`IqaDataset.images`), a row for each
      split, padded with -1. Beside `test.npy`, `train.npy` and `val.npy` are read; any other file has test parts only.

    Names are those of references or of images, and are matched without regard to folder, case and file suffix. All
    images of a reference must be in one part; one picture under several names is kept in the part that is tested on.
    Where a form has no validation part, it is drawn from the training part.

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
    elif suffix == ".npy":
        return _indexed(path, dataset)
    else:
        return _ours(path, dataset)
    return tuple(with_validation(split) for split in _matched(path, entries, dataset))


def _ours(path: Path, dataset: IqaDataset) -> tuple[Split, ...]:
    try:
        record = json.loads(path.read_text())
        entries = record["splits"]
        if not isinstance(entries, list) or not isinstance(record.get("hash", ""), str):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise DataError(f"{path} is not a split file; accepted are {FORMS}") from None
    problems = [
        f"{path}: split {position} needs lists of names 'train' and 'test', and may have a list 'validation' and a "
        f"whole number 'index'"
        for position, entry in enumerate(entries)
        if not _is_entry(entry)
    ]
    if problems:
        raise DataError("\n".join(problems))
    found: list[tuple[int, Parts]] = [(e.get("index", position), e) for position, e in enumerate(entries)]
    splits = _matched(path, found, dataset)
    if "hash" in record and record["hash"] != splits_hash(splits):
        raise DataError(
            f"{path}: its hash is {record['hash'][:12]}, its content's is {splits_hash(splits)[:12]}: it was edited"
        )
    return splits


def _is_entry(entry: object) -> bool:
    """Whether an entry of a JSON file has parts that are lists of names, and a whole number for its index."""
    if not isinstance(entry, dict) or not {"train", "test"} <= set(entry):
        return False
    parts = [entry.get(part, []) for part in ("train", "validation", "test")]
    names = all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in parts)
    return names and type(entry.get("index", 0)) is int


def _indexed(path: Path, dataset: IqaDataset) -> tuple[Split, ...]:
    """Splits of files of numbers of images, as ARNIQA (Agnolucci et al. 2024) has them."""
    siblings = {part: path.with_name(f"{file}.npy") for part, file in NUMBERED.items()}
    if path in siblings.values():
        files = {part: file for part, file in siblings.items() if file.exists() or part == "test"}
    else:
        files = {"test": path}
    rows = {part: _numbers(file, dataset) for part, file in files.items()}
    counts = {part: len(found) for part, found in rows.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{path}: files of one form must have as many splits each; found {counts}")
    entries: list[tuple[int, Parts]] = [
        (number, {"train": None, **{part: found[number] for part, found in rows.items()}})
        for number in range(counts["test"])
    ]
    try:
        return tuple(with_validation(split) for split in _matched(path, entries, dataset))
    except DataError as error:
        raise DataError(f"{error}\n{path}: {_order(dataset)}; is the file's order another one?") from None


def _numbers(path: Path, dataset: IqaDataset) -> list[list[str]]:
    """Names of images, a list for each split, from their numbers in a file."""
    try:
        found = np.atleast_2d(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a .npy file of numbers that can be read ({error})") from None
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
        raise DataError(
            f"{path}: an array {list(found.shape)} of {found.dtype}; whole numbers, a row a split, are needed"
        )
    if found.max(initial=-1) >= len(dataset) or found.min(initial=0) < -1:
        raise DataError(
            f"{path}: its numbers reach from {found.min()} to {found.max()}, but {dataset.name} has {len(dataset)} "
            f"images; {_order(dataset)}"
        )
    return [[dataset.images[number] for number in row[row >= 0]] for row in found]


def _order(dataset: IqaDataset) -> str:
    """How images are numbered."""
    return (
        f"numbers follow the order of the database's table ({dataset.labels}): 0 is {dataset.images[0]}, "
        f"{len(dataset) - 1} is {dataset.images[-1]}"
    )


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
    problems = []
    for position, at in enumerate(splits):
        parts: dict[str, list[str]] = defaultdict(list)
        for number, cells in table.lines:
            entry = cells[at].lower() if len(cells) > max(at, name) else ""
            if entry in PARTS:
                parts[PARTS[entry]].append(cells[name])
                continue
            text = f"{path}: line {number}: {table.header[at]} '{entry}' is none of {', '.join(PARTS)}"
            problems.append(DataError(text, f"entries of {table.header[at]} that name no part"))
        if "test" not in parts and "validation" in parts:
            parts["test"] = parts.pop("validation")
        entries.append((position, {"train": [], "test": [], **parts}))
    if problems:
        raise DataError.of(problems)
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
            raise DataError(f"{path}: entry {number} of 'index' is not a permutation of the numbers 1 to {count}")
        order = [names[int(i) - 1] for i in column]
        test_at = count - max(1, round(TEST * count))
        validation_at = test_at - max(1, round(VALIDATION * test_at))
        parts = {"train": order[:validation_at], "validation": order[validation_at:test_at], "test": order[test_at:]}
        entries.append((number, parts))
    return entries


def _hdf5(path: Path) -> dict[str, Any]:
    """`index` and `ref_names` of a MATLAB file of version 7.3, which is HDF5; its arrays are transposed."""
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
    problems: list[DataError] = []
    splits = []

    def complain(position: int, text: str, kind: str) -> None:
        problems.append(DataError(f"{path}: split {position}{text}", kind))

    for position, (index, given) in enumerate(entries):
        parts: dict[str, set[str]] = {}
        for part in ("train", "validation", "test"):
            listed = given.get(part) or ()
            found, wrong = names.references_of(listed)
            for text, kind in wrong:
                complain(position, f": {text}", kind)
            parts[part] = found
        if given["train"] is None:
            parts["train"] = set(dataset.references) - parts["test"] - parts["validation"]
        times = Counter(name for part in parts.values() for name in part)
        twice = sorted(name for name, n in times.items() if n > 1)
        for name in filter(names.is_one_picture, twice):
            # Known to nobody who divides images by name: it stays in the part that is tested on.
            for part in ("train", "validation") if name in parts["test"] else ("train",):
                parts[part].discard(name)
        twice = [name for name in twice if not names.is_one_picture(name)]
        if twice:
            complain(
                position,
                f": {some(twice)} in two parts, so content would be on both sides",
                "splits that share content",
            )
        if not parts["train"] or not parts["test"]:
            complain(position, " has no training or no test reference", "splits without a training or a test part")
        splits.append(Split(index, *(tuple(sorted(parts[part])) for part in ("train", "validation", "test"))))
    if len({split.index for split in splits}) != len(splits):
        problems.append(DataError(f"{path}: two splits have the same index"))
    if problems:
        raise DataError.of(problems)
    if not splits:
        raise DataError(f"{path}: no splits in it")
    return tuple(splits)


class _Names:
    """References by any of the names that files use for them or for one of their images."""

    def __init__(self, dataset: IqaDataset) -> None:
        self.dataset = dataset
        self.images = Counter(dataset.reference.tolist())
        of_images = [dataset.references[number] for number in dataset.reference]
        self.exact = {name.lower(): name for name in dataset.references}
        self.paths = dict(zip((name.lower() for name in dataset.images), of_images, strict=True))
        self.stems = _unambiguous((_key(name), name) for name in dataset.references)
        self.files = _unambiguous((PureWindowsPath(name.lower()).name, name.lower()) for name in dataset.images)

    def is_one_picture(self, group: str) -> bool:
        """Whether a group is one picture under several names, which `load_images` keeps together."""
        if self.dataset.has_references:
            return False
        rows = np.flatnonzero(self.dataset.reference == self.dataset.references.index(group)).tolist()
        first, *others = (self.dataset.distorted_image(row) for row in rows)
        return bool(others) and all(np.array_equal(first, other) for other in others)

    def references_of(self, listed: Collection[str]) -> tuple[set[str], list[tuple[str, str]]]:
        """The references of some names, and problems with their kinds: unknown names, and incomplete references."""
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
        problems = []
        if unknown:
            problems.append((f"{self.dataset.name} has no reference {some(unknown)}", "splits with unknown names"))
        numbers = {name: number for number, name in enumerate(self.dataset.references)}
        torn = [
            name
            for name, images in seen.items()
            if len(images) < self.images[numbers[name]] and not self.is_one_picture(name)
        ]
        if torn:
            text = (
                f"only some images of {some(sorted(torn))} are in a part, so content would be on both sides; "
                "splits go by reference"
            )
            problems.append((text, "splits with only some images of a reference in a part"))
        return found, problems


def _unambiguous(pairs: Any) -> dict[str, str]:
    """The pairs whose key occurs with one value only, as a dict."""
    values: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        values[key].add(value)
    return {key: next(iter(found)) for key, found in values.items() if len(found) == 1}


def _key(name: str) -> str:
    """A name without folder, suffix and case."""
    return PureWindowsPath(name).stem.lower()
