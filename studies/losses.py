"""Which losses matter, in form and weight?

The paper gives no weights. Every variant changes one choice: the weight of generated crops in L_C and L_E (1 in the
paper's sum; in phase 1, 0 leaves both to real crops), the discriminator and the form of L_S, the form and weight of
L_E, the terms that compare generated crops with real distorted ones, and the teacher and weights of L_C and L_E in
the generator's loss. Expected: SROCC depends little on the form of L_S. The effect of the losses on the generator
itself is the subject of the study `conditioning`.
"""

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, gada

STUDY = Study(
    question="Which losses matter, in form and weight?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={
        "default": {},
        "generated crops train the heads in phase 1": {"phases.gan.generated_weight": 1.0},
        "generated crops at weight 0.1 in phase 2": {"phases.augmentation.generated_weight": 0.1},
        "no adversary": {"losses.adversarial_weight": 0.0},
        "source head on the backbone": {"model.discriminator": "backbone", "losses.adversarial_weight": 0.05},
        "L_S: cross-entropy": {"losses.adversarial": "bce"},
        "L_S: least squares": {"losses.adversarial": "lsgan"},
        "no L1": {"losses.l1_weight": 0.0},
        "no statistics": {"losses.statistics_weight": 0.0},
        "no spectrum": {"losses.spectrum_weight": 0.0},
        "L_E: squared error": {"losses.quality": "mse"},
        "L_E: Huber": {"losses.quality": "huber"},
        "L_E at weight 10": {"losses.quality_weight": 10.0},
        "online teacher": {"losses.generator_teacher": "online"},
        "no L_C and L_E for the generator": {
            "losses.generator_class_weight": 0.0,
            "losses.generator_quality_weight": 0.0,
        },
    },
    contrasts=(
        Contrast("default", "no adversary", "Does the adversary improve SROCC?"),
        Contrast(
            "generated crops at weight 0.1 in phase 2",
            "default",
            "Do generated crops help more at a tenth of the weight?",
        ),
    ),
    presets={
        "smoke": Preset(cost="15 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="45 trainings of about 1,500 narrow steps; about 3 hours on 2 CPU cores",
            splits=3,
            values=SHORT,
        ),
        "paper": Preset(
            cost="15 variants x 10 splits, 45,000 steps: about 110 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
