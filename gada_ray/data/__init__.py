"""Image-quality databases, each loaded as one `IqaDataset`, and their splits by reference or group."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.biq2021 import load_biq2021
from gada_ray.data.clive import load_clive
from gada_ray.data.csiq import load_csiq
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.demo import load_demo
from gada_ray.data.kadid10k import load_kadid10k
from gada_ray.data.koniq10k import load_koniq10k
from gada_ray.data.live import load_live
from gada_ray.data.manifest import load_manifest
from gada_ray.data.spaq import load_spaq
from gada_ray.data.split_files import load_splits, save_splits
from gada_ray.data.splits import Fold, Split, make_splits, published_split, splits_hash
from gada_ray.data.tid2013 import load_tid2013

__all__ = [
    "DATASETS",
    "DataError",
    "Fold",
    "IqaDataset",
    "Split",
    "check_crops",
    "check_place",
    "check_scores",
    "choose_splits",
    "load_dataset",
    "load_splits",
    "make_splits",
    "published_split",
    "save_splits",
    "splits_hash",
]

_ON_DISK = {
    "live": load_live,
    "tid2013": load_tid2013,
    "csiq": load_csiq,
    "kadid10k": load_kadid10k,
    "biq2021": load_biq2021,
    "koniq10k": load_koniq10k,
    "clive": load_clive,
    "spaq": load_spaq,
    "manifest": load_manifest,
}
DATASETS = ("demo", *_ON_DISK)
"""Names that `load_dataset` accepts."""


def load_dataset(name: str, root: Path | None, config: DataConfig) -> IqaDataset:
    """Load a database by its name.

    Args:
        root: the folder that holds it, or its parent; for `demo` the folder of its cache file, or None.

    Raises:
        DataError: for an unknown name, a missing root, and whatever is wrong with the files, one problem a line.
    """
    check_place(name, root)
    if name == "demo":
        if config.shorter_side is not None:
            raise DataError("data.shorter_side does not apply to demo, whose images are small")
        return load_demo(root, config.demo_local)
    assert root is not None
    return replace(_ON_DISK[name](root, config), origin=(name, str(root.absolute()), config))


def check_place(name: str, root: Path | None) -> None:
    """Make sure that a database's name is known and that its folder is given, before anything is read.

    Raises:
        DataError: for an unknown name, or a missing root.
    """
    if name not in DATASETS:
        similar = difflib.get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.5)
        hint = f"did you mean {similar[0]}? " if similar else ""
        raise DataError(f"unknown dataset '{name}'; {hint}available: {', '.join(DATASETS)}")
    if name != "demo" and root is None:
        raise DataError(f"dataset '{name}' needs --data-root: the folder that holds it; only demo needs none")
    if name != "demo" and root is not None and not root.exists():
        raise DataError(f"{name}: no folder {root}; --data-root must name the folder that holds the database")


def choose_splits(dataset: IqaDataset, requested: str | None, count: int = 10, seed: int = 0) -> tuple[Split, ...]:
    """The requested splits: "published", those of a file, or, where `requested` is None, `count` random ones.

    Raises:
        DataError: for too few references, no published parts, or a faulty file; see `load_splits`.
    """
    if requested == "published":
        return (published_split(dataset),)
    return load_splits(Path(requested), dataset, count) if requested else make_splits(dataset.references, count, seed)


def check_scores(dataset: IqaDataset) -> None:
    """Make sure that predictions can be compared with a dataset's scores: two images, and two different scores.

    Raises:
        DataError: with the number of images or the one score.
    """
    if len(dataset) < 2 or dataset.score.min() == dataset.score.max():
        images = (
            f"all {len(dataset)} images have the score {dataset.score[0]:g}" if len(dataset) > 1 else "it has 1 image"
        )
        raise DataError(f"{dataset.name}: a test needs images with different scores, but {images}")


def check_crops(dataset: IqaDataset, crop_px: int) -> None:
    """Make sure that crops of `crop_px` pixels fit into every image.

    Raises:
        DataError: names the smallest image.
    """
    smallest = int(dataset.shapes.min(axis=1).argmin())
    height, width = dataset.shapes[smallest]
    if crop_px > min(height, width):
        name = dataset.names[smallest]
        raise DataError(
            f"{dataset.name}: crops of {crop_px}x{crop_px} pixels do not fit into its smallest image, {name} with "
            f"{width}x{height}; choose a crop_px of at most {min(height, width)}"
        )
