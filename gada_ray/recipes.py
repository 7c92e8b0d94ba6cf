"""The paper's phases (section 3.1) and its direct baseline (section 4.3), as values to build configurations from."""

from __future__ import annotations

from collections.abc import Sequence

from gada_ray.config import PhaseConfig, TrainingConfig, with_values

LATER_PHASES_FACTOR = 0.1
"""Section 4.2: "During the second and third phases we divide the learning rate by 10"."""


def gan(steps: int) -> PhaseConfig:
    """Phase 1: train the AC-GAN, all parts. The heads learn from real images alone, so that they can teach."""
    return PhaseConfig(
        name="gan",
        steps=steps,
        trains=("generator", "backbone", "discriminator", "classifier", "evaluator"),
        images="both",
        generated_weight=0.0,
    )


def augmentation(steps: int) -> PhaseConfig:
    """Phase 2: the generator stops; backbone, classifier and evaluator go on with real and generated images."""
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
    """The control that the paper lacks: the steps and rates of its three phases, on real images alone."""
    made = zip((direct, continued, finetuning), phases, strict=True)
    return tuple(make(phase.steps).model_copy(update={"rate_factor": phase.rate_factor}) for make, phase in made)


def gada(gan_steps: int, augmentation_steps: int, finetuning_steps: int) -> TrainingConfig:
    """The full training of section 3.1 with our defaults."""
    return TrainingConfig(phases=(gan(gan_steps), augmentation(augmentation_steps), finetuning(finetuning_steps)))


LITERAL = {
    "data.crop_px": 128,
    "data.crop_grid": 1,
    "data.batch": 64,
    "model.normalisation": "none",
    "model.generator": "plain",
    "losses.adversarial_weight": 1.0,
    "losses.l1_weight": 100.0,
    "losses.statistics_weight": 0.0,
    "losses.spectrum_weight": 0.0,
    "losses.generator_class_weight": 1.0,
    "losses.generator_quality_weight": 1.0,
    "losses.generator_teacher": "online",
    "rates.discriminator": 1e-4,
    "rates.generator": 5e-4,
    "rates.generator_beta2": 0.999,
    "phases.gan.generated_weight": 1.0,
}
"""Values of sections 3.2 to 4.2 taken at their word: an auto-encoder against an adversary, heads that learn from both
kinds of images, raw input, 128-pixel crops anywhere, batches of 64."""


def literal(config: TrainingConfig) -> TrainingConfig:
    """A configuration whose first phase is `gan`, with the paper's protocol, network and losses taken at their word."""
    return with_values(config, LITERAL)


NARROW = {"model.backbone_widths": (32, 64, 64), "model.feature_maps": 256, "model.generator_widths": (32, 64, 64)}
"""Values of a network with about a quarter of the arithmetic, for studies on a CPU."""

SHORT = {
    **NARROW,
    "data.batch": 16,
    "phases.gan.steps": 1000,
    "phases.augmentation.steps": 300,
    "phases.finetuning.steps": 200,
}
"""Values of a narrow training of some minutes on a CPU core, for studies of many variants."""

MEDIUM = {
    **SHORT,
    "phases.gan.steps": 1500,
    "phases.augmentation.steps": 600,
    "phases.finetuning.steps": 200,
}
"""Values of a narrow training of about ten minutes on a CPU core, which studies of phases share."""

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
