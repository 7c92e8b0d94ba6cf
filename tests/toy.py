"""A small dataset in memory and a small training, for tests of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gada_ray import TrainingConfig, gada, with_values
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Fold, make_splits
from gada_ray.inference.scoring import Card, Scorer
from gada_ray.training.phases import build
from gada_ray.trials.run import Trial
from gada_ray.trials.store import DatasetRecord, FoldRecord

DISTORTIONS = ("blocks", "dark", "noise")
CPU = torch.device("cpu")
TINY = {
    "data.crop_px": 16,
    "data.batch": 4,
    "model.backbone_widths": (4, 8, 8),
    "model.feature_maps": 16,
    "model.head_units": 8,
    "model.generator_widths": (4, 8, 8),
    "model.embedding": 4,
    "model.noise_dim": 4,
    "evaluation.crops": 3,
    "evaluation.curve_points": 3,
    "evaluation.curve_crops": 2,
}


def toy_dataset(references: int = 6, per_kind: int = 3) -> IqaDataset:
    """References of differing sizes (48 to 72 px) with three distortions; quality falls with their strength."""
    random = np.random.default_rng(0)
    images, shapes, rows = [], [], []
    for number in range(references):
        height, width = 48 + 8 * (number % 3), 72 - 8 * (number % 4)
        coarse = random.integers(30, 226, (height // 8, width // 8, 3))
        reference = np.kron(coarse, np.ones((8, 8, 1), int)).astype(np.float64)
        reference += random.normal(0, 6, reference.shape)
        images.append(np.clip(reference, 0, 255).astype(np.uint8))
        shapes.append((height, width))
    for number in range(references):
        reference = images[number].astype(np.float64)
        for kind, name in enumerate(DISTORTIONS):
            for variant in range(per_kind):
                strength = (variant + random.random()) / per_kind
                if name == "noise":
                    distorted = reference + 60 * strength * random.standard_normal(reference.shape)
                elif name == "dark":
                    distorted = reference * (1 - 0.7 * strength)
                else:
                    step = 1 + 80 * strength
                    distorted = np.round(reference / step) * step
                rows.append((number, kind, 100 * strength, np.clip(distorted, 0, 255).astype(np.uint8)))
    everything = [*images, *(row[3] for row in rows)]
    return IqaDataset(
        name="toy",
        labels="strength of the distortion",
        direction="lower_is_better",
        score_range=(0.0, 100.0),
        pixels=np.concatenate([image.ravel() for image in everything]),
        offsets=np.cumsum([0, *(image.size for image in everything)]).astype(np.int64),
        shapes=np.array([image.shape[:2] for image in everything], dtype=np.int64),
        references=tuple(f"ref{number}" for number in range(references)),
        images=tuple(f"{DISTORTIONS[kind]}/{number}_{i}.png" for i, (number, kind, _, _) in enumerate(rows)),
        reference=np.array([row[0] for row in rows], dtype=np.int64),
        distortions=DISTORTIONS,
        distortion=np.array([row[1] for row in rows], dtype=np.int64),
        score=np.array([row[2] for row in rows]),
    )


def tiny(values: dict[str, Any] | None = None, config: TrainingConfig | None = None) -> TrainingConfig:
    """A training of a few steps and a few hundred weights."""
    return with_values(config or gada(6, 5, 4), {**TINY, **(values or {})})


def toy_fold(dataset: IqaDataset) -> Fold:
    """The first split's test fold."""
    return make_splits(dataset.references, 1)[0].for_test()


def toy_trial(dataset: IqaDataset, config: TrainingConfig | None = None, seed: int = 0) -> Trial:
    """A trial on the first split."""
    return Trial(config or tiny(), toy_fold(dataset), seed, dataset.fingerprint)


def toy_source(dataset: IqaDataset) -> CropSource:
    """The dataset's pixels on the CPU."""
    return CropSource(dataset, CPU)


def toy_card(config: TrainingConfig | None = None, **changes: Any) -> Card:
    """The card of a model that was trained on the toy dataset."""
    dataset = toy_dataset()
    record = DatasetRecord.of(dataset)
    card = Card(
        study="toys",
        question="?",
        preset="smoke",
        variant="16 px",
        chosen="by hand",
        over_splits={"n": 1.0, "srocc_mean": 0.5},
        signature="0" * 64,
        fold=FoldRecord(split=0, scored_on="test", train=("ref0",), held_out=("ref1",)),
        metrics={"srocc": 0.5},
        dataset=record,
        distortions=dataset.distortions,
        config=config or tiny(),
        code_version=1,
        versions={},
    )
    return card.model_copy(update=changes)


def toy_scorer(config: TrainingConfig | None = None, **changes: Any) -> Scorer:
    """A scorer with untrained weights."""
    card = toy_card(config, **changes)
    network = build(card.config, len(card.distortions), seed=1)
    return Scorer(card, {name: tensor.numpy() for name, tensor in network.quality_network.state_dict().items()})
