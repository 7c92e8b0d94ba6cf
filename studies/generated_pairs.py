"""Can a generator that learned from 40 labels make pairs whose order is worth learning?

GADA's generator makes two crops of one reference and class, at two requested qualities, and phase 2 learns their order;
it regresses on no generated crop. Pairs may be wrong where the generator does not do as it is asked. Optuna searches on
validation references inside the training part, again with 40 labels: pairs far apart in requested quality (at least
half of the range of the class's labels), pairs whose worse crop also differs more from the reference, both, and the
weight of the term. The best candidate is then tested beside all pairs, beside the two restrictions, and beside a
baseline of as many steps on real crops alone. "strengths first" trains the generator, and the quality network with it,
on procedural distortions before phase 1; its baseline starts from the same weights. Expected: with eight classes the
generator's order is too often wrong to help; restricted to pairs that agree with the strength of the change, it does
no harm; a generator that knew strengths before labels makes better pairs.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import (
    FEW_LABELS_GADA,
    RANKING_WEIGHT,
    SMOKE,
    Choice,
    Contrast,
    Preset,
    Study,
    TrainingConfig,
    gada,
    real_only,
    with_values,
)

TERM = "phases.augmentation.ranking"
FAR, CHECKED = {f"{TERM}.least_difference": 0.5}, {f"{TERM}.only_stronger": True}
SPACE = {
    f"{TERM}.least_difference": Choice(0.0, 0.5),
    f"{TERM}.only_stronger": Choice(False, True),
    f"{TERM}.weight": Choice(0.4, RANKING_WEIGHT),
}
ONE_AT_A_TIME = (FAR, CHECKED, {**FAR, **CHECKED}, {f"{TERM}.weight": 0.4})


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """All pairs, restricted ones, no pairs with as many steps, and both after a phase on procedural distortions."""
    start = base.phases[0].model_copy(
        update={"name": "strengths", "real_images": "procedural", "skip_unmatched": True},
    )
    return {
        "phase 1": {"phases": base.phases[:1]},  # shorter; the others start from its weights
        "strengths": {"phases": (start,)},  # shorter; the next two start from its weights
        "baseline, strengths first": {"phases": (start, *real_only(base.phases))},
        "all pairs, strengths first": {"phases": (start, *base.phases)},
        "baseline": {"phases": real_only(base.phases)},
        "all pairs": {},
        "far apart": FAR,
        "stronger change": CHECKED,
        "searched": {},
    }


STUDY = Study(
    question="Can a generator that learned from 40 labels make pairs whose order is worth learning?",
    base=with_values(
        gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
        {
            "data.labelled_images": 40,
            "data.labelled_by": "random",
            "phases.augmentation.images": "real",
            "phases.augmentation.rate_factor": 1.0,
            f"{TERM}.weight": RANKING_WEIGHT,
            f"{TERM}.made_by": "generator",
        },
    ),
    variants=variants,
    searched=("searched",),
    contrasts=(
        Contrast("all pairs", "baseline", "Do all pairs of the generator help?"),
        Contrast("searched", "baseline", "Do pairs help that were searched on validation references?"),
        Contrast("searched", "all pairs", "Are searched pairs better than all with the default weight?"),
        Contrast(
            "all pairs, strengths first",
            "baseline, strengths first",
            "Do pairs help of a generator that first learned strengths from procedural distortions?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="11 trainings of seconds; a functional test",
            splits=1,
            values={**SMOKE, "data.labelled_images": 10},
            space=SPACE,
            candidates=2,
            first=ONE_AT_A_TIME,
        ),
        "small": Preset(
            cost="up to 75 trainings of 1,000 or 1,600 narrow steps on 5 splits; about an hour on 2 idle CPU cores",
            splits=5,
            values={**FEW_LABELS_GADA, "evaluation.curve_points": 1},
            space=SPACE,
            candidates=6,
            first=ONE_AT_A_TIME,
        ),
        "paper": Preset(
            cost="(7 candidates + 9) x 10 splits, 45,000 steps or more each: about 80 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
            space=SPACE,
            candidates=7,
            first=ONE_AT_A_TIME,
        ),
    },
)
