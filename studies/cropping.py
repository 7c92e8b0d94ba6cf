"""Does a network hold on images that were cropped after compression?

JPEG's 8x8 blocks begin at the corner of a compressed file. Where rows or columns were cut off later, as in most
photographs on the web, they no longer do. A network that has only seen crops aligned to that grid then mistakes the
scale of JPEG, and its scores of different distortions come apart. The direct baseline is trained on aligned crops
alone, on half of them unaligned (the default), or on unaligned crops alone (the paper), and each training is tested
twice: with aligned crops, as in whole images, and with unaligned crops, as in images that lost 1 to 7 rows and columns.
Expected: trained on half, it loses less than 0.01 on cropped images, and is on whole images at most 0.01 below the
network of aligned crops, which fails on cropped ones where a database has JPEG.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT_BASELINE, SMOKE_BASELINE, Contrast, Preset, Study, baseline

HALF, ALIGNED, UNALIGNED = "half unaligned crops", "aligned crops", "unaligned crops"
WHOLE, CROPPED = "whole images", "cropped images"
ON_WHOLE, ON_CROPPED = {"evaluation.alignment": "aligned"}, {"evaluation.alignment": "unaligned"}
# Without a value of its own, a test is aligned as the training is: on both kinds of crops in turn for half of each.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    f"{HALF}, both": {},
    f"{HALF}, {WHOLE}": ON_WHOLE,
    f"{HALF}, {CROPPED}": ON_CROPPED,
    f"{ALIGNED}, {WHOLE}": {"data.aligned_fraction": 1.0},
    f"{ALIGNED}, {CROPPED}": {"data.aligned_fraction": 1.0, **ON_CROPPED},
    f"{UNALIGNED}, {WHOLE}": {"data.aligned_fraction": 0.0, **ON_WHOLE},
    f"{UNALIGNED}, {CROPPED}": {"data.aligned_fraction": 0.0},
}

STUDY = Study(
    question="Does a network hold on images that were cropped after compression?",
    base=baseline(direct_steps=30_000, finetuning_steps=5_000),
    variants=VARIANTS,
    contrasts=(
        Contrast(
            f"{HALF}, {CROPPED}",
            f"{HALF}, {WHOLE}",
            "Does a network that has seen both kinds of crops hold on cropped images?",
        ),
        Contrast(
            f"{HALF}, {WHOLE}",
            f"{ALIGNED}, {WHOLE}",
            "Is it as good on whole images as a network of aligned crops?",
        ),
        Contrast(
            f"{ALIGNED}, {CROPPED}",
            f"{ALIGNED}, {WHOLE}",
            "Does a network of aligned crops hold on cropped images?",
        ),
        Contrast(
            f"{HALF}, {CROPPED}",
            f"{UNALIGNED}, {CROPPED}",
            "Is it as good on cropped images as a network of unaligned crops?",
        ),
    ),
    presets={
        "smoke": Preset(cost="3 trainings of seconds, 7 tests; a functional test", splits=1, values=SMOKE_BASELINE),
        "small": Preset(
            cost="30 trainings of 2,500 narrow steps and 70 tests on 10 splits; about 20 minutes on 2 idle CPU cores",
            splits=10,
            values={**SHORT_BASELINE, "evaluation.curve_points": 1},
        ),
        "paper": Preset(
            cost="3 trainings x 10 splits, 35,000 steps each: about 10 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
