"""Which patch size gives the best SROCC at an equal number of steps?

The paper trains and tests on 128-pixel crops (64 in its Table 1) and suspects that small crops cause its weak results
on local distortions (section 4.4), but reports no comparison. A larger crop shows more of a local distortion, at a
cost in proportion to its area; thirty small crops may cover as much. Expected: SROCC rises from 16 to 64 pixels and
then flattens; the gain is largest for local distortions.
"""

from gada_ray import NARROW, SMOKE, Contrast, LogUniform, Preset, Study, gada

RATES = {f"rates.{part}": LogUniform(1e-5, 2e-3) for part in ("discriminator", "generator", "classifier", "evaluator")}

STUDY = Study(
    question="Which patch size gives GADA the best SROCC, at an equal number of steps?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={f"{px} px": {"data.crop_px": px} for px in (16, 32, 64, 96, 128)},
    contrasts=(
        Contrast("64 px", "32 px", "Are 64-pixel patches better than 32-pixel ones?"),
        Contrast("96 px", "64 px", "Are 96-pixel patches better than 64-pixel ones?"),
        Contrast("128 px", "64 px", "Are 128-pixel patches better than 64-pixel ones?"),
    ),
    presets={
        "smoke": Preset(
            cost="2 trainings of seconds; a functional test",
            splits=1,
            variants=("32 px", "64 px"),
            values={path: value for path, value in SMOKE.items() if path != "data.crop_px"},
        ),
        "small": Preset(
            cost="9 trainings of a narrow network; about 3 minutes on 2 CPU cores with the demo data",
            splits=3,
            variants=("16 px", "32 px", "64 px"),
            values={
                **NARROW,
                "data.batch": 16,
                "evaluation.crops": 16,
                "evaluation.curve_points": 3,
                # A step of phase 1 takes as long as seven of phase 3. With so few steps, most is learned in phase 3,
                # at the full learning rate.
                "phases.gan.steps": 50,
                "phases.augmentation.steps": 30,
                "phases.finetuning.steps": 600,
                "phases.augmentation.rate_factor": 1.0,
                "phases.finetuning.rate_factor": 1.0,
            },
        ),
        "paper": Preset(
            cost="4 variants x (16 candidates + test) x 10 splits, 45,000 steps each: some hundred GPU-hours",
            splits=10,
            variants=("32 px", "64 px", "96 px", "128 px"),
            values={"data.batch": 64},
            space=RATES,
            candidates=16,
            generation=6,
        ),
    },
)
