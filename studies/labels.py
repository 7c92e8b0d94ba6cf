"""Does GADA save labels? SROCC with few labelled images, with and without generated images.

The paper proposes GADA for small databases, and no table of it varies the number of labels. Here 5, 10, 20, 40 or all
images of the training part are labelled. Smaller sets are subsets of larger ones, hold every class, and are labelled
reference by reference (`--set data.labelled_by=random`: at random). Neither scores nor pixels of other images are
used. "+ references" adds the references of the whole training part, which have no scores. All methods use them in the
same way, as pristine images with quality 1 in a quarter of the real crops (as LIVE's copies of references in the
paper), and have the same number of steps:

- baseline: labelled images only; baseline + references: also pristine references
- GADA: the generator distorts the references of the labelled images in phase 2; GADA + references: all references;
  GADA + photographs (with `--extra-references`): also unlabelled photographs
- procedural + references: procedural distortions in phase 2

Phase 2 has the full learning rate, since few labelled images train the network too little before it. The requested
qualities were chosen for each source on validation references (docs/results.md): for the generator between the lowest
label of a class and 1; for procedural distortions, which need no example, between the lowest label of all and 1. The
variant "phase 1" exists so that others start from its weights. Expected: little gain above twenty images of few
distortion classes, and more below or with many classes.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, TrainingConfig, gada, real_only, with_values

NUMBERS = (5, 10, 20, 40, None)
REFERENCES = {"data.pristine_from": "training", "phases.augmentation.generated_from": "training"}
PROCEDURAL = {"phases.augmentation.generated_by": "procedural", "phases.augmentation.conditions": "uniform"}


def named(method: str, number: int | None) -> str:
    """Name of a method's variant with some labelled images; reports read the method before the comma."""
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
    """Names of the variants with these numbers of labelled images."""
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
                f"Does GADA help with {number or 'all'} labelled images and the same references?",
            )
            for number in NUMBERS
        ),
        *(
            Contrast(
                named("GADA + references", number),
                named("procedural + references", number),
                f"Does GADA help more than procedural distortions with {number} labelled images?",
            )
            for number in (5, 20)
        ),
        Contrast(
            named("baseline + references", 5),
            named("baseline", 5),
            "Do references alone help with 5 labelled images?",
        ),
        Contrast(
            named("GADA + photographs", 20),
            named("GADA + references", 20),
            "Does GADA help more with unlabelled photographs?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds (14 with photographs); a functional test",
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
            cost="30 variants (35 with photographs) x 10 splits, up to 45,000 steps: about 120 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
