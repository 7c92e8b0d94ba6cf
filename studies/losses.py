"""Which losses matter, and do the images that the discriminator's heads learn from have to be generated ones too?

The paper gives no weights, and its authors moved along these axes. One change a level: the weight of generated crops in
L_C and L_E (1 in the paper's sum, 0 leaves both to real crops), the form of L_S and of L_E, the weight of the L1 term,
and L_C and L_E in the generator's own loss. Expected: the quality heads care little for the form of L_S; without the L1
term the generator has nothing that ties it to the distortion's strength.
"""

from gada_ray import SHORT, SMOKE, Preset, Study, gada

STUDY = Study(
    question="Which losses matter, in their form and in their weight?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    levels={
        "as by default": {},
        "heads learn from real crops only in phase 1": {"phases.gan.generated_weight": 0.0},
        "generated crops count a tenth": {
            "phases.gan.generated_weight": 0.1,
            "phases.augmentation.generated_weight": 0.1,
        },
        "hinge": {"losses.adversarial": "hinge"},
        "least squares": {"losses.adversarial": "lsgan"},
        "no adversary": {"losses.adversarial_weight": 0.0},
        "no L1": {"losses.l1_weight": 0.0},
        "quality by L1": {"losses.quality": "l1"},
        "quality by Huber": {"losses.quality": "huber"},
        "generator without L_C and L_E": {"losses.generator_class_weight": 0.0, "losses.generator_quality_weight": 0.0},
    },
    presets={
        "smoke": Preset(cost="10 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
        "small": Preset(
            cost="30 trainings of about 1,500 narrow steps; about 2 hours on 2 CPU cores",
            splits=3,
            values=SHORT,
        ),
        "paper": Preset(
            cost="10 levels x 10 splits, 45,000 steps: about 80 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
