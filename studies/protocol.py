"""How much of a number is the protocol? One training, tested in many ways.

All variants but the last two share one training: what differs is how many crops an image is judged by, where they lie,
whether they keep to JPEG's grid of blocks, how predictions are pooled, and whether the weights are the average or those
of the last step. The last two, for LIVE alone, change the data, and are trained anew: LIVE with its 203 undistorted
copies among the distorted images, and with realigned scores. Expected: beyond ten crops little happens, and the copies,
which any network recognises, raise every number. (TID2013 without its computer-made reference divides others, so that
no split can be paired: `--set data.drop_artificial_reference=true`, in a storage of its own, beside a run without.)
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
    question="How much of a number is the protocol, with the training left as it is?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants={**TESTS, **DATA},
    contrasts=(
        Contrast("30 random crops, mean", "10 crops", "Are 30 test crops better than 10?"),
        Contrast("30 random crops, mean", "final-step weights", "Do averaged weights raise the number?"),
        Contrast("30 random crops, mean", "unaligned crops", "Do test crops on the grid of JPEG raise the number?"),
        Contrast(
            "LIVE with copies of references",
            "30 random crops, mean",
            "Do undistorted copies among the images raise the number?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="1 training of seconds, tested in 9 ways; shows that it runs, nothing else",
            splits=1,
            values={**SMOKE, "evaluation.crops": 30},
            variants=tuple(TESTS),
        ),
        "small": Preset(
            cost="4 trainings of 1,500 narrow steps, each tested in 9 ways; about 20 minutes on 2 CPU cores",
            splits=4,
            values=SHORT,
            variants=tuple(TESTS),
        ),
        "live": Preset(
            cost="10 splits x 3 trainings of 45,000 steps on LIVE: about 25 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
            variants=(*TESTS, "LIVE with copies of references", "LIVE with realigned scores"),
        ),
        "paper": Preset(
            cost="10 splits x 1 training of 45,000 steps: about 8 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
            variants=tuple(TESTS),
        ),
    },
)
