"""How do other shallow networks perform under this protocol, and do generated images help them too?

Table 2 of the paper quotes other methods from their authors, who used other splits, labels and test crops. Here all
are trained and tested on the same splits: the CNN of Kang et al. (2014) and DIQaM-NR of Bosse et al. (2018), each
with its authors' 32-pixel patches and absolute error and without a classifier; the direct baseline and GADA; and both
networks as the backbone of GADA. BRISQUE is the classical baseline below the table. All have the same number of
steps, and in the small preset the same number of pixels in a step: 16 crops of 64 pixels or 64 patches of 32. Unlike
in the original papers, a batch holds one patch an image instead of all patches of a few images, and Kang's network is
trained by Adam instead of gradient descent and tested on 128 patches instead of all. Expected: DIQaM-NR is better
than Kang's network, both are close to the baseline, and generated images help little.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, TrainingConfig, direct, gada, real_only

PATCHES = {
    "data.crop_px": 32,
    "data.batch": 64,
    "data.sampling": "uniform",
    "evaluation.sampling": "uniform",
    "losses.quality": "l1",
}
KANG = {
    "model.network": "kang",
    "model.normalisation": "mscn",
    "evaluation.crops": 128,  # its authors take all that do not overlap
    "evaluation.placement": "even",
    **PATCHES,
}
DIQAM = {
    "model.network": "diqam",
    "model.normalisation": "none",
    "evaluation.crops": 32,
    "rates.discriminator": 1e-4,
    "rates.evaluator": 1e-4,
    "rates.beta1": 0.9,
    **PATCHES,
}
ALONE = {"losses.class_weight": 0.0}


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Networks with as many steps as the base."""
    alone = {"phases": (direct(base.steps),), **ALONE}
    return {
        "CNN of Kang": {**KANG, **alone},
        "DIQaM-NR": {**DIQAM, **alone},
        "baseline": {"phases": real_only(base.phases)},
        "GADA": {},
        "GADA, backbone of Kang": KANG,
        "GADA, backbone of DIQaM": DIQAM,
    }


STUDY = Study(
    question="How do other shallow networks perform on the same splits, and do generated images help them too?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast("GADA", "baseline", "Do generated images help the paper's network?"),
        Contrast(
            "GADA, backbone of Kang",
            "CNN of Kang",
            "Do generated images and the three phases help the network of Kang?",
        ),
        Contrast("GADA, backbone of DIQaM", "DIQaM-NR", "Do generated images and the three phases help DIQaM-NR?"),
        Contrast("baseline", "DIQaM-NR", "Is the paper's network alone better than DIQaM-NR?"),
    ),
    presets={
        "smoke": Preset(cost="6 trainings of seconds; a functional test", splits=1, values=SMOKE),
        "small": Preset(
            cost="18 trainings of 1,000 steps; about an hour on 2 CPU cores, three quarters of it DIQaM's",
            splits=3,
            values={**SHORT, "phases.gan.steps": 600, "phases.augmentation.steps": 250, "phases.finetuning.steps": 150},
        ),
        "paper": Preset(cost="6 variants x 10 splits, 45,000 steps each: some tens of GPU-hours", splits=10),
    },
)
