"""Testing as in section 4.2: random crops of an image, one prediction each, pooled into one.

Letters in shapes: m images, k crops of each, c crop side.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from gada_ray import devices
from gada_ray.config import TrainingConfig
from gada_ray.data.crops import CropSource, generator_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.model.discriminator import Discriminator

CROPS_AT_ONCE = 256


def windows(dataset: IqaDataset, source: CropSource, rows: Tensor, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Corners of the test crops, int64 [m, k] each.

    Random crops of an image depend on its name, the crop size and the grid only, so every trial sees the same ones.
    """
    data, test = config.data, config.evaluation
    grid = test.crop_grid or data.crop_grid
    corners = []
    for row in rows:
        images = source.distorted(row).repeat(test.crops)
        if test.placement == "even":
            corners.append(source.spread(images, data.crop_px, grid))
        else:
            random = generator_for("evaluation", dataset.images[int(row)], data.crop_px)
            corners.append(source.windows(images, data.crop_px, random, grid))
    return torch.stack([top for top, _ in corners]), torch.stack([left for _, left in corners])


@torch.inference_mode()
def predict(
    judge: Discriminator,
    source: CropSource,
    rows: Tensor,
    corners: tuple[Tensor, Tensor],
    config: TrainingConfig,
    crops: int,
) -> Tensor:
    """Predicted quality `[m, crops]` of the first `crops` crops of some distorted images, on the CPU.

    Puts the judge into evaluation mode and leaves it there.
    """
    judge.eval()
    images = source.distorted(rows).repeat_interleave(crops)
    top, left = (corner[:, :crops].flatten() for corner in corners)
    parts = []
    for part in torch.arange(len(images)).split(CROPS_AT_ONCE):
        batch = source.gather(images[part], top[part], left[part], config.data.crop_px)
        with devices.autocast(source.device, config.precision):
            parts.append(judge.evaluate(batch))
    return torch.cat(parts).cpu().view(len(rows), crops)


def table(dataset: IqaDataset, rows: Tensor, quality: Tensor, pooling: str) -> pd.DataFrame:
    """Predictions as a frame: image, reference, distortion, target, prediction (both quality).

    `quality` `[m, k]` is that of each image's crops, pooled by "mean" or "median".
    """
    prediction = quality.quantile(0.5, dim=1) if pooling == "median" else quality.mean(dim=1)
    frame = dataset.frame().iloc[rows.numpy()].reset_index(drop=True)
    frame = frame.rename(columns={"quality": "target"})[["image", "reference", "distortion", "target"]]
    return frame.assign(prediction=prediction.double().numpy())
