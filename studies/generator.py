"""Does the generator help in phase 2, or would other additional images help as much?

All variants start from the same phase 1, bit by bit, and have the same phase 3; the variant "phase 1" stops there, so
that the others can start from its weights. They differ in the source of the generated images of phase 2. The paper
uses the frozen generator. The controls are the reference itself with the requested label (a generator without
effect), procedural distortions (augmentation without a GAN), a second batch of real crops (more real data in a step),
and a longer phase 3 in place of phase 2. If the generator helps, it is better than all four; if the reference itself
does as well, phase 2 acts as regularisation at most. With `--extra-references`, one variant also distorts unlabelled
photographs.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, Preset, Study, TrainingConfig, finetuning, gada


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Sources of the generated images of phase 2, with the phase lengths of the base."""
    one, two, three = base.phases
    controls = {
        "reference itself": "identity",
        "procedural distortions": "procedural",
        "real crops again": "real_crops",
    }
    return {
        "phase 1": {"phases": (one,)},
        "generator": {},
        "generator, extra photographs": {"phases.augmentation.generated_from": "extra"},
        **{name: {"phases.augmentation.generated_by": source} for name, source in controls.items()},
        "no phase 2, longer phase 3": {"phases": (one, finetuning(two.steps + three.steps))},
    }


STUDY = Study(
    question="Does the generator help in phase 2, or would other additional images help as much?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast(
            "generator",
            "reference itself",
            "Does the generator help more than the reference itself with the requested label?",
        ),
        Contrast("generator", "procedural distortions", "Does the generator help more than procedural distortions?"),
        Contrast("generator", "real crops again", "Does the generator help more than a second batch of real crops?"),
        Contrast(
            "generator",
            "no phase 2, longer phase 3",
            "Does phase 2 help more than as many steps of phase 3?",
        ),
        Contrast(
            "generator, extra photographs", "generator", "Does the generator help more with unlabelled photographs?"
        ),
    ),
    presets={
        "smoke": Preset(cost="6 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="30 trainings on 5 splits, phase 1 shared by all variants; about 40 minutes on 2 CPU cores",
            splits=5,
            values=MEDIUM,
        ),
        "paper": Preset(
            cost="6 variants x 10 splits, 45,000 steps, phase 1 shared: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
