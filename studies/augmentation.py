"""With which phase 2 do generated images help most, and is that better than real images alone?

GADA's phase 2 has a weight of generated crops, a rule for the classes and qualities that are asked of the generator,
and references to start from. Optuna searches them on validation references inside the training part, with a ranking
term of the generator's pairs as a further choice: first the recipe's values, then one change at a time, then candidates
of its own. All candidates start from one phase 1 for each split. The best candidate is then tested beside the recipe's
phase 2 and beside a baseline with the same steps and rates on real crops alone. The learning rate of phase 2 is not
searched, since the baseline would need the same; instead both are tried at the full rate and at a third of it, in place
of a tenth. Expected: a smaller weight of generated crops does less harm, no phase 2 is better than the baseline by
0.01, and a higher rate is worth as much without generated images as with them.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import (
    MEDIUM,
    RANKING_WEIGHT,
    SMOKE,
    Choice,
    Contrast,
    PhaseConfig,
    Preset,
    Study,
    TrainingConfig,
    gada,
    real_only,
    with_values,
)

PHASE = "phases.augmentation"
SPACE = {
    f"{PHASE}.generated_weight": Choice(0.25, 0.5, 1.0),
    f"{PHASE}.conditions": Choice("paired", "empirical", "between"),
    f"{PHASE}.generated_from": Choice("labelled", "training"),
    f"{PHASE}.ranking.weight": Choice(0.0, RANKING_WEIGHT),
}
ONE_AT_A_TIME = (
    {f"{PHASE}.generated_weight": 0.25},
    {f"{PHASE}.conditions": "paired"},
    {f"{PHASE}.conditions": "between"},
    {f"{PHASE}.generated_from": "training"},
    {f"{PHASE}.ranking.weight": RANKING_WEIGHT},
)


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """The recipe's phase 2, a searched one, real crops alone, and other rates of phase 2 with and without GADA."""

    def at_rate(factor: float) -> tuple[PhaseConfig, ...]:
        one, two, three = base.phases
        return one, two.model_copy(update={"rate_factor": factor}), three

    rates = {"a third of the rate": 0.3, "the full rate": 1.0}
    return {
        "phase 1": {"phases": base.phases[:1]},  # shorter; the others start from its weights
        "baseline, all steps": {"phases": real_only(base.phases)},
        **{f"baseline, phase 2 at {name}": {"phases": real_only(at_rate(factor))} for name, factor in rates.items()},
        "GADA": {},
        **{f"GADA, phase 2 at {name}": {"phases": at_rate(factor)} for name, factor in rates.items()},
        "searched": {},
    }


STUDY = Study(
    question="With which phase 2 do generated images help most, and is that better than real images alone?",
    base=with_values(
        gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
        {f"{PHASE}.ranking.made_by": "generator"},
    ),
    variants=variants,
    searched=("searched",),
    contrasts=(
        Contrast("GADA", "baseline, all steps", "Do generated images help with the recipe's phase 2?"),
        Contrast("searched", "baseline, all steps", "Do they help with a phase 2 that validation references chose?"),
        Contrast("searched", "GADA", "Is the searched phase 2 better than the recipe's?"),
        Contrast(
            "GADA, phase 2 at a third of the rate",
            "baseline, phase 2 at a third of the rate",
            "Do they help at a third of the rate?",
        ),
        Contrast(
            "GADA, phase 2 at the full rate", "baseline, phase 2 at the full rate", "Do they help at the full rate?"
        ),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds; a functional test",
            splits=1,
            values=SMOKE,
            space=SPACE,
            candidates=3,
            first=ONE_AT_A_TIME,
        ),
        "small": Preset(
            cost="up to 100 trainings on 5 splits, phase 1 shared; about 90 minutes on 2 idle CPU cores",
            splits=5,
            values={**MEDIUM, "evaluation.curve_points": 1},
            space=SPACE,
            candidates=12,
            first=ONE_AT_A_TIME,
        ),
        "paper": Preset(
            cost="(24 candidates + 8) x 10 splits, 45,000 steps, phase 1 shared: about 80 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
            space=SPACE,
            candidates=24,
            first=ONE_AT_A_TIME,
        ),
    },
)
