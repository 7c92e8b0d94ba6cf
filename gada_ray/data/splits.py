"""Splits by reference, so that no content is on two sides; and the folds that a trial trains and scores on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gada_ray.config import digest
from gada_ray.data.dataset import DataError, IqaDataset


@dataclass(frozen=True)
class Split:
    """One division of the references, by name, sorted within each part."""

    index: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    """Set aside from the training references for selection; part of training when the test is scored."""
    test: tuple[str, ...]

    def for_selection(self) -> Fold:
        """Train without the validation references and score on them; the test references stay unseen."""
        if not self.validation:
            raise DataError(f"split {self.index} has no validation references, which a search over rates needs")
        return Fold(self.index, "validation", self.train, self.validation)

    def for_test(self) -> Fold:
        """Train on the whole training part and score on the test references."""
        return Fold(self.index, "test", tuple(sorted(self.train + self.validation)), self.test)


@dataclass(frozen=True)
class Fold:
    """What one trial sees: references to train on and references to score on."""

    split: int
    scored_on: str
    """"validation" or "test"."""
    train: tuple[str, ...]
    held_out: tuple[str, ...]


def make_splits(
    references: Sequence[str],
    count: int = 10,
    seed: int = 0,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.2,
) -> tuple[Split, ...]:
    """Seeded random splits (section 4.2: 80/20, ten of them).

    Names are sorted before they are shuffled, so neither file order nor hash seed matters. The first
    `round(test_fraction * r)` names of the permutation are the test part, the next
    `round(validation_fraction * (r - n_test))` the validation references.

    Raises:
        DataError: with fewer than five references, too few for a test, a validation and a training part.
    """
    names = sorted(set(references))
    if len(names) < 5:
        raise DataError(f"splits by reference need at least 5 references, got {len(names)}: {', '.join(names)}")
    n_test = max(1, round(test_fraction * len(names)))
    n_validation = max(1, round(validation_fraction * (len(names) - n_test))) if validation_fraction else 0
    splits = []
    for index in range(count):
        order = np.random.Generator(np.random.PCG64([seed, index])).permutation(len(names))
        shuffled = [names[i] for i in order]
        test, validation = shuffled[:n_test], shuffled[n_test : n_test + n_validation]
        train = shuffled[n_test + n_validation :]
        splits.append(Split(index, *(tuple(sorted(part)) for part in (train, validation, test))))
    return tuple(splits)


def splits_hash(splits: Sequence[Split]) -> str:
    """The sha256, in hex, of the names in every part of every split."""
    return digest([[split.index, split.train, split.validation, split.test] for split in splits])


def save_splits(splits: Sequence[Split], path: Path, dataset: IqaDataset) -> None:
    """Write splits as JSON by reference name, with their hash and the dataset's name and fingerprint."""
    record = {
        "format": 1,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "hash": splits_hash(splits),
        "splits": [{"index": s.index, "train": s.train, "validation": s.validation, "test": s.test} for s in splits],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def load_splits(path: Path, dataset: IqaDataset) -> tuple[Split, ...]:
    """Read splits, one's own or somebody else's: `{"splits": [{"train": [...], "test": [...]}, ...]}`.

    Names are matched to the dataset's references without regard to case and file suffix. `index`, `validation`, `hash`
    and the rest are optional in a foreign file; a hash that is there must be right.

    Raises:
        DataError: names the file and every rule that it breaks.
    """
    try:
        record = json.loads(path.read_text())
        entries = record["splits"]
    except FileNotFoundError:
        raise DataError(f"no split file at {path}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise DataError(
            f"{path} is no split file: JSON with a list 'splits' of train and test names is needed"
        ) from None
    by_key = {_key(name): name for name in dataset.references}
    problems, splits = [], []
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"train", "test"} <= set(entry):
            problems.append(f"split {position} needs lists 'train' and 'test'")
            continue
        parts = []
        for part in ("train", "validation", "test"):
            names = entry.get(part, [])
            unknown = [name for name in names if _key(name) not in by_key]
            if unknown:
                problems.append(f"split {position}: {dataset.name} has no reference {', '.join(map(str, unknown))}")
            parts.append(tuple(sorted(by_key[_key(name)] for name in names if _key(name) in by_key)))
        everything = [name for names in parts for name in names]
        twice = sorted({name for name in everything if everything.count(name) > 1})
        if twice:
            problems.append(f"split {position}: {', '.join(twice)} in two parts, so content would be on both sides")
        if not parts[0] or not parts[2]:
            problems.append(f"split {position} has no training or no test reference")
        splits.append(Split(int(entry.get("index", position)), *parts))
    if len({split.index for split in splits}) != len(splits):
        problems.append("two splits have the same index")
    if not problems and "hash" in record and record["hash"] != splits_hash(splits):
        problems.append(
            f"its hash is {record['hash'][:12]}, its content's is {splits_hash(splits)[:12]}: it was edited"
        )
    if problems or not splits:
        raise DataError("\n".join(f"{path}: {problem}" for problem in problems or ["no splits in it"]))
    return tuple(splits)


def _key(name: object) -> str:
    """A reference's name without folder, suffix and case."""
    return Path(str(name)).stem.lower()
