"""Should the backbone's input be raw pixels, locally normalised pixels (MSCN), or both?

The paper does not specify the input. Kang et al. (2014), whose split protocol it follows, use local contrast
normalisation. On the live20 subset a prototype of the direct baseline reached in 200 steps with MSCN what raw input
did not reach in 800 (docs/protocol.md), so this choice decides how long training takes. Expected: MSCN is best with
few steps; at the paper's length the difference shrinks, and "both" is safer for distortions that change mean or
contrast (TID2013 types 16 and 17).
"""

from gada_ray import NARROW, SMOKE, Contrast, Preset, Study, gada

STUDY = Study(
    question="Should the backbone's input be raw pixels, locally normalised pixels (MSCN), or both?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={kind: {"model.normalisation": kind} for kind in ("none", "mscn", "both")},
    contrasts=(
        Contrast("mscn", "none", "Is local normalisation better than raw pixels?"),
        Contrast("both", "mscn", "Are both inputs together better than local normalisation alone?"),
    ),
    presets={
        "smoke": Preset(cost="3 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="9 trainings of a narrow network; about 10 minutes on 2 CPU cores with the demo data",
            splits=3,
            values={
                **NARROW,
                "data.batch": 16,
                "phases.gan.steps": 300,
                "phases.augmentation.steps": 100,
                "phases.finetuning.steps": 100,
            },
        ),
        "paper": Preset(
            cost="3 variants x 10 splits, 45,000 steps each: about 15 GPU-hours", splits=10, values={"data.batch": 64}
        ),
    },
)
