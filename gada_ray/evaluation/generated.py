"""What the generator makes of held-out references: in numbers, and as patches to look at.

Letters in shapes: n crops, q qualities, c crop side.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from gada_ray.data.crops import CropSource, generator_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.model.discriminator import Gada
from gada_ray.model.generator import Generator

QUALITIES = 8
"""Qualities asked for when obedience is measured, evenly over the training range."""
NOISES = 4
"""Draws of z whose images are compared."""
SHOWN = 5
"""Qualities that patches show."""
AT_ONCE = 64


def measure(network: Gada, source: CropSource, train: Tensor, held_out: Tensor, crop_px: int) -> dict[str, float]:
    """How close the generator comes to the truth, and how well it obeys; by rows of training and held-out images.

    generator_l1 and generator_reference_l1: mean absolute difference, in [0, 1], of generated held-out crops and of
    references from the distorted ones. The rest is on one crop of every held-out reference in every class that was
    trained. generator_obeys_mdsi: mean rank correlation, over references and classes, of the asked quality with a
    full-reference metric (MDSI, its sign turned); generator_obeys_evaluator: with the network's own evaluator;
    generator_class_accuracy: share of images that its classifier puts in the class asked for; generator_noise_sd:
    standard deviation of a pixel over draws of z, at a middling quality.
    """
    return _closeness(_of(network), source, held_out, crop_px) | _obedience(network, source, train, held_out, crop_px)


def _closeness(generator: Generator, source: CropSource, rows: Tensor, crop_px: int) -> dict[str, float]:
    parts = [_pairs(generator, source, some, crop_px) for some in rows.split(AT_ONCE)]
    references, generated, distorted = (torch.cat(images) for images in zip(*parts, strict=True))
    return {
        "generator_l1": float((generated - distorted).abs().mean()),
        "generator_reference_l1": float((references - distorted).abs().mean()),
    }


@torch.inference_mode()
def _obedience(network: Gada, source: CropSource, train: Tensor, held_out: Tensor, crop_px: int) -> dict[str, float]:
    from piq import mdsi

    generator, judge, device = _of(network), network.judge, source.device
    judge.eval()
    random = generator_for("obedience", crop_px)
    images = source.reference[held_out].unique()
    crops = source.gather(images, *source.windows(images, crop_px, random), crop_px)
    qualities = _range(source, train, QUALITIES).to(device)
    by_metric, by_evaluator, right, spread = [], [], [], []
    for one in source.distortion[train].unique():
        distortion = one.to(device).expand(len(crops))
        noise = [generator.draw_noise(len(crops), crop_px, random).to(device) for _ in range(NOISES)]
        made = sweep(generator, crops, distortion, qualities, noise[0]).flatten(0, 1)
        distance = mdsi(made, crops.repeat_interleave(QUALITIES, 0), data_range=1.0, reduction="none")
        judged = judge(made)
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


@torch.inference_mode()
def sweep(generator: Generator, references: Tensor, distortion: Tensor, qualities: Tensor, noise: Tensor) -> Tensor:
    """Images `[n, q, 3, c, c]` of references `[n, 3, c, c]`, each in its class `[n]` and in every quality `[q]`.

    `noise` `[n, ...]` is the same for all qualities of a reference.
    """
    generator.eval()
    columns = [generator(noise, references, distortion, quality.expand(len(references))) for quality in qualities]
    return torch.stack(columns, dim=1)


def patches(
    network: Gada, source: CropSource, dataset: IqaDataset, train: Tensor, held_out: Tensor, crop_px: int
) -> bytes:
    """Figure 1 as an .npz file: one held-out image a distortion, of about its lower quartile of quality.

    Its arrays are those of `pictures.figure1` and `pictures.by_quality`, and image, the images' names.
    """
    generator, quality = _of(network), dataset.quality
    chosen = []
    for distortion in np.unique(dataset.distortion[held_out]):
        of_class = held_out[torch.from_numpy(dataset.distortion[held_out] == distortion)]
        order = of_class[torch.from_numpy(np.argsort(quality[of_class], kind="stable"))]
        chosen.append(int(order[len(order) // 4]))
    rows = torch.tensor(chosen)
    px = max(crop_px, min(128, int(source.shapes[source.distorted(rows)].min()) // 8 * 8))
    references, generated, distorted = _pairs(generator, source, rows, px)
    asked = _range(source, train, SHOWN)
    noise = generator.draw_noise(len(rows), px, generator_for("patches", px)).to(source.device)
    by_quality = sweep(
        generator,
        references.to(source.device),
        source.distortion[rows].to(source.device),
        asked.to(source.device),
        noise,
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        reference=_uint8(references),
        generated=_uint8(generated),
        distorted=_uint8(distorted),
        asked=asked.numpy(),
        by_quality=_uint8(by_quality.cpu()),
        quality=quality[rows],
        distortion=np.array([dataset.distortions[i] for i in dataset.distortion[rows]]),
        image=np.array([dataset.images[int(i)] for i in rows]),
    )
    return buffer.getvalue()


@torch.inference_mode()
def _pairs(generator: Generator, source: CropSource, rows: Tensor, px: int) -> tuple[Tensor, Tensor, Tensor]:
    """References, generated and distorted patches `[n, 3, px, px]` of some rows, same windows, on the CPU."""
    generator.eval()
    random = generator_for("patches", px)
    images = source.distorted(rows)
    top, left = source.windows(images, px, random)
    references = source.gather(source.reference[rows], top, left, px)
    generated = generator(
        generator.draw_noise(len(rows), px, random).to(source.device),
        references,
        source.distortion[rows].to(source.device),
        source.quality[rows].to(source.device),
    )
    return references.cpu(), generated.cpu(), source.gather(images, top, left, px).cpu()


def _of(network: Gada) -> Generator:
    assert isinstance(network.generator, Generator)
    return network.generator


def _range(source: CropSource, rows: Tensor, count: int) -> Tensor:
    """Qualities `[count]`, evenly over those of some rows."""
    seen = source.quality[rows]
    return torch.linspace(float(seen.min()), float(seen.max()), count)


def _ranks(asked: Tensor, shown: Tensor) -> list[float]:
    """Rank correlations of what was asked `[q]` with every row of what is shown `[n, q]`; 0 where a row is constant."""
    x, rows = asked.cpu().numpy(), shown.double().cpu().numpy().round(6)
    return [float(stats.spearmanr(x, row).statistic) if np.ptp(row) > 0 else 0.0 for row in rows]


def _uint8(images: Tensor) -> np.ndarray:
    """Images `[..., 3, h, w]` in [0, 1] as uint8 `[..., h, w, 3]`."""
    return (255 * images).round().to(torch.uint8).movedim(-3, -1).numpy()
