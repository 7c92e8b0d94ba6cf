"""Checks of a dataset before hours are spent on it: whether images, labels and splits are what they are declared to be.

`examine` reports everything that `python -m gada_ray check` prints; a study calls `check_usable`, which refuses the
same problems with the same sentences.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from gada_ray.config import DataConfig, digest
from gada_ray.data import check_crops, choose_splits, load_dataset
from gada_ray.data.cache import cache_folder
from gada_ray.data.copies import equal_images, is_blank
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.splits import Split, splits_hash
from gada_ray.data.words import SHOWN, counted, some

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Raised when a check changes; part of the name under which the result of `check_usable` is kept."""
SAMPLE = 200
"""Largest number of images on which the direction of the scores is checked."""
WEAK = 0.2
"""SROCC with SSIM that human scores of any database exceed by far (TID2013, the hardest here: above 0.6)."""
OPPOSITE = -0.4
"""SROCC with SSIM below which the declared direction is certainly wrong; enhanced images may lie somewhat below 0."""
SCENE = re.compile(r"(?P<scene>.+)[-_ .](?:\d{1,3}|[a-z])")
"""A file's stem that ends in a short number or a letter, as the images of one scene are often named."""


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


@dataclass(frozen=True)
class Finding:
    """One sentence about a dataset."""

    text: str
    problem: bool = False
    """Whether a study refuses the dataset for it; otherwise it is a warning."""


def examine(
    name: str, root: Path | None, config: DataConfig, splits: str | None = None, most: int | None = SHOWN
) -> Report:
    """Read a dataset and check files, sizes against `config.crop_px`, scores, copies and splits.

    Args:
        splits: a split file to check, or "published"; None for ten random splits.
        most: names of one kind that a sentence lists before it counts the others; None lists all.
    """

    def lines(error: DataError) -> list[str]:
        return (error.everything if most is None else str(error)).splitlines()

    try:
        dataset = load_dataset(name, root, config)
    except DataError as error:
        return Report(problems=tuple(lines(error)))
    problems: list[str] = []
    try:
        check_crops(dataset, config.crop_px)
    except DataError as error:
        problems += lines(error)
    parts: tuple[Split, ...] = ()
    try:
        parts = choose_splits(dataset, splits)
    except DataError as error:
        problems += lines(error)
    agreement = agreement_with_ssim(dataset) if dataset.has_references else math.nan
    findings = [
        *_findings(dataset, parts, agreement, most),
        *_classes(dataset, parts),
        *_scenes(dataset),
    ]
    problems += [found.text for found in findings if found.problem]
    warnings = [found.text for found in findings if not found.problem]
    return Report(tuple(problems), tuple(warnings), dataset, parts, agreement)


def check_usable(dataset: IqaDataset, splits: Sequence[Split]) -> None:
    """Refuse what `examine` calls a problem of a dataset and its splits, and let its warnings pass.

    The outcome depends on the data and the splits alone and is kept in the cache folder, so that a study that is run
    again does not repeat the checks.

    Raises:
        DataError: a line for every problem.
    """
    key = digest([VERSION, dataset.fingerprint, splits_hash(splits)])
    kept = cache_folder() / f"checked-{key[:32]}.json"
    try:
        problems = json.loads(kept.read_text())
    except (OSError, ValueError):
        agreement = agreement_with_ssim(dataset) if dataset.has_references else math.nan
        problems = [found.text for found in _findings(dataset, splits, agreement, SHOWN) if found.problem]
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(problems))
            os.replace(partial, kept)
    if problems:
        raise DataError("\n".join(f"{dataset.name}: {problem}" for problem in problems))


def counts(dataset: IqaDataset, column: str) -> pd.DataFrame:
    """Images and raw scores by `distortion` or `reference`: columns count, min, mean, max."""
    import pandas as pd

    return pd.DataFrame(dataset.frame().groupby(column)["score"].agg(["count", "min", "mean", "max"]))


