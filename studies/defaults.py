"""Which crops, loss, normalisation, batch and fine-tuning are best for short trainings of the direct baseline?

The direct baseline is trained for 2,000 steps and fine-tuned for 500, as in other studies on a CPU. Optuna searches on
validation references inside the training part: first the defaults, then one change of them at a time, then candidates
of its own. The table of candidates shows what each change is worth. The best candidate is then tested beside the
defaults, beside variants that change one default each, and beside the previous defaults: aligned crops, uniform
sampling, squared error and no fine-tuning. All variants have the same number of steps.

Test crops are aligned to the 8x8 JPEG grid and unaligned in turn, except in the two variants "aligned test". A
network that learns from aligned crops alone scores best on aligned test crops, and fails on images that were cropped
after compression. Mixed test crops show both, so that a search does not choose aligned crops for that reason alone.
Expected: fine-tuning and sampling by activity in the test help most, unaligned crops cost little on aligned images, and
the search adds little.
"""

from gada_ray import SHORT_BASELINE, SMOKE_BASELINE, Choice, Contrast, Preset, Study, baseline, with_values

UNIFORM_TEST = {"evaluation.sampling": "uniform"}
PREVIOUS = {
    **UNIFORM_TEST,
    "data.aligned_fraction": 1.0,
    "data.sampling": "uniform",
    "losses.quality": "mse",
    "phases.finetuning.trains": ("backbone", "classifier", "evaluator"),
    "phases.finetuning.rate_factor": 1.0,
}
SPACE = {
    "data.aligned_fraction": Choice(0.0, 0.5, 1.0),
    "data.sampling": Choice("uniform", "saliency", "activity"),
    "data.temperature": Choice(0.25, 0.5, 1.0),
    "data.batch": Choice(8, 16, 32),
    "data.crop_px": Choice(48, 64, 96),
    "model.normalisation": Choice("mscn", "both"),
    "losses.quality": Choice("l1", "mse", "huber"),
    "phases.finetuning.rate_factor": Choice(0.1, 0.3, 1.0),
    "evaluation.sampling": Choice("uniform", "saliency", "activity"),
    "evaluation.temperature": Choice(0.25, 0.5, 1.0),
}

ONE_AT_A_TIME = (
    {"data.aligned_fraction": 1.0},
    {"data.aligned_fraction": 0.0},
    {"data.sampling": "uniform"},
    {"data.temperature": 1.0},
    {"data.batch": 32},
    {"data.crop_px": 96},
    {"data.crop_px": 48},
    {"model.normalisation": "both"},
    {"losses.quality": "mse"},
    {"losses.quality": "huber"},
    {"phases.finetuning.rate_factor": 1.0},
    {"evaluation.sampling": "uniform"},
    {"evaluation.temperature": 0.25},
    {"evaluation.temperature": 1.0},
)

STUDY = Study(
    question="Which crops, loss, normalisation, batch and fine-tuning are best for short trainings?",
    base=with_values(baseline(direct_steps=30_000, finetuning_steps=5_000), {"evaluation.alignment": "mixed"}),
    variants={
        "previous defaults, aligned test": {**PREVIOUS, "evaluation.alignment": "aligned"},
        "previous defaults": PREVIOUS,
        "defaults": {},
        "defaults, aligned test": {"evaluation.alignment": "aligned"},
        "uniform crops in the test": UNIFORM_TEST,
        "uniform crops": {**UNIFORM_TEST, "data.sampling": "uniform"},
        "aligned crops": {"data.aligned_fraction": 1.0},
        "squared error": {"losses.quality": "mse"},
        "no fine-tuning": {path: value for path, value in PREVIOUS.items() if path.startswith("phases.")},
        "image beside MSCN": {"model.normalisation": "both"},
        "searched": {},
    },
    searched=("searched",),
    contrasts=(
        Contrast("defaults", "previous defaults", "Are the defaults better on aligned and unaligned crops?"),
        Contrast(
            "defaults, aligned test",
            "previous defaults, aligned test",
            "Are the defaults better than the previous ones on aligned crops alone?",
        ),
        Contrast("defaults", "no fine-tuning", "Does fine-tuning help at equal steps?"),
        Contrast("defaults", "uniform crops in the test", "Does sampling by activity help in the test?"),
        Contrast("defaults", "squared error", "Is the absolute error better than the squared error?"),
        Contrast("searched", "defaults", "Does a search find better values than the defaults?"),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds; a functional test",
            splits=1,
            values={**SMOKE_BASELINE, "data.crop_px": 48},
            space=SPACE,
            candidates=2,
            first=ONE_AT_A_TIME,
        ),
        "small": Preset(
            cost="up to 150 trainings of 2,500 narrow steps on 5 splits; at most 80 minutes on 2 idle CPU cores",
            splits=5,
            values={**SHORT_BASELINE, "evaluation.curve_points": 1},
            space=SPACE,
            candidates=20,
            first=ONE_AT_A_TIME,
        ),
        "paper": Preset(
            cost="(40 candidates + 10) x 10 splits, 35,000 steps each: about 120 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 32},
            space=SPACE,
            candidates=40,
            first=ONE_AT_A_TIME,
        ),
    },
)
