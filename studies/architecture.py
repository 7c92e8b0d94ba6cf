"""Which choices of the network matter, among those that the paper leaves open?

The paper's text admits readings of its last convolution that differ 128 times in size, and says nothing of the
normalisation between layers, of what the decoder is made of, or of how large z is. One change a variant; what concerns
the decoder of the paper's auto-encoder changes that one. Expected: the generator's choices move how well it draws, the
heads' how well images are judged.
"""

from gada_ray import SHORT, SMOKE, Preset, Study, gada

PLAIN = {"model.generator": "plain"}

STUDY = Study(
    question="Which choices of the network matter, among those that the paper leaves open?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={
        "as by default": {},
        "last convolution as large as its input": {"model.head": "valid"},
        "maps flattened": {"model.head": "flatten"},
        "heads at every location": {"model.head": "dense"},
        "instance norm": {"model.norm": "instance"},
        "spectral norm": {"model.norm": "spectral"},
        "no norm": {"model.norm": "none"},
        "no z": {"model.noise_dim": 0},
        "plain generator": PLAIN,
        "plain, condition at input and bottleneck": {**PLAIN, "model.condition_at": "both"},
        "plain, no skips": {**PLAIN, "model.skips": False},
        "plain, resizing decoder": {**PLAIN, "model.upsampling": "resize"},
        "plain, change of the reference": {**PLAIN, "model.output": "residual"},
        "plain, z at every location": {**PLAIN, "model.noise_map": True},
    },
    presets={
        "smoke": Preset(cost="14 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
        "small": Preset(
            cost="42 trainings of about 1,500 narrow steps; about 3 hours on 2 CPU cores",
            splits=3,
            values=SHORT,
        ),
        "paper": Preset(
            cost="14 variants x 10 splits, 45,000 steps: about 110 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
