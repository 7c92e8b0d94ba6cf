"""Does the generator do as it is asked? Asked quality and class against what its images show, on held-out references.

Letters in shapes: n crops, q qualities, c crop side.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from gada_ray.data.crops import CropSource, generator_for
from gada_ray.model.discriminator import Gada
from gada_ray.model.generator import Generator

QUALITIES = 8
"""Qualities asked for, evenly over the training range."""
NOISES = 4
"""Draws of z whose images are compared."""


@torch.inference_mode()
def sweep(generator: Generator, references: Tensor, distortion: Tensor, qualities: Tensor, noise: Tensor) -> Tensor:
    """Images `[n, q, 3, c, c]` of references `[n, 3, c, c]`, each in its class `[n]` and in every quality `[q]`.

    `noise` `[n, ...]` is the same for all qualities of a reference.
    """
    generator.eval()
    columns = [generator(noise, references, distortion, quality.expand(len(references))) for quality in qualities]
    return torch.stack(columns, dim=1)


@torch.inference_mode()
def measure(network: Gada, source: CropSource, train: Tensor, held_out: Tensor, crop_px: int) -> dict[str, float]:
    """How well a generator obeys, on one crop of every held-out reference in every class that was trained.

    generator_obeys_mdsi: mean rank correlation, over references and classes, of the asked quality with a full-reference
    metric (MDSI, its sign turned); generator_obeys_evaluator: with the network's own evaluator;
    generator_class_accuracy: share of images that its classifier puts in the class asked for; generator_noise_sd:
    standard deviation of a pixel in [0, 1] over draws of z, at a middling quality.
    """
    from piq import mdsi

    generator, judge, device = network.generator, network.judge, source.device
    assert isinstance(generator, Generator)
    judge.eval()
    random = generator_for("obedience", crop_px)
    images = source.reference[held_out].unique()
    top, left = source.windows(images, crop_px, random)
    crops = source.gather(images, top, left, crop_px)
    seen = source.quality[train]
    qualities = torch.linspace(float(seen.min()), float(seen.max()), QUALITIES, device=device)
    by_metric, by_evaluator, right, spread = [], [], [], []
    for one in source.distortion[train].unique():
        distortion = one.to(device).expand(len(crops))
        noise = [generator.draw_noise(len(crops), crop_px, random).to(device) for _ in range(NOISES)]
        made = sweep(generator, crops, distortion, qualities, noise[0])
        flat = made.flatten(0, 1)
        distance = mdsi(flat, crops.repeat_interleave(QUALITIES, 0), data_range=1.0, reduction="none")
        judged = judge(flat)
        by_metric += _ranks(qualities, -distance.view(len(crops), QUALITIES))
        by_evaluator += _ranks(qualities, judged.quality.view(len(crops), QUALITIES))
        right.append(float((judged.distortion.argmax(1) == one.to(device)).float().mean()))
        middle = qualities[QUALITIES // 2 : QUALITIES // 2 + 1]
        draws = torch.stack([sweep(generator, crops, distortion, middle, z) for z in noise])
        spread.append(float(draws.std(dim=0).mean()))
    return {
        "generator_obeys_mdsi": float(np.mean(by_metric)),
        "generator_obeys_evaluator": float(np.mean(by_evaluator)),
        "generator_class_accuracy": float(np.mean(right)),
        "generator_noise_sd": float(np.mean(spread)),
    }


def _ranks(asked: Tensor, shown: Tensor) -> list[float]:
    """Rank correlations of what was asked `[q]` with every row of what is shown `[n, q]`; 0 where a row is constant."""
    x, rows = asked.cpu().numpy(), shown.double().cpu().numpy().round(6)
    return [float(stats.spearmanr(x, row).statistic) if np.ptp(row) > 0 else 0.0 for row in rows]
