"""What a plan trains on: datasets, decoded once, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gada_ray.data import IqaDataset, Split, check_crops, load_dataset, load_splits, make_splits
from gada_ray.study.definition import Plan, data_selections


@dataclass(frozen=True)
class Data:
    """The datasets that a plan trains on, by selection, with their splits."""

    datasets: Mapping[tuple[bool, str, bool], IqaDataset]
    splits: Mapping[tuple[bool, str, bool], Sequence[Split]]

    @property
    def fingerprints(self) -> dict[tuple[bool, str, bool], str]:
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


def load_data(plan: Plan, root: Path | None, split_file: Path | None) -> Data:
    """Decode every image once, and divide the references."""
    datasets, splits = {}, {}
    for place, config in data_selections(plan.levels).items():
        dataset = load_dataset(plan.dataset, root, config.data)
        datasets[place] = dataset
        splits[place] = (
            load_splits(split_file, dataset) if split_file else make_splits(dataset.references, plan.splits, plan.seed)
        )
        check_crops(dataset, max(level.config.data.crop_px for level in plan.levels))
        assert dataset.fingerprint
    return Data(datasets, splits)
