"""Measure what the generator makes of held-out references.

Letters in shapes: n crops, q qualities, c crop side.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from gada_ray.config import DataConfig
from gada_ray.data.crops import CropSource, generator_for
from gada_ray.model.generator import Generator
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.system import devices

QUALITIES = 8
"""Requested qualities in `generator_mdsi_srocc`, evenly over the range that all classes cover in training."""
NOISES = 4
"""Draws of z in `generator_noise_sd`."""
BATCH = 64
"""Crops that are generated at once."""
CROPS = 4
"""Crops of every held-out image that are compared with the truth."""


@torch.inference_mode()
def measure(
    generator: Generator,
    evaluator: QualityNetwork | None,
    source: CropSource,
    train: Tensor,
    held_out: Tensor,
    data: DataConfig,
) -> dict[str, float]:
    """Conditioning fidelity of the generator on held-out images, and its distance from the truth.

    `train` and `held_out` are rows of the dataset. Generated crops are conditioned on the class and quality of truly
    distorted held-out crops, in the same windows, `CROPS` of each image. For all crops and, after a slash, for each
    class:

    generator_distance_l1, generator_distance_mdsi: distance from the truth over that of the reference, in mean absolute
    difference and in MDSI (both 0 for the truth itself, 1 for the unchanged reference). generator_change_sd: standard
    deviation of the change of the reference, over the true one.

    With an independent evaluator, a quality network that never met the generator: generator_class_accuracy, the share
    of generated crops that it assigns to the requested class, and generator_quality_srocc, the rank correlation of
    requested and predicted quality; generator_real_class_accuracy and generator_real_quality_srocc are the same for
    truly distorted crops.

    generator_mdsi_srocc: mean rank correlation, over held-out references and classes, of eight requested qualities with
    negated MDSI. generator_noise_sd: standard deviation of a pixel over draws of z, at a middling quality.
    """
    generator.eval()
    found = _against_truth(generator, evaluator, source, held_out, data)
    return found | _sweeps(generator, source, train, held_out, data)


def _against_truth(
    generator: Generator, evaluator: QualityNetwork | None, source: CropSource, held_out: Tensor, data: DataConfig
) -> dict[str, float]:
    from piq import mdsi

    random = generator_for("against truth", data.crop_px)
    columns: dict[str, list[Tensor]] = {}
    for rows in held_out.repeat_interleave(CROPS).split(BATCH):
        windows = source.windows(source.distorted(rows), data.crop_px, random, data.generator_alignment)
        noise = generator.draw_noise(len(rows), data.crop_px, random)
        references, made, truth = triples(generator, source, rows, windows, data.crop_px, noise)
        with devices.float32(source.device):
            distances = [mdsi(crops, truth, data_range=1.0, reduction="none") for crops in (made, references)]
        parts = {
            "class": source.distortion[rows],
            "quality": source.quality[rows],
            "l1": (made - truth).abs().mean((1, 2, 3)),
            "reference l1": (references - truth).abs().mean((1, 2, 3)),
            "mdsi": distances[0],
            "reference mdsi": distances[1],
            "change": (made - references).square().mean((1, 2, 3)),
            "reference change": (truth - references).square().mean((1, 2, 3)),
        }
        if evaluator is not None:
            for kind, images in (("", made), ("real ", truth)):
                outputs = evaluator(images)
                parts |= {
                    f"{kind}predicted class": outputs.distortion.argmax(1),
                    f"{kind}predicted quality": outputs.quality,
                }
        for name, values in parts.items():
            columns.setdefault(name, []).append(values.cpu())
    frame = pd.DataFrame({name: torch.cat(values).double().numpy() for name, values in columns.items()})
    found = _ratios(frame)
    for number, distortion in enumerate(source.distortions):
        group = frame[frame["class"] == number]
        if len(group) > 1:
            found |= {f"{name}/{distortion}": value for name, value in _ratios(group).items()}
    return found


def _ratios(frame: pd.DataFrame) -> dict[str, float]:
    """The measures of `_against_truth` on some crops; a distance ratio is 1 where the reference equals the truth."""
    total = frame.sum()

    def over(name: str) -> float:
        return float(total[name] / total[f"reference {name}"]) if total[f"reference {name}"] > 0 else 1.0

    found = {"distance_l1": over("l1"), "distance_mdsi": over("mdsi"), "change_sd": over("change") ** 0.5}
    for kind, name in (("", ""), ("real ", "real_")):
        if f"{kind}predicted class" in frame:
            found[f"{name}class_accuracy"] = float((frame[f"{kind}predicted class"] == frame["class"]).mean())
            predicted = torch.tensor(frame[f"{kind}predicted quality"].to_numpy())[None]
            found[f"{name}quality_srocc"] = _ranks(torch.tensor(frame["quality"].to_numpy()), predicted)[0]
    return {f"generator_{name}": value for name, value in found.items()}


def _sweeps(
    generator: Generator, source: CropSource, train: Tensor, held_out: Tensor, data: DataConfig
) -> dict[str, float]:
    from piq import mdsi

    device, random = source.device, generator_for("conditioning", data.crop_px)
    images = source.reference[held_out].unique()
    crops = source.gather(images, *source.windows(images, data.crop_px, random, data.generator_alignment), data.crop_px)
    qualities = _range(source, train, QUALITIES).to(device)
    by_metric, spread = [], []
    for one in source.distortion[train].unique():
        distortion = one.to(device).expand(len(crops))
        noise = [generator.draw_noise(len(crops), data.crop_px, random).to(device) for _ in range(NOISES)]
        made = sweep(generator, crops, distortion, qualities, noise[0]).flatten(0, 1)
        with devices.float32(device):
            distance = mdsi(made, crops.repeat_interleave(QUALITIES, 0), data_range=1.0, reduction="none")
        by_metric += _ranks(qualities, -distance.view(len(crops), QUALITIES))
        middle = qualities[QUALITIES // 2 : QUALITIES // 2 + 1]
        draws = torch.stack([sweep(generator, crops, distortion, middle, z) for z in noise])
        spread.append(float(draws.std(dim=0).mean()))
    return {"generator_mdsi_srocc": float(np.mean(by_metric)), "generator_noise_sd": float(np.mean(spread))}


@torch.inference_mode()
def sweep(generator: Generator, references: Tensor, distortion: Tensor, qualities: Tensor, noise: Tensor) -> Tensor:
    """Images `[n, q, 3, c, c]` of references `[n, 3, c, c]`, each in its class `[n]` and in every quality `[q]`.

    `noise` `[n, ...]` is the same for all qualities of a reference.
    """
    generator.eval()
    columns = [generator(noise, references, distortion, quality.expand(len(references))) for quality in qualities]
    return torch.stack(columns, dim=1)


@torch.inference_mode()
def triples(
    generator: Generator, source: CropSource, rows: Tensor, windows: tuple[Tensor, Tensor], px: int, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """References, generated and distorted crops `[n, 3, px, px]` of rows `[n]`, in windows, from noise `[n, ...]`."""
    references = source.gather(source.reference[rows], *windows, px)
    generated = generator(
        noise.to(source.device),
        references,
        source.distortion[rows].to(source.device),
        source.quality[rows].to(source.device),
    )
    return references, generated, source.gather(source.distorted(rows), *windows, px)


def _range(source: CropSource, rows: Tensor, count: int) -> Tensor:
    """Qualities `[count]`, evenly over the range that all classes share; over the whole range where they share none."""
    seen, classes = source.quality[rows], source.distortion[rows]
    by_class = [seen[classes == one] for one in classes.unique()]
    low, high = max(float(q.min()) for q in by_class), min(float(q.max()) for q in by_class)
    if low >= high:
        low, high = float(seen.min()), float(seen.max())
    return torch.linspace(low, high, count)


def _ranks(requested: Tensor, measured: Tensor) -> list[float]:
    """Rank correlations of requested values `[q]` with every row of measured ones `[n, q]`; 0 where one is constant."""
    x, rows = requested.cpu().numpy(), measured.cpu().double().numpy().round(6)
    varied = np.ptp(x) > 0
    return [float(stats.spearmanr(x, row).statistic) if varied and np.ptp(row) > 0 else 0.0 for row in rows]
