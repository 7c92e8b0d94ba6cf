"""Which phase of GADA helps, and is it the generated images or the longer training?

Table 1 of the paper compares the direct baseline with GADA after each phase, but the baseline gets fewer steps and
never the tenfold lower rate of phases 2 and 3. The controls here are the baseline with the steps and rates of all three
phases and real images only, and phases 1+3, with phase 3 as long as 2 and 3 together. If generated images help, phases
1+2+3 beat both. Expected: the long baseline closes most of the gap that Table 1 shows.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, Preset, Study, TrainingConfig, direct, finetuning, gada, real_only


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Lists of phases, with the lengths of the base's."""
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
    question="Which phase of GADA helps, and is it the generated images or the longer training?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast(
            "phases 1+2+3",
            "baseline, all steps",
            "Do the three phases beat the same steps and rates on real images alone?",
        ),
        Contrast(
            "phases 1+2+3",
            "phases 1+3",
            "Do the generated images of phase 2 add to a phase 3 that is longer by its steps?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="6 trainings of seconds; shows that it runs, nothing else",
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
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