def agreement_with_ssim(dataset: IqaDataset, sample: int = SAMPLE) -> float:
    """SROCC of quality, as declared, with the structural similarity of luminance (Wang et al. 2004).

    Computed on a seeded sample of the images. NaN for fewer than ten images, equal scores, or images below 7 pixels.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:sample])
    if len(rows) < 10 or np.ptp(dataset.quality[rows]) == 0 or dataset.shapes.min() < 7:
        return math.nan
    from scipy.stats import spearmanr
    from skimage.metrics import structural_similarity

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
    return float(spearmanr(similarity, dataset.quality[rows]).statistic)


def _findings(dataset: IqaDataset, splits: Sequence[Split], agreement: float, most: int | None) -> Iterator[Finding]:
    """The checks that may find a problem."""
    yield from _scores(dataset)
    yield from _direction(dataset, agreement)
    yield from _same_pixels(dataset, splits, most)


def _scores(dataset: IqaDataset) -> Iterator[Finding]:
    low, high = dataset.score_range
    least, greatest = dataset.score.min(), dataset.score.max()
    scores = f"scores reach from {least:.4g} to {greatest:.4g}, the declared range is {low:g} to {high:g}"
    outside = int(np.sum((dataset.score < low) | (dataset.score > high)))
    if least == greatest:
        yield Finding(f"all scores are {least:.4g}: there is nothing to learn", problem=True)
    elif max(low - least, greatest - high) > (high - low) / 2 or greatest - least < (high - low) / 20:
        yield Finding(f"{scores}: it cannot be the range of these scores; correct the declared range", problem=True)
    elif outside:
        yield Finding(f"{scores}; {outside} of {len(dataset)} lie outside and are not clipped")


def _direction(dataset: IqaDataset, agreement: float) -> Iterator[Finding]:
    measured = f"SROCC of quality with SSIM is {agreement:.2f}"
    if not dataset.has_references:
        yield Finding("without references the direction of the scores cannot be checked; make sure that it is right")
    elif math.isnan(agreement):
        yield Finding(
            "the direction of the scores could not be checked: too few, tiny or undistorted images, or equal scores"
        )
    elif agreement < OPPOSITE:
        yield Finding(
            f"{measured}: the scores have the opposite direction to the declared {dataset.direction}", problem=True
        )
    elif agreement < WEAK:
        yield Finding(f"{measured}, which is low: do the scores belong to these files, and is their direction right?")


def _same_pixels(dataset: IqaDataset, splits: Sequence[Split], most: int | None) -> Iterator[Finding]:
    """Pictures with equal pixels: on both sides of a split they are a problem."""
    first, names = dataset.first, dataset.names
    contents = [*range(first), *dataset.reference.tolist()]
    kind = "references" if dataset.has_references else "groups"
    blank: list[int] = []
    blank_divided = False
    copies: list[int] = []
    twice: list[list[int]] = []
    for group in equal_images(dataset.pixels, dataset.offsets, dataset.shapes):
        shared = {dataset.references[contents[number]] for number in group}
        divided = len(shared) > 1 and (not splits or any(_parts_of(split, shared) > 1 for split in splits))
        if is_blank(dataset.image(group[0])):
            blank += group
            blank_divided |= divided
        elif len(shared) > 1:
            text = f"{some([names[number] for number in group], most)} have the same pixels under several {kind}"
            both_sides = ", so that a split has them on both sides; leave out all but one"
            yield Finding(text + (both_sides if divided else "; no split divides them"), problem=divided)
        elif group[0] < first:
            copies += group[1:]
        elif len(group) > 1:
            twice.append(group)
    if blank:
        listed = some([names[number] for number in sorted(blank)], most)
        yield Finding(
            f"{counted(len(blank), 'picture is', 'pictures are')} of one colour ({listed}) and show nothing; "
            "export them again, or leave them out of the table",
            problem=blank_divided,
        )
    if copies:
        listed = some([names[number] for number in copies], most)
        are = counted(len(copies), "image is an undistorted copy", "images are undistorted copies")
        yield Finding(f"{are} of a reference: {listed}")
    if twice:
        pairs = some([" and ".join(names[number] for number in group) for group in twice], most)
        yield Finding(f"{counted(len(twice), 'picture occurs', 'pictures occur')} more than once: {pairs}")


def _parts_of(split: Split, names: Iterable[str]) -> int:
    """In how many parts of a split some references lie."""
    return sum(not set(part).isdisjoint(names) for part in (split.train, split.validation, split.test))


def _classes(dataset: IqaDataset, splits: Sequence[Split]) -> Iterator[Finding]:
    for name, rows in dataset.frame().groupby("distortion"):
        having = set(rows["reference"])
        without = [split.index for split in splits if not having & set(split.train)]
        if without:
            word = "split" if len(without) == 1 else "splits"
            yield Finding(f"{word} {some(without, 10)}: the training part has no image of distortion '{name}'")


def _scenes(dataset: IqaDataset) -> Iterator[Finding]:
    """Names that look as if several images showed one scene, where each image is a group of its own."""
    if dataset.has_references or len(dataset.references) < len(dataset):
        return
    matches = ((name, SCENE.fullmatch(PurePosixPath(name).stem)) for name in dataset.images)
    scenes: dict[str, list[str]] = defaultdict(list)
    for name, match in matches:
        if match:
            scenes[match["scene"]].append(name)
    several = [names for names in scenes.values() if len(names) > 1]
    if len(several) < 2 or sum(map(len, several)) < len(dataset) / 2:
        return
    yield Finding(
        f"names such as {' and '.join(several[0][:2])} look like images of one scene ({len(several)} such scenes); if "
        "they are, name the scenes in a column 'group' of the table, or a split has a scene on both sides"
    )
