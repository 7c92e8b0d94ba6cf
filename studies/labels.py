"""Does GADA save labels? What a training reaches with few labelled images, with and without generated ones.

The paper's title says that GADA is for few labels, and no table of it varies their number. Here 5, 10, 20, 40 and all
images of the training part are labelled, fewer among more, every class among them, reference by reference
(`--set data.labelled_by=random`: any). Of all others neither score nor pixels are used; "+ references" uses the
references of the whole training part, which have no scores. Every method has them in the same way, as a quarter of its
real crops, with quality 1 (LIVE's copies of references, which the paper keeps, do as much), and as many steps:

- baseline: labelled images alone, no references; baseline + references: with them
- GADA: with the references of the labelled images, distorted by the generator in phase 2; GADA + references: with all;
  with `--extra-references`, GADA + photographs: also unlabelled photographs
- procedural + references: phase 2 with distortions that nobody has to learn

Phase 2 has the full rate here, since it is to teach what few images could not. What it asks for was chosen for each
maker on validation references (docs/results.md): of the generator, qualities between the worst image of a class that
it saw and 1, since it knows no worse; of procedural distortions, which need no example, any quality between the worst
image of all and 1. "phase 1" is there so that others can start from it. Expected: little to gain above twenty images of
few kinds of distortion; the room is below, and where kinds are many.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, TrainingConfig, gada, real_only, with_values

NUMBERS = (5, 10, 20, 40, None)
REFERENCES = {"data.pristine_from": "training", "phases.augmentation.generated_from": "training"}
PROCEDURAL = {"phases.augmentation.generated_by": "procedural", "phases.augmentation.conditions": "uniform"}


def named(method: str, number: int | None) -> str:
    """The variant of a method that has some labelled images; a report finds the method before the comma."""
    return f"{method}, {number or 'all'} labelled"


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Every method with every number of labelled images."""
    methods: dict[str, Mapping[str, Any]] = {
        "phase 1": {"phases": base.phases[:1], "data.pristine_from": "training"},
        "baseline": {"phases": real_only(base.phases), "data.pristine_fraction": 0.0},
        "baseline + references": {"phases": real_only(base.phases), "data.pristine_from": "training"},
        "procedural + references": {**PROCEDURAL, **REFERENCES},
        "GADA": {},
        "GADA + references": REFERENCES,
        "GADA + photographs": {**REFERENCES, "phases.augmentation.generated_from": "extra"},
    }
    return {
        named(method, number): {**values, "data.labelled_images": number}
        for number in NUMBERS
        for method, values in methods.items()
    }


def some(*numbers: int | None) -> tuple[str, ...]:
    """The variants with some numbers of labelled images."""
    base = gada(1, 1, 1)
    return tuple(variant for variant, values in variants(base).items() if values["data.labelled_images"] in numbers)


STUDY = Study(
    question="Does GADA save labels?",
    base=with_values(
        gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
        {
            "data.pristine_fraction": 0.25,
            "phases.augmentation.conditions": "between",
            "phases.augmentation.rate_factor": 1.0,
        },
    ),
    variants=variants,
    contrasts=(
        *(
            Contrast(
                named("GADA + references", number),
                named("baseline + references", number),
                f"Does GADA help where {number or 'all'} images are labelled, and both have the same references?",
            )
            for number in NUMBERS
        ),
        *(
            Contrast(
                named("GADA + references", number),
                named("procedural + references", number),
                f"Does GADA help more than procedural distortions where {number} images are labelled?",
            )
            for number in (5, 20)
        ),
        Contrast(
            named("baseline + references", 5),
            named("baseline", 5),
            "Do references alone help where 5 images are labelled, with nothing generated?",
        ),
        Contrast(
            named("GADA + photographs", 20),
            named("GADA + references", 20),
            "Does GADA help more where it also has unlabelled photographs?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds (14 with photographs); shows that it runs, nothing else",
            splits=1,
            values=SMOKE,
            variants=some(5, None),
        ),
        "small": Preset(
            cost="75 trainings of up to 2,200 narrow steps; about an hour and three quarters on 2 CPU cores",
            splits=5,
            values={**SHORT, "phases.augmentation.steps": 1000, "evaluation.curve_points": 2},
            variants=tuple(variant for variant in some(5, 10, 20) if not variant.startswith("GADA,")),
        ),
        "paper": Preset(
            cost="30 variants (35 with photographs) x 10 splits, up to 45,000 steps, phase 1 shared: about 120 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
