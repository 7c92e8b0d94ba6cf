"""Tests of a trained network on another database: agreement with human scores, and what limits the comparison.

Predictions and scores are compared as quality, in [0, 1] with higher for better, so neither the sign nor the scale of
the scores matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gada_ray.data.dataset import IqaDataset, raw_score
from gada_ray.data.images import UNSPECIFIED
from gada_ray.evaluation.cross_dataset import ALL, MEASURES, WITHOUT
from gada_ray.evaluation.metrics import agreement
from gada_ray.inference.scoring import Card, ModelError, Scorer

SAME = {
    "white noise": (
        "wn",
        "awgn",
        "gn",
        "noise",
        "whitenoise",
        "gaussiannoise",
        "additivegaussiannoise",
        "whitenoisergb",
    ),
    "Gaussian blur": ("gblur", "blur", "gb", "gaussianblur"),
    "JPEG": ("jpeg", "jpg", "jpegcompression"),
    "JPEG2000": ("jp2k", "jpeg2000", "jp2", "jpeg2k"),
    "fast fading": ("ff", "fastfading", "fflike", "jpeg2000transmission"),
}
"""Names, without separators, that databases give to the distortions which several of them have."""


@dataclass(frozen=True)
class CrossTest:
    """The outcome of a test on another database."""

    predictions: pd.DataFrame
    """One row for each image: image, reference, distortion, score, target and prediction (both quality),
    predicted_score on the database's own scale, and shared, the training scene that it shows, or empty."""
    metrics: pd.DataFrame
    """One row for all images, for those without a shared scene, and for each distortion: images and `MEASURES`. The
    logistic is fitted on the images of the row, but never on a single distortion."""
    unseen: tuple[str, ...]
    """Distortions that the training data lack; empty where they or the database name no distortions."""


def cross_test(scorer: Scorer, dataset: IqaDataset, shared: Mapping[str, str], batch: int = 16) -> CrossTest:
    """Test a model on a database.

    Args:
        shared: training scenes that the database shows, by its reference or group.


    Raises:
        ModelError: for images that are smaller than the model's crops.
    """
    px = scorer.card.config.data.crop_px
    small = int((dataset.shapes[dataset.first :].min(axis=1) < px).sum())
    if small:
        raise ModelError(f"{small} images of {dataset.name} are smaller than the model's crops of {px}x{px} pixels")
    quality: list[float] = []
    for start in range(0, len(dataset), batch):
        rows = range(start, min(len(dataset), start + batch))
        quality += [
            score.quality for score in scorer.score_crops([scorer.crops(dataset.distorted_image(r)) for r in rows])
        ]
    frame = dataset.frame().rename(columns={"quality": "target"})
    raw = [raw_score(value, dataset.score_range, dataset.direction) for value in quality]
    frame = frame.assign(
        prediction=quality, predicted_score=raw, shared=[shared.get(name, "") for name in frame["reference"]]
    )
    frame = frame.drop(columns=["height", "width"])
    return CrossTest(frame, _metrics(frame), unseen(scorer.card, dataset))


def _metrics(frame: pd.DataFrame) -> pd.DataFrame:
    parts = {ALL: frame}
    if (frame["shared"] != "").any():
        parts[WITHOUT] = frame[frame["shared"] == ""]
    groups = frame.groupby("distortion", sort=True)
    if len(groups) > 1:
        parts |= {str(name): group for name, group in groups}
    rows = []
    for name, part in parts.items():
        measured = dict.fromkeys(MEASURES, np.nan)
        if len(part) >= 2:
            whole = name in (ALL, WITHOUT)
            measured = agreement(part["target"].to_numpy(float), part["prediction"].to_numpy(float), fit=whole)
            if not whole:
                measured["plcc_fitted"] = np.nan
        rows.append({"images": name, "n": len(part), **{measure: measured[measure] for measure in MEASURES}})
    return pd.DataFrame(rows)


def unseen(card: Card, dataset: IqaDataset) -> tuple[str, ...]:
    """Distortions of a database, with at least one image, that the model's training data lack."""
    known = {same_name(name) for name in card.distortions}
    present = [dataset.distortions[number] for number in np.unique(dataset.distortion)]
    if UNSPECIFIED in (*card.distortions, *present):
        return ()
    return tuple(name for name in present if same_name(name) not in known)


def same_name(distortion: str) -> str:
    """A common name for a distortion that databases name differently: `08_gaussian_blur`, `gblur` and `blur`."""
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"^\d+_", "", distortion.lower()))
    return next((name for name, others in SAME.items() if plain in others), plain)
