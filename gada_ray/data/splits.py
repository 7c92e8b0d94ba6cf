"""Splits by reference, so that no content is on two sides; and the folds that a trial trains and scores on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    def inside_training(self) -> Split:
        """The training part alone, divided: to choose what trains best without a look at the test references."""
        if not self.validation:
            raise DataError(f"split {self.index} has no validation references to test choices on")
        return Split(self.index, self.train, (), self.validation)


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


def published_split(dataset: IqaDataset) -> Split:
    """The parts that a database's authors published; a validation part is drawn where they have none.

    Raises:
        DataError: where they published none.
    """
    if dataset.published is None:
        raise DataError(f"{dataset.name} has no published parts; --splits takes a number or a file")
    return with_validation(Split(0, *dataset.published))


def with_validation(split: Split, fraction: float = 0.2) -> Split:
    """The same split, with some of its training part, drawn by the split's number, set aside if nothing is."""
    if split.validation or len(split.train) < 2:
        return split
    names = sorted(split.train)
    order = np.random.Generator(np.random.PCG64([0, split.index])).permutation(len(names))
    drawn = {names[i] for i in order[: max(1, round(fraction * len(names)))]}
    return Split(split.index, tuple(n for n in names if n not in drawn), tuple(sorted(drawn)), split.test)
