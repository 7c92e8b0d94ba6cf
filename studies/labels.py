"""Does GADA save labels? What a training reaches with few rated images, with and without generated ones.

The paper's title says that GADA is for few labels, and no table of it varies their number. Here 5, 10, 20, 40 and all
images of the training part are rated, fewer among more, every class among them, reference by reference
(`--set data.rated_by=random`: any). Each number meets trainings of equal steps: real images alone, and hand-made
distortions or GADA in phase 2, on the references of the rated images or also on the training references whose scores
are withheld; with `--extra-references`, GADA also on photographs that nobody rated. Of withheld images neither score
nor pixels are used. "phase 1" is there so that three of these can start from it. Expected: little
above twenty images of few kinds of distortion; the room is below, and where kinds are many.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, TrainingConfig, gada, real_only

NUMBERS = (5, 10, 20, 40, None)
HAND_MADE = {"phases.augmentation.generated_by": "procedures"}
WITHHELD = {"phases.augmentation.generated_from": "training"}


def named(method: str, number: int | None) -> str:
    """The level of a method that has some rated images; a report finds the method before the comma."""
    return f"{method}, {number or 'all'} rated"


def levels(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Every method with every number of rated images; with all of them nothing is withheld."""
    methods: dict[str, Mapping[str, Any]] = {
        "phase 1": {"phases": base.phases[:1]},
        "baseline": {"phases": real_only(base.phases)},
        "hand-made": HAND_MADE,
        "hand-made + withheld": {**HAND_MADE, **WITHHELD},
        "GADA": {},
        "GADA + withheld": WITHHELD,
        "GADA + photographs": {"phases.augmentation.generated_from": "extra"},
    }
    return {
        named(method, number): {**values, "data.rated_images": number}
        for number in NUMBERS
        for method, values in methods.items()
        if number or not method.endswith("withheld")
    }


def some(*numbers: int | None) -> tuple[str, ...]:
    """The levels with some numbers of rated images."""
    base = gada(1, 1, 1)
    return tuple(level for level, values in levels(base).items() if values["data.rated_images"] in numbers)


STUDY = Study(
    question="Does GADA save labels?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    levels=levels,
    contrasts=(
        *(
            Contrast(
                named("GADA + withheld", number),
                named("baseline", number),
                f"Does GADA help where {number} images are rated, and other references are there without scores?",
            )
            for number in (5, 20)
        ),
        Contrast(
            named("GADA", 20),
            named("baseline", 20),
            "Does GADA help where 20 images are rated, and there is nothing else?",
        ),
        Contrast(
            named("GADA + withheld", 20),
            named("hand-made + withheld", 20),
            "Does GADA help more than hand-made distortions where 20 images are rated, and both have other references?",
        ),
        Contrast(
            named("GADA + photographs", 20),
            named("baseline", 20),
            "Does GADA help where 20 images are rated, and there are photographs that nobody rated?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="10 trainings of seconds; shows that it runs, nothing else",
            splits=1,
            values=SMOKE,
            levels=some(5, None),
        ),
        "small": Preset(
            cost="80 trainings of up to 1,500 narrow steps; about an hour and three quarters on 2 CPU cores",
            splits=5,
            values={**SHORT, "evaluation.curve_points": 2},
            levels=some(5, 20, None),
        ),
        "paper": Preset(
            cost="28 levels x 10 splits, up to 45,000 steps, phase 1 shared: about 90 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
