"""Patches of what the generator makes of held-out references, for figures."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from gada_ray.config import DataConfig
from gada_ray.data.crops import CropSource, generator_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation.generated import triples
from gada_ray.model.generator import Generator

SHOWN = 5
"""Most qualities of a class in the figure of patches."""
WINDOWS = 16
"""Random windows of a reference, of which the figure shows the one that varies most."""


def patches(generator: Generator, source: CropSource, dataset: IqaDataset, held_out: Tensor, data: DataConfig) -> bytes:
    """Figure 1 as an .npz file: one held-out image for each distortion, of about its lower quartile of quality.

    Beside it stand up to `SHOWN` images of the same reference and distortion, and what the generator makes of the
    reference for their qualities. The arrays are those of `pictures.figure1` and `pictures.by_quality`, and image, the
    images' names.
    """
    rows = _lower_quartiles(dataset, held_out)
    px = max(data.crop_px, min(128, int(source.shapes[source.distorted(rows)].min()) // 8 * 8))
    random = generator_for("patches", px)
    windows = _detailed_windows(source, rows, px, data.generator_alignment, random)
    series = [_series(dataset, held_out, int(row)) for row in rows]
    columns = max(map(len, series))
    others = torch.tensor([[*some, *[-1] * (columns - len(some))] for some in series])
    noise = generator.eval().draw_noise(len(rows), px, random)
    references, generated, distorted = triples(generator, source, rows, windows, px, noise)
    made, real = zip(*(triples(generator, source, column, windows, px, noise)[1:] for column in others.T), strict=True)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        reference=_uint8(references),
        generated=_uint8(generated),
        distorted=_uint8(distorted),
        quality=dataset.quality[rows.numpy()],
        requested=np.where(others.numpy() < 0, np.nan, dataset.quality[others.numpy()]),
        by_quality=_uint8(torch.stack(made, dim=1)),
        real_by_quality=_uint8(torch.stack(real, dim=1)),
        distortion=np.array([dataset.distortions[i] for i in dataset.distortion[rows.numpy()]]),
        image=np.array([dataset.images[int(i)] for i in rows]),
    )
    return buffer.getvalue()


def _series(dataset: IqaDataset, held_out: Tensor, row: int) -> list[int]:
    """Held-out rows with the reference and the distortion of one, by ascending quality; evenly chosen if many."""
    rows = held_out.numpy()
    same = (dataset.reference[rows] == dataset.reference[row]) & (dataset.distortion[rows] == dataset.distortion[row])
    found = rows[same]
    found = found[np.argsort(dataset.quality[found], kind="stable")]
    chosen = np.linspace(0, len(found) - 1, min(SHOWN, len(found))).round().astype(int)
    return [int(one) for one in found[chosen]]


def _detailed_windows(
    source: CropSource, rows: Tensor, px: int, aligned_fraction: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Corners (top, left) `[n]` of crops of rows `[n]`: of some random ones those whose reference varies most."""
    images, best = source.distorted(rows), torch.full((len(rows),), -1.0)
    chosen = torch.zeros(2, len(rows), dtype=torch.int64)
    for _ in range(WINDOWS):
        corners = torch.stack(source.windows(images, px, random, aligned_fraction))
        variation = source.gather(source.reference[rows], corners[0], corners[1], px).flatten(1).std(dim=1).cpu()
        chosen = torch.where(variation > best, corners, chosen)
        best = torch.maximum(variation, best)
    top, left = chosen
    return top, left


def _lower_quartiles(dataset: IqaDataset, held_out: Tensor) -> Tensor:
    """Of every class the row whose quality is the lower quartile among held-out rows `[m]`."""
    rows = held_out.numpy()  # a tensor of one element would index an array as a scalar does
    chosen = []
    for distortion in np.unique(dataset.distortion[rows]):
        of_class = rows[dataset.distortion[rows] == distortion]
        order = of_class[np.argsort(dataset.quality[of_class], kind="stable")]
        chosen.append(int(order[len(order) // 4]))
    return torch.tensor(chosen)


def _uint8(images: Tensor) -> np.ndarray:
    """Images `[..., 3, h, w]` in [0, 1] as uint8 `[..., h, w, 3]`."""
    return (255 * images).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
