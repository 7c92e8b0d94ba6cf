"""Do searched learning rates beat the four of section 4.2?

The paper gives 1e-4 for the discriminator and 5e-4 for generator, classifier and evaluator, without a reason. Optuna
searches all four, starting from the paper's, on validation references inside the training part. The best candidate is
then trained on the whole training part and tested beside the paper's rates. All other values are the recipe's.
Expected: the backbone's rate ("discriminator") matters most, since all heads share the backbone; the gain over the
paper's rates is within the noise between splits.
"""

from gada_ray import NARROW, SMOKE, Contrast, LogUniform, Preset, Study, gada, with_values

PAPER = {
    "rates.discriminator": 1e-4,
    "rates.generator": 5e-4,
    "rates.classifier": 5e-4,
    "rates.evaluator": 5e-4,
}
RATES = {path: LogUniform(1e-5, 5e-3) for path in PAPER}

STUDY = Study(
    question="Do searched learning rates beat those of the paper?",
    base=with_values(gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000), PAPER),
    variants={"paper's rates": {}, "searched rates": {}},
    searched=("searched rates",),
    contrasts=(Contrast("searched rates", "paper's rates", "Do searched learning rates beat those of the paper?"),),
    presets={
        "smoke": Preset(
            cost="trainings of seconds; a functional test",
            splits=1,
            values=SMOKE,
            space=RATES,
            candidates=2,
        ),
        "small": Preset(
            cost="54 trainings of a narrow network; about 20 minutes on 2 CPU cores with the demo data",
            splits=3,
            values={
                **NARROW,
                "data.crop_px": 48,
                "data.batch": 16,
                "evaluation.curve_points": 5,
                "phases.gan.steps": 150,
                "phases.augmentation.steps": 50,
                "phases.finetuning.steps": 50,
            },
            space=RATES,
            candidates=16,
        ),
        "paper": Preset(
            cost="(40 candidates + 2) x 10 splits, 45,000 steps each: some hundred GPU-hours",
            splits=10,
            values={"data.crop_px": 128, "data.batch": 64},
            space=RATES,
            candidates=40,
            generation=15,
        ),
    },
)
