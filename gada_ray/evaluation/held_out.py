"""The test of a trial on its held-out images, with crops that all trials on the split share."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from gada_ray.config import TrainingConfig
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation import pooling, protocol, worst
from gada_ray.evaluation.metrics import by_distortion
from gada_ray.evaluation.pooling import CropScores
from gada_ray.model.quality_network import QualityNetwork

CROP_SPREAD = "crop_spread"
"""Metric: root mean square over images of a prediction's standard error due to the draw of its crops."""


class HeldOut:
    """The images of held-out references and their test crops; there may be none."""

    def __init__(
        self, dataset: IqaDataset, source: CropSource, references: Sequence[str], config: TrainingConfig
    ) -> None:
        self.dataset, self.source, self.config = dataset, source, config
        self.rows = torch.from_numpy(dataset.rows_of(references))
        self.windows = protocol.windows(dataset, source, self.rows, config) if len(self.rows) else None

    def predict(self, quality_network: QualityNetwork, crops: int | None = None) -> CropScores:
        """Predictions for the first `crops` crops of every image; by default for all."""
        count = min(crops or self.config.evaluation.crops, self.config.evaluation.crops)
        if self.windows is None:
            return CropScores(torch.empty(0, count), torch.empty(0, count))
        return protocol.predict(quality_network, self.source, self.rows, self.windows, self.config, count)

    def agreement(self, scores: CropScores) -> tuple[pd.DataFrame, dict[str, float]]:
        """Predictions (`protocol.table`) and metrics: over all images, by distortion, and the spread over crops.

        Without images there are no metrics.
        """
        kind = self.config.evaluation.pooling
        predictions = protocol.table(self.dataset, self.rows, scores, kind)
        if self.windows is None:
            return predictions, {}
        spread = pooling.spread(scores, kind).square().mean().sqrt()
        return predictions, by_distortion(predictions) | {CROP_SPREAD: float(spread)}

    def worst_images(self, scores: CropScores, predictions: pd.DataFrame) -> bytes:
        """The worst-predicted image of each distortion with its crops and their sampling map, as a file."""
        drawn = self.config.evaluation.sampling
        maps = None if drawn == "uniform" else sampling.maps(self.dataset, drawn)
        assert self.windows is not None
        where, px = (self.windows.top, self.windows.left), self.config.data.crop_px
        return worst.worst(self.dataset, self.rows, where, px, scores.quality, predictions, maps)
