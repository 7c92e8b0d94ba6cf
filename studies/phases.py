"""Which phase of GADA helps, and is the cause the generated images or the longer training?

Table 1 of the paper compares the direct baseline with GADA after each phase, but its baseline has fewer steps and
never the tenfold lower learning rate of phases 2 and 3. The controls are the baseline with the steps and rates of all
three phases on real images only, and phases 1+3, in which phase 3 is as long as 2 and 3 together. If generated images
help, phases 1+2+3 are better than both. Expected: the long baseline accounts for most of the gain in Table 1.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, Preset, Study, TrainingConfig, direct, finetuning, gada, real_only


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Lists of phases with the lengths of the base."""
    one, two, three = base.phases
    return {
        "baseline": {"phases": (direct(one.steps),)},
        "baseline, all steps": {"phases": real_only(base.phases)},
        "phase 1": {"phases": (one,)},
        "phases 1+2": {"phases": (one, two)},
        "phases 1+2+3": {"phases": (one, two, three)},
        "phases 1+3": {"phases": (one, finetuning(two.steps + three.steps))},
    }


STUDY = Study(
    question="Which phase of GADA helps, and is the cause the generated images or the longer training?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast(
            "phases 1+2+3",
            "baseline, all steps",
            "Are the three phases better than the same steps and rates on real images alone?",
        ),
        Contrast(
            "phases 1+2+3",
            "phases 1+3",
            "Are the generated images of phase 2 better than as many steps of phase 3?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="6 trainings of seconds; a functional test",
            splits=1,
            values=SMOKE,
        ),
        "small": Preset(
            cost="30 trainings on 5 splits, phase 1 shared by four variants; about 40 minutes on 2 CPU cores",
            splits=5,
            values=MEDIUM,
        ),
        "paper": Preset(
            cost="6 variants x 10 splits, up to 45,000 steps each, phase 1 shared: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
