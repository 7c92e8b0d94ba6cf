"""Was the baseline only trained too briefly? SROCC by the number of optimiser steps, for three methods.

The paper trains each phase "until convergence", and its baseline may have had fewer steps than GADA. Here all three
phases are shortened in the same proportion, to an eighth, a quarter and a half. All methods have equal steps and
learning rates, and the last phase is always the fine-tuning of section 4.2:

- baseline: real crops alone
- real crops: in phase 2 a second batch of real crops in place of the generated ones
- GADA: phases 1, 2 and 3

The two controls skip the generator. They train as phase 1 of the recipe "gada" does, whose quality network sees real
crops alone. Expected: the baseline gains more from a doubling of short trainings than from GADA, its curve is nearly
flat at all steps, and GADA stays within 0.01 of it.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, PhaseConfig, Preset, Study, TrainingConfig, gada, real_only

SHARES = {"1/8 of the steps": 8, "1/4 of the steps": 4, "1/2 of the steps": 2, "all steps": 1}


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Every method with every share of the base's steps; reports read the method before the comma."""

    def shortened(divisor: int) -> tuple[PhaseConfig, ...]:
        return tuple(phase.model_copy(update={"steps": max(1, phase.steps // divisor)}) for phase in base.phases)

    def methods(phases: tuple[PhaseConfig, ...]) -> Mapping[str, tuple[PhaseConfig, ...]]:
        real = real_only(phases)
        again = phases[1].model_copy(update={"generated_by": "real_crops", "generated_from": "labelled"})
        return {"baseline": real, "real crops": (real[0], again, real[2]), "GADA": phases}

    return {
        f"{method}, {share}": {"phases": phases}
        for share, divisor in SHARES.items()
        for method, phases in methods(shortened(divisor)).items()
    }


STUDY = Study(
    question="Was the baseline only trained too briefly?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast(
            "baseline, all steps", "baseline, 1/2 of the steps", "Does the baseline gain from the second half of steps?"
        ),
        Contrast("GADA, 1/8 of the steps", "baseline, 1/8 of the steps", "Does GADA help in short trainings?"),
        Contrast("GADA, all steps", "baseline, all steps", "Does GADA help in long trainings?"),
        Contrast(
            "GADA, all steps", "real crops, all steps", "Does GADA help more than further real crops in long trainings?"
        ),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds; a functional test",
            splits=1,
            values={**SMOKE, "phases.gan.steps": 8},
        ),
        "small": Preset(
            cost="60 trainings of 1,000 to 8,000 narrow steps on 5 splits; about 90 minutes on 2 idle CPU cores",
            splits=5,
            values={
                **MEDIUM,
                "phases.gan.steps": 4800,
                "phases.augmentation.steps": 1600,
                "phases.finetuning.steps": 1600,
                "evaluation.curve_points": 2,
            },
        ),
        "paper": Preset(
            cost="12 variants x 10 splits, up to 45,000 steps each: about 40 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
