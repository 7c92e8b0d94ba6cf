"""Should the backbone see raw pixels, locally normalised ones, or both?

The paper says nothing of its input; Kang et al., whose split protocol it follows, divide out local mean and contrast.
On the live20 subset a prototype of the direct baseline reached in 200 steps with "mscn" what raw input did not reach in
800 (docs/protocol.md), so this choice decides how long training takes. Expected: "mscn" first at few steps; at the
paper's length the gap closes, and "both" is safer where a distortion changes mean or contrast (TID2013 #16, #17).
"""

from gada_ray import NARROW, SMOKE, Contrast, Preset, Study, gada

STUDY = Study(
    question="Should the backbone see raw pixels, locally normalised ones, or both?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={kind: {"model.normalisation": kind} for kind in ("none", "mscn", "both")},
    contrasts=(
        Contrast("mscn", "none", "Does local normalisation beat raw pixels?"),
        Contrast("both", "mscn", "Do raw pixels beside the normalised ones beat these alone?"),
    ),
    presets={
        "smoke": Preset(cost="3 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
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
