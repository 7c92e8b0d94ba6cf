"""Which weight, margin and pairs suit the ranking term with 40 labelled images?

The direct baseline learns from 40 random labels and from pairs of procedural distortions, for 1,000 steps. Optuna
searches the term of its first phase on validation references inside the training part, again with 40 labels in
training: first the values of a prototype, then one change at a time, then larger margins with pairs of two pictures,
then candidates of its own. Pairs are of one picture, or some or all worse crops show another picture at a much greater
strength, so that quality depends less on what a picture shows. The fine-tuning keeps the prototype's term. The best
candidate is then tested beside that term and the baseline without one. It gave today's default margin. Expected: any
moderate weight that fixes the order of strengths does, and pairs of two pictures help where predictions depend on the
scene.
"""

from gada_ray import (
    FEW_LABELS,
    RANKING_WEIGHT,
    SMOKE_BASELINE,
    Choice,
    Contrast,
    Preset,
    Study,
    few_labels,
    with_values,
)

TERM = "phases.direct.ranking"
SPACE = {
    f"{TERM}.weight": Choice(0.4, RANKING_WEIGHT, 3.6),
    f"{TERM}.margin": Choice(0.01, 0.03, 0.09, 0.18),
    f"{TERM}.pairs": Choice(8, 16, 32),
    f"{TERM}.other_picture": Choice(0.0, 0.5, 1.0),
}
FIRST = (
    {f"{TERM}.weight": 0.4},
    {f"{TERM}.weight": 3.6},
    {f"{TERM}.margin": 0.01},
    {f"{TERM}.margin": 0.09},
    {f"{TERM}.pairs": 8},
    {f"{TERM}.pairs": 32},
    {f"{TERM}.other_picture": 0.5},
    {f"{TERM}.other_picture": 1.0},
    {f"{TERM}.margin": 0.18},
    {f"{TERM}.margin": 0.09, f"{TERM}.other_picture": 1.0},
    {f"{TERM}.margin": 0.18, f"{TERM}.other_picture": 1.0},
)
"""Changes of the prototype's values that are tried first."""

STUDY = Study(
    question="Which weight, margin and pairs suit the ranking term with 40 labelled images?",
    base=with_values(
        few_labels(40_000, 5_000),
        {
            "data.labelled_images": 40,
            "data.labelled_by": "random",
            f"{TERM}.margin": 0.03,
            "phases.finetuning.ranking.margin": 0.03,
        },
    ),
    variants={
        "baseline": {f"{TERM}.weight": 0.0, "phases.finetuning.ranking.weight": 0.0},
        "ranking": {},
        "searched": {},
    },
    searched=("searched",),
    contrasts=(
        Contrast("ranking", "baseline", "Does the ranking term help with the values of the prototype?"),
        Contrast("searched", "ranking", "Does a search find better values than these?"),
    ),
    presets={
        "smoke": Preset(
            cost="6 trainings of seconds; a functional test",
            splits=1,
            values={**SMOKE_BASELINE, "data.labelled_images": 10},
            space=SPACE,
            candidates=3,
            first=FIRST,
        ),
        "small": Preset(
            cost="up to 85 trainings of 1,000 narrow steps on 5 splits; about an hour on 2 idle CPU cores",
            splits=5,
            values={**FEW_LABELS, "evaluation.curve_points": 1},
            space=SPACE,
            candidates=14,
            first=FIRST,
        ),
        "paper": Preset(
            cost="(20 candidates + 3) x 10 splits, 45,000 steps each: about 90 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
            space=SPACE,
            candidates=20,
            first=FIRST,
        ),
    },
)
