"""Does GADA reach the paper's numbers on LIVE, with the paper's protocol?

Table 2 of the paper reports SROCC .964 and PLCC .973 on LIVE (the paper's numbers).
The protocol is that of section 4.2: 128-pixel crops, batches of 64, ten 80/20 splits by reference, 30 test crops, rates
of 1e-4 and 5e-4, a tenth of them in phases 2 and 3, raw input. Phase lengths are ours: the paper gives none. Beside it
runs the control that the paper lacks: the same steps and rates on real images only. To be run as

    python tune.py --study paper_live --preset paper --dataset live --data-root FOLDER
"""

from gada_ray import SMOKE, Contrast, Preset, Study, real_only, recipe

STUDY = Study(
    question="Does GADA reach the paper's numbers on LIVE, with the paper's protocol?",
    base=recipe("paper", gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=lambda base: {"GADA": {}, "baseline, all steps": {"phases": real_only(base.phases)}},
    contrasts=(
        Contrast("GADA", "baseline, all steps", "Does GADA beat the same steps and rates on real images alone?"),
    ),
    presets={
        "smoke": Preset(cost="2 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
        "small": Preset(
            cost="4 trainings, far too short for the paper's numbers; about 40 minutes on 2 CPU cores",
            splits=2,
            values={"phases.gan.steps": 150, "phases.augmentation.steps": 50, "phases.finetuning.steps": 50},
        ),
        "paper": Preset(cost="2 variants x 10 splits, 45,000 steps each: about 30 GPU-hours", splits=10),
    },
)
