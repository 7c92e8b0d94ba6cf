"""How much does a result depend on the test protocol?

All variants but the last two share one training. They differ in the number of test crops of an image, their
placement, sampling and alignment to the 8x8 JPEG grid, the pooling of predictions, and the weights (EMA or
final-step). The last two are for LIVE only and are trained on other data: with LIVE's 203 undistorted copies of
references among the distorted images, and with realigned scores. Expected: more than ten crops change little; the
copies, which any network recognises, raise every score. TID2013 without its synthetic reference has other references,
so that its splits cannot be paired: run it by `--set data.drop_artificial_reference=true` in a storage of its own.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT, SMOKE, Contrast, Preset, Study, gada

TESTS: Mapping[str, Mapping[str, Any]] = {
    "30 random crops, mean": {},
    "1 crop": {"evaluation.crops": 1},
    "4 crops": {"evaluation.crops": 4},
    "10 crops": {"evaluation.crops": 10},
    "100 crops": {"evaluation.crops": 100},
    "median of crops": {"evaluation.pooling": "median"},
    "uniform crops": {"evaluation.sampling": "uniform"},
    "evenly spread crops": {"evaluation.sampling": "uniform", "evaluation.placement": "even"},
    "unaligned crops": {"evaluation.alignment": "unaligned"},
    "final-step weights": {"evaluation.weights": "final"},
}
DATA: Mapping[str, Mapping[str, Any]] = {
    "LIVE with copies of references": {"data.include_reference_copies": True},
    "LIVE with realigned scores": {"data.dmos": "realigned"},
}

STUDY = Study(
    question="How much does a result depend on the test protocol, with the same training?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={**TESTS, **DATA},
    contrasts=(
        Contrast("30 random crops, mean", "10 crops", "Are 30 test crops better than 10?"),
        Contrast("30 random crops, mean", "final-step weights", "Are EMA weights better than final-step weights?"),
        Contrast("30 random crops, mean", "unaligned crops", "Are mixed test crops better than unaligned ones?"),
        Contrast(
            "LIVE with copies of references",
            "30 random crops, mean",
            "Do undistorted copies among the images raise SROCC?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="1 training of seconds, tested in 10 ways; a functional test",
            splits=1,
            values={**SMOKE, "evaluation.crops": 30},
            variants=tuple(TESTS),
        ),
        "small": Preset(
            cost="4 trainings of 1,500 narrow steps, each tested in 10 ways; about 20 minutes on 2 CPU cores",
            splits=4,
            values=SHORT,
            variants=tuple(TESTS),
        ),
        "live": Preset(
            cost="10 splits x 3 trainings of 45,000 steps on LIVE: about 25 GPU-hours",
            splits=10,
            values={"data.batch": 64},
            variants=(*TESTS, "LIVE with copies of references", "LIVE with realigned scores"),
        ),
        "paper": Preset(
            cost="10 splits x 1 training of 45,000 steps: about 8 GPU-hours",
            splits=10,
            values={"data.batch": 64},
            variants=tuple(TESTS),
        ),
    },
)
