"""Which grid of crops, batch, rates and decay of the average should short trainings use?

A direct training of some hundred steps, which every study on a CPU begins with in one form or another. Optuna proposes,
validation references inside the training part score, and the winner is tested once beside the values that the small
presets had by habit. Expected: crops on JPEG's grid are worth more than anything else, and the backbone wants a higher
rate than the paper's 1e-4 at this length.
"""

from gada_ray import NARROW, SMOKE, Choice, Contrast, LogUniform, Preset, Study, TrainingConfig, direct

SPACE = {
    "data.aligned_fraction": Choice(0.0, 0.5, 1.0),
    "data.batch": Choice(8, 16, 32),
    "rates.discriminator": LogUniform(5e-5, 2e-3),
    "rates.evaluator": LogUniform(1e-4, 2e-3),
    "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
}
HABIT = {"data.aligned_fraction": 0.0, "data.batch": 16, "rates.discriminator": 1e-4, "ema_decay": 0.0}

STUDY = Study(
    question="Which grid of crops, batch, rates and decay of the average should short trainings use?",
    base=TrainingConfig(phases=(direct(30_000),)),
    variants={"by habit": HABIT, "as by default": {}, "searched": {}},
    searched=("searched",),
    contrasts=(
        Contrast("as by default", "by habit", "Are our defaults better than the values by habit?"),
        Contrast("searched", "as by default", "Does a search find better values than our defaults?"),
    ),
    presets={
        "smoke": Preset(
            cost="trainings of seconds; shows that it runs, nothing else",
            splits=1,
            values={
                **{path: value for path, value in SMOKE.items() if not path.startswith("phases.")},
                "phases.direct.steps": 6,
            },
            space=SPACE,
            candidates=2,
        ),
        "small": Preset(
            cost="up to 75 trainings of 500 narrow steps and 15 tests; about 20 minutes on 2 CPU cores",
            splits=5,
            values={**NARROW, "data.batch": 16, "phases.direct.steps": 500, "evaluation.curve_points": 1},
            space=SPACE,
            candidates=15,
        ),
        "paper": Preset(
            cost="(40 candidates + 3) x 10 splits, 30,000 steps each: about 100 GPU-hours",
            splits=10,
            values={"data.batch": 32},
            space=SPACE,
            candidates=40,
        ),
    },
)
