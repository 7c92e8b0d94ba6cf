"""Which phase of GADA helps: fine-tuning, longer training, or generated images?

Table 1 of the paper compares the direct baseline with GADA after each phase. Its baseline has fewer steps than GADA and
no fine-tuning, which trains the backbone and the evaluator at a tenth of the rate. Three contrasts split the gain of
phases 1+2+3 over the baseline into parts that sum to it:

- longer training: the baseline at the full rate with the steps of all three phases, against the baseline
- fine-tuning: the baseline whose steps after phase 1 are fine-tuning, against the longer baseline, at equal steps
- generated images: phases 1+2+3 against the fine-tuned baseline, at equal steps

A fourth compares phases 1+2+3 with a baseline that has the steps, rates and parts of all three phases and differs by
the generated images alone ("baseline, all steps"). In phases 1+3, phase 3 is as long as 2 and 3 together. In the
recipe "gada" the quality network learns nothing from generated images in phase 1, so that phases 1+3 equal the
fine-tuned baseline; in the recipe "paper" they do not. Expected: fine-tuning has the largest part, and generated images
a small one.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, Preset, Study, TrainingConfig, direct, finetuning, gada, real_only


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Lists of phases with the lengths of the base."""
    one, two, three = base.phases
    last = finetuning(two.steps + three.steps).model_copy(update={"rate_factor": three.rate_factor})
    return {
        "baseline": {"phases": (direct(one.steps),)},
        "baseline, longer": {"phases": (direct(base.steps),)},
        "baseline, fine-tuned": {"phases": (direct(one.steps), last)},
        "baseline, all steps": {"phases": real_only(base.phases)},
        "phase 1": {"phases": (one,)},
        "phases 1+2": {"phases": (one, two)},
        "phases 1+2+3": {"phases": (one, two, three)},
        "phases 1+3": {"phases": (one, last)},
    }


STUDY = Study(
    question="Which phase of GADA helps: fine-tuning, longer training, or generated images?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast("baseline, longer", "baseline", "Does longer training at the full rate help?"),
        Contrast("baseline, fine-tuned", "baseline, longer", "Does fine-tuning help more than as many further steps?"),
        Contrast(
            "phases 1+2+3",
            "baseline, fine-tuned",
            "Are the three phases better than a fine-tuned baseline of as many steps?",
        ),
        Contrast(
            "phases 1+2+3",
            "baseline, all steps",
            "Are the three phases better than the same steps and rates on real images alone?",
        ),
    ),
    presets={
        "smoke": Preset(cost="8 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="40 trainings on 5 splits, first phases shared; about 15 minutes on 2 idle CPU cores",
            splits=5,
            values=MEDIUM,
        ),
        "paper": Preset(
            cost="8 variants x 10 splits, up to 45,000 steps each, phase 1 shared: about 25 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
