"""How should the training steps be divided among the three phases?

The paper trains each phase "until convergence" and gives no lengths, so its gain may come from the phases or from the
number of steps. Here all variants have the same total and differ in the shares. Expected: phase 1 needs most steps,
since the generator starts untrained; phase 3 needs few.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import NARROW, SMOKE, Contrast, Preset, Study, TrainingConfig, gada

SHARES = {"80 : 10 : 10": (8, 1, 1), "60 : 20 : 20": (6, 2, 2), "40 : 40 : 20": (4, 4, 2), "40 : 20 : 40": (4, 2, 4)}


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """The base's total number of steps with different shares of the phases."""
    paths = [f"phases.{phase.name}.steps" for phase in base.phases]
    return {
        variant: {path: max(1, base.steps * share // 10) for path, share in zip(paths, shares, strict=True)}
        for variant, shares in SHARES.items()
    }


STUDY = Study(
    question="How should the training steps be divided among the three phases?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast("60 : 20 : 20", "40 : 40 : 20", "Is more of phase 1 better than more of phase 2?"),
        Contrast("60 : 20 : 20", "40 : 20 : 40", "Is more of phase 1 better than more of phase 3?"),
    ),
    presets={
        "smoke": Preset(cost="4 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="12 trainings of a narrow network; about 10 minutes on 2 CPU cores with the demo data",
            splits=3,
            values={
                **NARROW,
                "data.batch": 16,
                "evaluation.curve_points": 5,
                "phases.gan.steps": 300,
                "phases.augmentation.steps": 100,
                "phases.finetuning.steps": 100,
            },
        ),
        "paper": Preset(
            cost="4 variants x 10 splits, 45,000 steps each: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
