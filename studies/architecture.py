"""Which choices of the network matter, among those that the paper leaves open?

The paper's text admits readings of the last convolution that differ 128 times in size. It does not specify the
normalisation between layers, the layers of the decoder, or the size of the noise z. Every variant changes one of
these; variants named "plain" change the decoder of the paper's auto-encoder. Expected: choices of the generator
change its conditioning fidelity, and choices of the heads change SROCC.
"""

from gada_ray import SHORT, SMOKE, Preset, Study, gada

PLAIN = {"model.generator": "plain"}

STUDY = Study(
    question="Which choices of the network matter, among those that the paper leaves open?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={
        "default": {},
        "full-size last convolution": {"model.head": "valid"},
        "flattened feature maps": {"model.head": "flatten"},
        "heads at every location": {"model.head": "dense"},
        "instance normalisation": {"model.norm": "instance"},
        "spectral normalisation": {"model.norm": "spectral"},
        "no normalisation": {"model.norm": "none"},
        "no noise": {"model.noise_dim": 0},
        "plain generator": PLAIN,
        "plain, conditioned at input and bottleneck": {**PLAIN, "model.condition_at": "both"},
        "plain, no skip connections": {**PLAIN, "model.skips": False},
        "plain, resizing decoder": {**PLAIN, "model.upsampling": "resize"},
        "plain, residual output": {**PLAIN, "model.output": "residual"},
        "plain, noise at every location": {**PLAIN, "model.noise_map": True},
    },
    presets={
        "smoke": Preset(cost="14 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="42 trainings of about 1,500 narrow steps; about 3 hours on 2 CPU cores",
            splits=3,
            values=SHORT,
        ),
        "paper": Preset(
            cost="14 variants x 10 splits, 45,000 steps: about 110 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
