"""The weighted losses that a step minimises: one objective for each player.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gada_ray.config import PhaseConfig, TrainingConfig
from gada_ray.model.quality_network import Outputs, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import losses
from gada_ray.training.batches import Batch

Terms = dict[str, Tensor]
"""Losses by name, as scalars without gradients."""


class Seen(NamedTuple):
    """Crops of one kind, and the quality network's outputs for them."""

    outputs: Outputs
    batch: Batch


def quality_network_objective(
    config: TrainingConfig, phase: PhaseConfig, real: Seen | None, generated: Seen | None, source_head: bool
) -> tuple[Tensor, Terms]:
    """The loss of backbone and heads on real and generated crops, of which at least one is given.

    A head that the phase does not train does not contribute, so that it does not steer the backbone. `source_head` says
    whether the head of L_S is trained, which needs both kinds of crops.
    """
    weights, terms = config.losses, {}
    kinds = [seen for seen in (real, generated) if seen is not None]
    shares = [1.0, phase.generated_weight] if len(kinds) == 2 else [1.0]
    total = torch.zeros((), device=kinds[0].batch.images.device) if kinds else torch.zeros(())
    if kinds and "classifier" in phase.trains:
        by_class = [losses.class_loss(outputs.distortion, batch.distortion) for outputs, batch in kinds]
        terms["class"] = losses.weighted(by_class, shares, weights.reduction)
        total = total + weights.class_weight * terms["class"]
    if kinds and "evaluator" in phase.trains:
        by_quality = [_quality_loss(config, seen, weighs_crops=seen is real) for seen in kinds]
        terms["quality"] = losses.weighted(by_quality, shares, weights.reduction)
        total = total + weights.quality_weight * terms["quality"]
    if source_head:
        assert real is not None and generated is not None
        sources = real.outputs.source, generated.outputs.source
        terms["source"] = losses.source_loss(weights.adversarial, *sources, weights.reduction)
        total = total + weights.adversarial_weight * terms["source"]
    return total, {name: term.detach() for name, term in terms.items()}


def _quality_loss(config: TrainingConfig, seen: Seen, weighs_crops: bool) -> Tensor:
    """L_E (Eq. 3) of crops; of images where the evaluator weighs real crops. Each generated crop is an image."""
    outputs, batch = seen
    predicted, quality = outputs.quality, batch.quality
    if config.model.weighs_crops and weighs_crops:
        crops = config.data.crops_per_image
        predicted, quality = losses.weighted_quality(predicted, outputs.weight, crops), quality[::crops]
    return losses.quality_loss(config.losses.quality, predicted, quality)


def generator_objective(
    config: TrainingConfig,
    real: Batch,
    generated: Batch,
    outputs: Outputs | None,
    source: Tensor | None,
    teacher: QualityNetwork,
) -> tuple[Tensor, Terms]:
    """The loss of the generator on its crops, which are paired with real ones.

    Args:
        config: the training.
        real: truly distorted crops.
        generated: crops of the same references, classes and qualities.
        outputs: the quality network's outputs for generated crops, where the one in training teaches.
        source: logits `[n]` of generated crops being real, where there is an adversary.
        teacher: the averaged quality network.
    """
    weights = config.losses
    parts = {"reconstruction": (weights.l1_weight, losses.reconstruction_loss(real.images, generated.images))}
    if weights.adversarial_weight:
        assert source is not None
        parts["generator_source"] = (
            weights.adversarial_weight,
            losses.generator_source_loss(weights.adversarial, source),
        )
    conditioned = bool(weights.generator_class_weight or weights.generator_quality_weight)
    taught_by_ema = conditioned and weights.generator_teacher == "ema"
    if weights.statistics_weight or taught_by_ema:
        with devices.autocast(generated.images.device, config.precision):
            maps = teacher.backbone.maps(generated.views)
            if taught_by_ema:
                outputs = teacher.heads(teacher.backbone.pooled(maps[-1]))
        if weights.statistics_weight:
            statistics = losses.statistics_loss(
                [generated.images, generated.views.detail, generated.views.contrast, *maps],
                _target_maps(config, real, teacher),
                config.data.crop_px,
            )
            parts["statistics"] = (weights.statistics_weight, statistics)
    if weights.spectrum_weight:
        parts["spectrum"] = (weights.spectrum_weight, losses.spectrum_loss(generated.images, real.images))
    if conditioned:
        assert outputs is not None
        parts["generator_class"] = (
            weights.generator_class_weight,
            losses.class_loss(outputs.distortion, generated.distortion),
        )
        parts["generator_quality"] = (
            weights.generator_quality_weight,
            losses.quality_loss(weights.quality, outputs.quality, generated.quality),
        )
    total = torch.stack([weight * term for weight, term in parts.values()]).sum()
    return total, {name: term.detach() for name, (_, term) in parts.items()}


@torch.no_grad()
def _target_maps(config: TrainingConfig, real: Batch, teacher: QualityNetwork) -> list[Tensor]:
    """Pixels, local normalisation and feature maps of real crops, `[n, channels, h', w']` each."""
    with devices.autocast(real.images.device, config.precision):
        return [real.images, real.views.detail, real.views.contrast, *teacher.backbone.maps(real.views)]
