"""Does GADA reach the paper's numbers on LIVE with the paper's protocol?

Table 2 of the paper reports SROCC 0.964 and PLCC 0.973. The recipe "paper" takes the text of sections 3.2 to 4.2 at
its word: 128-pixel crops, batches of 64, ten 80/20 splits by reference, 30 test crops, rates of 1e-4 and 5e-4, a
tenth of them in phases 2 and 3, raw input. The paper gives no phase lengths; these are ours. The control, which the
paper lacks, has the same steps and rates on real images only. Run it by

    python tune.py --study paper_live --preset paper --dataset live --data-root FOLDER
"""

from gada_ray import SMOKE, Contrast, Preset, Study, gada, real_only

STUDY = Study(
    question="Does GADA reach the paper's numbers on LIVE, with the paper's protocol?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    recipe="paper",
    variants=lambda base: {"GADA": {}, "baseline, all steps": {"phases": real_only(base.phases)}},
    contrasts=(
        Contrast("GADA", "baseline, all steps", "Is GADA better than the same steps and rates on real images alone?"),
    ),
    presets={
        "smoke": Preset(cost="2 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="4 trainings, far too short for the paper's numbers; about 40 minutes on 2 CPU cores",
            splits=2,
            values={"phases.gan.steps": 150, "phases.augmentation.steps": 50, "phases.finetuning.steps": 50},
        ),
        "paper": Preset(cost="2 variants x 10 splits, 45,000 steps each: about 30 GPU-hours", splits=10),
    },
)
