"""The worst-predicted image of every distortion with its test crops, as a small file for figures.

Letters in shapes: d distortions, m images, k crops of each, h and w the sides of an image.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from gada_ray.data.dataset import IqaDataset

THUMBNAIL_PX = 384
"""Largest longer side of the thumbnails."""
JPEG_QUALITY = 90


def worst(
    dataset: IqaDataset,
    rows: Tensor,
    corners: tuple[Tensor, Tensor],
    crop_px: int,
    quality: Tensor,
    predictions: pd.DataFrame,
    maps: Sequence[np.ndarray] | None = None,
) -> bytes:
    """A file of the images `[d]` whose prediction is farthest from their target, one for every distortion.

    It holds distortion, image, target and prediction `[d]`; thumbnails as JPEG files, `jpeg` uint8, one after another,
    and where each ends, `jpeg_ends` `[d]`; in pixels of the thumbnails the crops' `top` and `left` `[d, k]` and `side`
    `[d]`; `quality` `[d, k]` of the crops; and, where crops were drawn by maps, those, `map` uint8 with `map_shapes`
    `[d, 2]`.

    Args:
        rows: of the m images in the dataset.
        corners: of their crops, top and left `[m, k]`.
        quality: what was predicted of each crop, `[m, k]`.
        predictions: one row for each of the m images, as of `protocol.table`.
        maps: of all images of the dataset, uint8 `[h/8, w/8]`.
    """
    off = (predictions["prediction"] - predictions["target"]).abs()
    chosen = off.groupby(predictions["distortion"]).idxmax().to_numpy(copy=True)
    files, factors = zip(*(_thumbnail(dataset.distorted_image(int(rows[place]))) for place in chosen), strict=True)
    factor = np.array(factors)
    arrays = {name: predictions[name].to_numpy()[chosen] for name in ("distortion", "image", "target", "prediction")}
    arrays["distortion"], arrays["image"] = arrays["distortion"].astype(str), arrays["image"].astype(str)
    arrays |= {
        "jpeg": np.frombuffer(b"".join(files), dtype=np.uint8),
        "jpeg_ends": np.cumsum([len(file) for file in files]),
        "side": crop_px * factor,
        "quality": quality[chosen].numpy().astype(np.float32),
    }
    for name, corner in zip(("top", "left"), corners, strict=True):
        arrays[name] = (corner[chosen].numpy() * factor[:, None]).astype(np.float32)
    if maps is not None:
        shown = [maps[int(rows[place])] for place in chosen]
        arrays["map"] = np.concatenate([each.ravel() for each in shown])
        arrays["map_shapes"] = np.array([each.shape for each in shown])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _thumbnail(image: np.ndarray) -> tuple[bytes, float]:
    """An image as a JPEG file, and the factor by which it was shrunk."""
    height, width = image.shape[:2]
    factor = min(1.0, THUMBNAIL_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    buffer = io.BytesIO()
    Image.fromarray(image).resize(size, Image.Resampling.BOX).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), factor
