"""Recipes by name, the phases of section 3.1 and the direct baseline of section 4.3, to build configurations from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gada_ray.config import ConfigError, PhaseConfig, RankingConfig, TrainingConfig, with_values

LATER_PHASES_FACTOR = 0.1
"""Section 4.2: "During the second and third phases we divide the learning rate by 10"."""

RANKING_WEIGHT = 1.2
"""Weight of the ranking term where it is used; see the study `labels`."""
RANKING_MARGIN = 0.09
"""Margin of its procedural pairs, for each step of strength; see the study `ranking`."""


def gan(steps: int) -> PhaseConfig:
    """Phase 1: train all parts of the AC-GAN. The heads learn from real images alone: they teach the generator."""
    return PhaseConfig(
        name="gan",
        steps=steps,
        trains=("generator", "backbone", "discriminator", "classifier", "evaluator"),
        images="both",
        generated_weight=0.0,
    )


def augmentation(steps: int) -> PhaseConfig:
    """Phase 2: the generator is frozen; backbone, classifier and evaluator train on real and generated images."""
    return PhaseConfig(
        name="augmentation",
        steps=steps,
        trains=("backbone", "classifier", "evaluator"),
        images="both",
        conditions="empirical",
        rate_factor=LATER_PHASES_FACTOR,
    )


def finetuning(steps: int) -> PhaseConfig:
    """Phase 3: fine-tune backbone and evaluator on real images."""
    return PhaseConfig(
        name="finetuning", steps=steps, trains=("backbone", "evaluator"), images="real", rate_factor=LATER_PHASES_FACTOR
    )


def direct(steps: int) -> PhaseConfig:
    """The direct baseline of section 4.3: only evaluator and classifier, on labelled images."""
    return PhaseConfig(name="direct", steps=steps, trains=("backbone", "classifier", "evaluator"), images="real")


def continued(steps: int) -> PhaseConfig:
    """The baseline's counterpart of phase 2: the same parts at the same rate, without generated images."""
    return PhaseConfig(
        name="continued",
        steps=steps,
        trains=("backbone", "classifier", "evaluator"),
        images="real",
        rate_factor=LATER_PHASES_FACTOR,
    )


def real_only(phases: Sequence[PhaseConfig]) -> tuple[PhaseConfig, ...]:
    """A control that the paper lacks: the steps and learning rates of its three phases, on real images alone."""
    made = zip((direct, continued, finetuning), phases, strict=True)
    return tuple(make(phase.steps).model_copy(update={"rate_factor": phase.rate_factor}) for make, phase in made)


PAPER: Mapping[str, Any] = {
    "data.crop_px": 128,
    "data.aligned_fraction": 0.0,
    "data.batch": 64,
    "data.sampling": "uniform",
    "data.include_reference_copies": True,
    "model.normalisation": "none",
    "model.generator": "plain",
    "model.discriminator": "backbone",
    "losses.adversarial": "bce",
    "losses.quality": "mse",
    "losses.adversarial_weight": 1.0,
    "losses.l1_weight": 100.0,
    "losses.statistics_weight": 0.0,
    "losses.spectrum_weight": 0.0,
    "losses.generator_class_weight": 1.0,
    "losses.generator_quality_weight": 1.0,
    "losses.generator_teacher": "online",
    "losses.reduction": "sum",
    "rates.discriminator": 1e-4,
    "rates.generator": 5e-4,
    "rates.generator_beta2": 0.999,
    "phases.gan.generated_weight": 1.0,
    "ema_decay": 0.0,
    "evaluation.sampling": "uniform",
    "evaluation.weights": "final",
}
"""Values of the recipe "paper", which takes sections 3.2 to 4.2 at their word: an auto-encoder against a source head on
the shared backbone with a strong L1 term, heads that learn from both kinds of images, sums over the two kinds, raw
input, unaligned 128-pixel crops, batches of 64, final-step weights in tests and in phase 2, and on LIVE the 982 images
with copies of the references. docs/protocol.md gives the section of each."""

REGRESSION: Mapping[str, Any] = {"losses.adversarial_weight": 0.0}
"""Values of the recipe "regression", which has no adversary: its generator learns from L1, statistics, spectra, L_C and
L_E, and so regresses on the distorted image."""

RECIPES: Mapping[str, Mapping[str, Any]] = {"gada": {}, "paper": PAPER, "regression": REGRESSION}
"""Values of a training by its recipe's name. "gada", the defaults of the configuration, is our AC-GAN: L_S, L_C, L_E
and L1 are all in phase 1's losses; ours are the patch discriminator, the terms on statistics and spectra, the EMA
teacher, and the modulated generator."""


