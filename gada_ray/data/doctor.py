"""The dataset doctor: whether images, labels and splits are what they are declared to be, before hours are spent."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data import check_crops, choose_splits, load_dataset, memory
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.splits import Split

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 200
"""Images, at most, on which the direction of the scores is checked."""
WEAK = 0.2
"""SROCC with SSIM that human scores of any database exceed by far (TID2013, the hardest here: above 0.6)."""


@dataclass(frozen=True)
class Report:
    """What was found. Problems make a dataset unusable as declared; warnings change what a number means."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    dataset: IqaDataset | None = None
    """None when it could not be read."""
    splits: tuple[Split, ...] = ()
    agreement: float = math.nan
    """SROCC of quality with SSIM; NaN when there is too little to compute it from."""


def examine(name: str, root: Path | None, config: DataConfig, splits: str | None = None) -> Report:
    """Read a dataset and check files, sizes against `config.crop_px`, scores, copies and splits.

    Args:
        splits: a split file to check, or "published"; None for ten random splits.
    """
    try:
        dataset = load_dataset(name, root, config)
    except DataError as error:
        return Report(problems=tuple(str(error).splitlines()))
    problems: list[str] = []
    warnings: list[str] = []
    try:
        check_crops(dataset, config.crop_px)
    except DataError as error:
        problems.append(str(error))
    parts: tuple[Split, ...] = ()
    try:
        parts = choose_splits(dataset, splits)
    except DataError as error:
        problems += str(error).splitlines()
    agreement = agreement_with_ssim(dataset) if dataset.has_references else math.nan
    checks = (
        _scores(dataset),
        _direction(dataset, agreement),
        _same_pixels(dataset),
        _classes(dataset, parts),
        _memory(dataset),
    )
    for found in checks:
        for serious, text in found:
            (problems if serious else warnings).append(text)
    return Report(tuple(problems), tuple(warnings), dataset, parts, agreement)


def counts(dataset: IqaDataset, column: str) -> pd.DataFrame:
    """Images and raw scores by `distortion` or `reference`: columns count, min, mean, max."""
    import pandas as pd

    return pd.DataFrame(dataset.frame().groupby(column)["score"].agg(["count", "min", "mean", "max"]))


def agreement_with_ssim(dataset: IqaDataset, sample: int = SAMPLE) -> float:
    """SROCC of quality, as declared, with the structural similarity of luminance (Wang et al. 2004).

    Computed on a seeded sample of the images. NaN for fewer than ten images, equal scores, or images below 7 pixels.
    """
    from skimage.metrics import structural_similarity

    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:sample])
    if len(rows) < 10 or np.ptp(dataset.quality[rows]) == 0 or dataset.shapes.min() < 7:
        return math.nan
    luminance = np.array([0.299, 0.587, 0.114], dtype=np.float32)

    def similarity_of(row: int) -> float:
        pair = (
            image.astype(np.float32) @ luminance
            for image in (dataset.distorted_image(row), dataset.reference_image(row))
        )
        return float(structural_similarity(*pair, data_range=255))  # type: ignore[no-untyped-call]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        similarity = list(pool.map(similarity_of, rows.tolist()))
    if np.ptp(similarity) == 0:
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(similarity, dataset.quality[rows]).statistic)


# Each check yields (is it a problem, text).
Findings = Iterator[tuple[bool, str]]


def _scores(dataset: IqaDataset) -> Findings:
    low, high = dataset.score_range
    least, most = dataset.score.min(), dataset.score.max()
    scores = f"scores reach from {least:.4g} to {most:.4g}, the declared range is {low:g} to {high:g}"
    outside = int(np.sum((dataset.score < low) | (dataset.score > high)))
    if least == most:
        yield True, f"all scores are {least:.4g}: there is nothing to learn"
    elif max(low - least, most - high) > (high - low) / 2 or most - least < (high - low) / 20:
        yield True, f"{scores}: it cannot be the range of these scores"
    elif outside:
        yield False, f"{scores}; {outside} of {len(dataset)} lie outside and are not clipped"


def _direction(dataset: IqaDataset, agreement: float) -> Findings:
    measured = f"SROCC of quality with SSIM is {agreement:.2f}"
    if not dataset.has_references:
        yield False, "without references the scores' direction cannot be checked; see that the declaration is right"
    elif math.isnan(agreement):
        yield False, "the scores' direction could not be checked: too few, tiny or undistorted images, or equal scores"
    elif agreement < -WEAK:
        yield True, f"{measured}: the scores go the other way than the declared {dataset.direction}"
    elif agreement < WEAK:
        yield False, f"{measured}, near none: do the scores belong to these files?"


def _same_pixels(dataset: IqaDataset) -> Findings:
    n_references, names = dataset.first, dataset.names
    contents = [*range(n_references), *dataset.reference.tolist()]
    kind = "references" if dataset.has_references else "groups"
    groups: dict[str, list[int]] = defaultdict(list)
    for number in range(len(names)):
        image = dataset.image(number)
        groups[hashlib.sha256(str(image.shape).encode() + image.data).hexdigest()].append(number)
    copies, twice = [], []
    for group in groups.values():
        if len({contents[number] for number in group}) > 1:
            same = ", ".join(names[number] for number in group)
            yield True, f"{same} are one picture under several {kind}, so splits would share it"
        elif group[0] < n_references:
            copies += group[1:]
        elif len(group) > 1:
            twice.append(group)
    if copies:
        yield False, f"{len(copies)} images are undistorted copies of their references, such as {names[copies[0]]}"
    if twice:
        example = " and ".join(names[number] for number in twice[0])
        yield False, f"{len(twice)} pictures are in it more than once, such as {example}"


def _classes(dataset: IqaDataset, splits: tuple[Split, ...]) -> Findings:
    for name, rows in dataset.frame().groupby("distortion"):
        having = set(rows["reference"])
        without = [split.index for split in splits if not having & set(split.train)]
        if without:
            yield False, f"splits {without} train without any image of distortion '{name}'"


def _memory(dataset: IqaDataset) -> Findings:
    """A study on this machine holds the pixels more than once, on top of what was just read."""
    taken = memory.size(dataset.shapes)
    room = memory.free() + taken
    if memory.COPIES * taken > memory.SPARE * room:
        yield (
            False,
            f"a study on this machine holds {memory.COPIES} copies of the pixels, {memory.gib(memory.COPIES * taken)}, "
            f"and {memory.gib(room)} are free; {memory.advice(dataset.shapes, memory.COPIES, room)}",
        )
