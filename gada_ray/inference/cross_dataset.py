"""A trained network on a database that it was not trained on: agreement with people, and what makes it no fair test.

Both are compared as quality, in [0, 1] and higher for better, so neither the sign nor the scale of the scores matters.
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
"""Names of the distortions that several databases have, without what separates their words."""


@dataclass(frozen=True)
class CrossTest:
    """What came out."""

    predictions: pd.DataFrame
    """A row an image: image, reference, distortion, score, target, prediction (both quality), predicted_score on the
    database's own scale, and shared, the training scene that it shows, or empty."""
    metrics: pd.DataFrame
    """A row for all images, for those of no shared scene, and for each distortion: images, and `MEASURES`. The logistic
    is fitted on the whole row's images, and never on a distortion alone."""
    unseen: tuple[str, ...]
    """Distortions that training had none of; empty where it, or the database, names none."""


def cross_test(scorer: Scorer, dataset: IqaDataset, shared: Mapping[str, str], batch: int = 16) -> CrossTest:
    """Test a model on a database; `shared` gives, by reference or group, the training scenes that it shows.

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
    """Distortions of a database, of which there are images, that a model's training had none of."""
    known = {same_name(name) for name in card.distortions}
    present = [dataset.distortions[number] for number in np.unique(dataset.distortion)]
    if UNSPECIFIED in (*card.distortions, *present):
        return ()
    return tuple(name for name in present if same_name(name) not in known)


def same_name(distortion: str) -> str:
    """One name for what databases call differently: `08_gaussian_blur`, `gblur` and `blur` are one."""
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"^\d+_", "", distortion.lower()))
    return next((name for name, others in SAME.items() if plain in others), plain)