def gada(gan_steps: int, augmentation_steps: int, finetuning_steps: int) -> TrainingConfig:
    """The full training of section 3.1 by the recipe "gada"."""
    return TrainingConfig(phases=(gan(gan_steps), augmentation(augmentation_steps), finetuning(finetuning_steps)))


def baseline(direct_steps: int, finetuning_steps: int) -> TrainingConfig:
    """The direct baseline of section 4.3, with phase 3's fine-tuning after it."""
    return TrainingConfig(phases=(direct(direct_steps), finetuning(finetuning_steps)))


def few_labels(
    direct_steps: int, finetuning_steps: int, references: Literal["training", "extra"] | None = "training"
) -> TrainingConfig:
    """The direct baseline for few labels: with the ranking term of procedural distortions in both of its phases.

    `references` are the pictures that are distorted: references of the training part, or these and unlabelled
    photographs ("extra"); None leaves the term out. Distortion classes without a procedure make no pairs.
    """
    base = baseline(direct_steps, finetuning_steps)
    if references is None:
        return base
    term = RankingConfig(weight=RANKING_WEIGHT, margin=RANKING_MARGIN, references=references)
    phases = [phase.model_copy(update={"ranking": term, "skip_unmatched": True}) for phase in base.phases]
    return base.model_copy(update={"phases": tuple(phases)})


def with_recipe(config: TrainingConfig, name: str) -> TrainingConfig:
    """A configuration with the values of a recipe; those of a phase `gan` are left out where it has none.

    Raises:
        ConfigError: for an unknown recipe; names the known ones.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'; available: {', '.join(RECIPES)}")
    has_gan = any(phase.name == "gan" for phase in config.phases)
    values = {path: value for path, value in RECIPES[name].items() if has_gan or not path.startswith("phases.gan.")}
    return with_values(config, values)


def recipe(name: str, gan_steps: int, augmentation_steps: int, finetuning_steps: int) -> TrainingConfig:
    """The full training of section 3.1 by a recipe: "gada", "paper" or "regression".

    Raises:
        ConfigError: for an unknown recipe; names the known ones.
    """
    return with_recipe(gada(gan_steps, augmentation_steps, finetuning_steps), name)


NARROW = {"model.backbone_widths": (32, 64, 64), "model.feature_maps": 256, "model.generator_widths": (32, 64, 64)}
"""Values of a network with about a quarter of the arithmetic, for studies on a CPU."""

SHORT = {
    **NARROW,
    "data.batch": 16,
    "phases.gan.steps": 1000,
    "phases.augmentation.steps": 250,
    "phases.finetuning.steps": 250,
}
"""Values of a narrow training of some minutes on a CPU core, for studies of many variants."""

MEDIUM = {
    **SHORT,
    "phases.gan.steps": 1500,
    "phases.augmentation.steps": 500,
    "phases.finetuning.steps": 500,
}
"""Values of a narrow training of about ten minutes on a CPU core, which studies of phases share."""

SHORT_BASELINE = {**NARROW, "data.batch": 16, "phases.direct.steps": 2000, "phases.finetuning.steps": 500}
"""Values of a narrow direct baseline with fine-tuning; about one minute on a CPU core."""

FEW_LABELS = {
    **NARROW,
    "data.batch": 16,
    "model.normalisation": "both",
    "phases.direct.steps": 900,
    "phases.finetuning.steps": 100,
}
"""Values of a narrow `few_labels` as long as those that the study `labels` measures; about a minute and a half on a CPU
core. The image beside MSCN is ahead of MSCN alone in trainings as short as this on TID2013's types."""

FEW_LABELS_GADA = {
    **SHORT,
    "model.normalisation": "both",
    "phases.gan.steps": 600,
    "phases.augmentation.steps": 300,
    "phases.finetuning.steps": 100,
}
"""Values of three narrow phases as long as `FEW_LABELS`."""

SMOKE = {
    "model.backbone_widths": (8, 8, 8),
    "model.feature_maps": 32,
    "model.generator_widths": (8, 8, 8),
    "data.crop_px": 32,
    "data.batch": 8,
    "evaluation.crops": 4,
    "evaluation.curve_points": 2,
    "phases.gan.steps": 6,
    "phases.augmentation.steps": 4,
    "phases.finetuning.steps": 4,
}
"""Values that take a study through all its motions in seconds."""

SMOKE_BASELINE = {
    **{path: value for path, value in SMOKE.items() if not path.startswith("phases.")},
    "phases.direct.steps": 6,
    "phases.finetuning.steps": 4,
}
"""The same for a direct baseline with fine-tuning."""
