"""Which losses matter, and do the images that the discriminator's heads learn from have to be generated ones too?

The paper gives no weights, and its authors moved along these axes. One change a variant: the weight of generated crops in
L_C and L_E (1 in the paper's sum, 0 leaves both to real crops), an adversary and the form of L_S, the form of L_E, the
terms that tie generated crops to the true ones, and L_C and L_E in the generator's own loss, taught by the quality network's
average or by its weights in training. Expected: the quality heads care little for the form of L_S. What the losses make
of the generator itself is the question of the study `conditioning`.
"""

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, gada

STUDY = Study(
    question="Which losses matter, in their form and in their weight?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={
        "as by default": {},
        "heads learn from generated crops in phase 1": {"phases.gan.generated_weight": 1.0},
        "generated crops count a tenth": {
            "phases.augmentation.generated_weight": 0.1,
        },
        "no adversary": {"losses.adversarial_weight": 0.0},
        "adversary on the backbone": {"model.discriminator": "backbone", "losses.adversarial_weight": 0.05},
        "adversary, cross-entropy": {"losses.adversarial": "bce"},
        "adversary, least squares": {"losses.adversarial": "lsgan"},
        "no L1": {"losses.l1_weight": 0.0},
        "no statistics": {"losses.statistics_weight": 0.0},
        "no spectrum": {"losses.spectrum_weight": 0.0},
        "quality by squared error": {"losses.quality": "mse"},
        "quality counts ten times": {"losses.quality_weight": 10.0},
        "quality by Huber": {"losses.quality": "huber"},
        "taught by the quality network in training": {"losses.generator_teacher": "online"},
        "generator without L_C and L_E": {"losses.generator_class_weight": 0.0, "losses.generator_quality_weight": 0.0},
    },
    contrasts=(
        Contrast("as by default", "no adversary", "Does the adversary help?"),
        Contrast(
            "generated crops count a tenth", "as by default", "Do generated crops help more when they count a tenth?"
        ),
    ),
    presets={
        "smoke": Preset(cost="15 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
        "small": Preset(
            cost="45 trainings of about 1,500 narrow steps; about 3 hours on 2 CPU cores",
            splits=3,
            values=SHORT,
        ),
        "paper": Preset(
            cost="15 variants x 10 splits, 45,000 steps: about 110 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
