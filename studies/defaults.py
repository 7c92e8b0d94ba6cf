"""Which crops, batch, learning rates and EMA decay are best for short trainings?

The direct baseline is trained for some hundred steps, as at the beginning of every study on a CPU. Optuna searches on
validation references inside the training part. The best candidate is then tested beside the defaults and beside the
previous defaults: uniform and unaligned crops, squared error, the paper's rate, and final-step weights. Expected:
sampling and alignment of the crops matter most, and the backbone needs a higher learning rate than the paper's 1e-4
at this length.
"""

from gada_ray import NARROW, SMOKE, Choice, Contrast, LogUniform, Preset, Study, TrainingConfig, direct

SPACE = {
    "data.aligned_fraction": Choice(0.0, 0.5, 1.0),
    "data.batch": Choice(8, 16, 32),
    "rates.discriminator": LogUniform(5e-5, 2e-3),
    "rates.evaluator": LogUniform(1e-4, 2e-3),
    "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
}
PREVIOUS = {
    "data.aligned_fraction": 0.0,
    "data.sampling": "uniform",
    "evaluation.sampling": "uniform",
    "data.batch": 16,
    "losses.quality": "mse",
    "rates.discriminator": 1e-4,
    "ema_decay": 0.0,
}

STUDY = Study(
    question="Which crops, batch, learning rates and EMA decay are best for short trainings?",
    base=TrainingConfig(phases=(direct(30_000),)),
    variants={"previous defaults": PREVIOUS, "defaults": {}, "searched": {}},
    searched=("searched",),
    contrasts=(
        Contrast("defaults", "previous defaults", "Are the defaults better than the previous ones?"),
        Contrast("searched", "defaults", "Does a search find better values than the defaults?"),
    ),
    presets={
        "smoke": Preset(
            cost="5 trainings of seconds; a functional test",
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
