"""What a plan trains on: datasets, decoded once, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, Split, check_crops, check_place, choose_splits, load_dataset
from gada_ray.data.split_files import check_wish
from gada_ray.study.definition import Plan, Selection, StudyError, data_selections


@dataclass(frozen=True)
class Data:
    """The datasets that a plan trains on, by selection, with their splits."""

    datasets: Mapping[Selection, IqaDataset]
    splits: Mapping[Selection, Sequence[Split]]

    @property
    def fingerprints(self) -> dict[Selection, str]:
        """By selection."""
        return {place: dataset.fingerprint for place, dataset in self.datasets.items()}

    @property
    def by_fingerprint(self) -> dict[str, IqaDataset]:
        """Datasets by fingerprint."""
        return {dataset.fingerprint: dataset for dataset in self.datasets.values()}

    @property
    def first(self) -> tuple[IqaDataset, Sequence[Split]]:
        """The first level's data."""
        place = next(iter(self.datasets))
        return self.datasets[place], self.splits[place]


def check_wishes(plan: Plan, root: Path | None, wish: str | None = None) -> None:
    """Refuse what can be refused before any image is read.

    Raises:
        DataError: for an unknown database, or a folder or file of splits that is not there.
    """
    check_place(plan.dataset, root)
    check_wish(wish)


def load_data(plan: Plan, root: Path | None, wish: str | None = None) -> Data:
    """Decode every image once, and divide the references: at random, or as a file or its authors ("published") do.

    Raises:
        DataError: for data or splits that cannot be used.
        StudyError: for levels that need references on data that has none; names those that do not.
    """
    datasets, splits = {}, {}
    for place, config in data_selections(plan.levels).items():
        dataset = load_dataset(plan.dataset, root, config.data)
        datasets[place] = dataset
        check_references(plan, dataset)
        splits[place] = choose_splits(dataset, wish, plan.splits, plan.seed)
        check_crops(dataset, max(level.config.data.crop_px for level in plan.levels))
        assert dataset.fingerprint
    return Data(datasets, splits)


def load_others(wishes: Sequence[str], config: DataConfig) -> dict[str, IqaDataset]:
    """Databases that are asked for as NAME=DIR, by name.

    Raises:
        DataError: for a wish of another form, a name given twice, and whatever is wrong with the data.
    """
    found: dict[str, IqaDataset] = {}
    for wish in wishes:
        name, _, root = wish.partition("=")
        if name in found:
            raise DataError(f"--also-test names {name} twice; a database of another folder needs a run of its own")
        found[name] = load_dataset(name, Path(root) if root else None, config)
    return found


def check_references(plan: Plan, dataset: IqaDataset) -> None:
    """Make sure that no level needs references which a dataset has not.

    Raises:
        StudyError: with the levels that can run.
    """
    needing = [level.name for level in plan.levels if level.config.uses_references]
    if dataset.has_references or not needing:
        return
    able = [level.name for level in plan.levels if level.name not in needing]
    remedy = (
        f"these can run: {' '.join(f'--level {name!r}' for name in able)}"
        if able
        else "none can run; --set phases=direct trains every level directly, where the study's levels are no phases"
    )
    raise StudyError(
        f"{dataset.name} has no references, from which {'; '.join(needing)} of study '{plan.study}' generate images; "
        f"{remedy}"
    )
