"""The test protocol of section 4.2: random crops of an image, one prediction each, pooled into one.

Letters in shapes: m images, k crops of each, c crop side.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from gada_ray.config import TrainingConfig
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource, align, every_other, generator_for, grid_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.sampling import Windows
from gada_ray.evaluation.pooling import CropScores, pooled
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.system import devices

CROPS_AT_ONCE = 256


def windows(dataset: IqaDataset, source: CropSource, rows: Tensor, config: TrainingConfig) -> Windows:
    """The test crops `[m, k]`.

    Random crops of an image depend on its name, the crop size, their alignment and how they are sampled only, so every
    trial sees the same ones.
    """
    data, test = config.data, config.evaluation
    alignment = config.test_alignment
    grid = grid_for(alignment == "aligned")
    sampler = None
    if test.sampling != "uniform":
        sampler = sampling.sampler(dataset, rows.numpy(), test.sampling, data.crop_px, grid, test.temperature)
    found = []
    for number, row in enumerate(rows):
        images = source.distorted(row).repeat(test.crops)
        random = generator_for("evaluation", dataset.images[int(row)], data.crop_px)
        if sampler is not None:
            draws = torch.rand(test.crops, generator=random, dtype=torch.float64)
            found.append(sampler.windows(torch.full((test.crops,), number), draws))
        else:
            even = test.placement == "even"
            corners = (
                source.spread(images, data.crop_px, grid)
                if even
                else source.windows(images, data.crop_px, random, float(alignment == "aligned"))
            )
            found.append(Windows(*corners, torch.ones(test.crops, dtype=torch.float64)))
    top, left, weight = (torch.stack(parts) for parts in zip(*found, strict=True))
    if alignment == "mixed":
        top, left = align(top, left, every_other(test.crops).expand_as(top))
    return Windows(top, left, weight)


@torch.inference_mode()
def predict(
    quality_network: QualityNetwork,
    source: CropSource,
    rows: Tensor,
    corners: Windows,
    config: TrainingConfig,
    crops: int,
) -> CropScores:
    """Predictions for the first `crops` crops of some distorted images, on the CPU.

    Puts the quality network into evaluation mode and leaves it there.
    """
    quality_network.eval()
    images = source.distorted(rows).repeat_interleave(crops)
    top, left, rarity = (each[:, :crops].flatten() for each in corners)
    parts = []
    for part in torch.arange(len(images)).split(CROPS_AT_ONCE):
        batch = source.gather(images[part], top[part], left[part], config.data.crop_px)
        with devices.autocast(source.device, config.precision):
            parts.append(quality_network.evaluate(batch))
    quality, learned = (torch.cat(each).cpu().view(len(rows), crops) for each in zip(*parts, strict=True))
    match config.evaluation.pooling:
        case "learned":
            weight = learned
        case "inverse":
            weight = rarity.float().view_as(quality)
        case _:
            weight = torch.ones_like(quality)
    return CropScores(quality, weight)


def table(dataset: IqaDataset, rows: Tensor, scores: CropScores, pooling: str) -> pd.DataFrame:
    """Predictions as a frame: image, reference, distortion, target, prediction (both quality), pooled from crops."""
    prediction = pooled(scores, pooling)
    frame = dataset.frame().iloc[rows.numpy()].reset_index(drop=True)
    frame = frame.rename(columns={"quality": "target"})[["image", "reference", "distortion", "target"]]
    return frame.assign(prediction=prediction.double().numpy())
