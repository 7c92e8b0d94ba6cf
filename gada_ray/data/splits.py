"""Splits by reference, so that no content is on both sides, and the folds on which a trial trains and is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gada_ray.config import digest
from gada_ray.data.dataset import DataError, IqaDataset


@dataclass(frozen=True)
class Split:
    """One division of the references into parts; names are sorted within each part."""

    index: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    """References for selection, held out of training then; part of the training when the test part is scored."""
    test: tuple[str, ...]

    def for_selection(self) -> Fold:
        """The fold that trains without the validation references and is scored on them; the test part stays unseen."""
        if not self.validation:
            raise DataError(f"split {self.index} has no validation references, which a search over rates needs")
        return Fold(self.index, "validation", self.train, self.validation)

    def for_test(self) -> Fold:
        """The fold that trains on the training and validation references and is scored on the test references."""
        return Fold(self.index, "test", tuple(sorted(self.train + self.validation)), self.test)

    def inside_training(self) -> Split:
        """The split of the training part alone, with the validation references as its test part.

        It serves to choose a configuration without a look at the test references.
        """
        if not self.validation:
            raise DataError(f"split {self.index} has no validation references to test choices on")
        return Split(self.index, self.train, (), self.validation)


@dataclass(frozen=True)
class Fold:
    """The references on which one trial trains and those on which it is scored."""

    split: int
    scored_on: str
    """"validation" or "test", or "nothing" for a training on all references."""
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

    Names are sorted before they are shuffled, so that neither file order nor hash seed matters. The first
    `round(test_fraction * r)` names of the permutation are the test part, the next
    `round(validation_fraction * (r - n_test))` names the validation part.

    Raises:
        DataError: for fewer than five references, too few for three parts.
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


def repeated(splits: Sequence[Split], repeats: int) -> tuple[Split, ...]:
    """Every split several times: the same references under further indices, by which labels, weights and crops differ.

    The first ones keep their indices, so that their trials are the same. Analysis takes the mean over repetitions.
    """
    step = max(split.index for split in splits) + 1
    return tuple(replace(split, index=split.index + step * number) for number in range(repeats) for split in splits)


def cross_validation(references: Sequence[str], count: int, seed: int = 0) -> tuple[Fold, ...]:
    """Folds that hold every reference out once, in a seeded random order; their sizes differ by one at most.

    Raises:
        DataError: for fewer than two folds, or fewer references than folds.
    """
    names = sorted(set(references))
    if not 2 <= count <= len(names):
        raise DataError(f"cross-validation over {len(names)} references needs 2 to {len(names)} folds, got {count}")
    order = np.random.Generator(np.random.PCG64([seed, count])).permutation(len(names))
    parts = [{names[i] for i in part} for part in np.array_split(order, count)]
    return tuple(
        Fold(index, "test", tuple(name for name in names if name not in part), tuple(sorted(part)))
        for index, part in enumerate(parts)
    )


def whole(references: Sequence[str], index: int) -> Fold:
    """A fold that trains on all references and is scored on nothing."""
    return Fold(index, "nothing", tuple(sorted(set(references))), ())


def splits_hash(splits: Sequence[Split]) -> str:
    """The sha256, in hex, of the names in every part of every split."""
    return digest([[split.index, split.train, split.validation, split.test] for split in splits])


def published_split(dataset: IqaDataset) -> Split:
    """The split that a database's authors published; a validation part is drawn where theirs has none.

    Raises:
        DataError: where they published no split.
    """
    if dataset.published is None:
        raise DataError(f"{dataset.name} has no published parts; --splits takes a number or a file")
    return with_validation(Split(0, *dataset.published))


def with_validation(split: Split, fraction: float = 0.2) -> Split:
    """The split with a validation part; a missing one is drawn from the training part, seeded by the split's index."""
    if split.validation or len(split.train) < 2:
        return split
    names = sorted(split.train)
    order = np.random.Generator(np.random.PCG64([0, split.index])).permutation(len(names))
    drawn = {names[i] for i in order[: max(1, round(fraction * len(names)))]}
    return Split(split.index, tuple(n for n in names if n not in drawn), tuple(sorted(drawn)), split.test)
