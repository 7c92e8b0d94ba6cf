"""Where should crops be sampled in training and testing, and how should their predictions be pooled?

The paper suggests as future work "saliency-based sampling of image patches during training", "especially for highly
local distortions", and attributes weak results on fast fading (LIVE) and on types 14 to 16 (TID2013) to small random
crops. All variants train the direct baseline for the same number of steps, fine-tuning included. Sampling is uniform,
or denser where the image is salient, where its local contrast is high (activity, the default), or, in training only,
where the image differs from its reference. Testing samples uniformly or otherwise. Predictions are averaged,
weighted by inverse probability, or weighted by the evaluator, which then learns from four crops of an image in a step.
Tables by distortion show local types (LIVE's fast fading, TID2013's 14 to 16) and tonal ones (TID2013's 16 to 18).
Expected: sampling by activity helps in the test more than in training; sampling by difference and learned weights
improve local distortions at a small cost for global ones.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import SHORT_BASELINE, SMOKE_BASELINE, Contrast, Preset, Study, baseline


def sampled(training: str, test: str = "uniform") -> dict[str, Any]:
    """Values of a variant by the sampling of training and of test crops."""
    return {"data.sampling": training, "evaluation.sampling": test}


FOUR = {"data.crops_per_image": 4}
LEARNED = {**FOUR, "model.weighs_crops": True, "evaluation.pooling": "learned"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "uniform": sampled("uniform"),
    "training: saliency": sampled("saliency"),
    "training: saliency, test: activity": sampled("saliency", "activity"),
    "training: activity": sampled("activity"),
    "training: difference": sampled("difference"),
    "test: saliency": sampled("uniform", "saliency"),
    "test: activity": sampled("uniform", "activity"),
    "test: saliency, inverse probability": {**sampled("uniform", "saliency"), "evaluation.pooling": "inverse"},
    "both: saliency": sampled("saliency", "saliency"),
    "both: activity": sampled("activity", "activity"),
    "four crops an image": {**sampled("uniform"), **FOUR},
    "learned weights": {**sampled("uniform"), **LEARNED},
    "learned weights, training: difference": {**sampled("difference"), **LEARNED},
}

STUDY = Study(
    question="Where should crops be sampled, and how should their predictions be pooled?",
    base=baseline(direct_steps=30_000, finetuning_steps=5_000),
    variants=VARIANTS,
    contrasts=(
        Contrast("test: activity", "uniform", "Does sampling by activity help in the test?"),
        Contrast("both: activity", "test: activity", "Does sampling by activity help in training as well?"),
        Contrast("training: difference", "uniform", "Does training where images differ from their references help?"),
        Contrast(
            "training: saliency", "uniform", "Does training where images are salient help, as the paper suggests?"
        ),
        Contrast("both: saliency", "training: saliency", "Does sampling by saliency in the test help as well?"),
        Contrast(
            "learned weights", "four crops an image", "Are learned weights of crops better than their plain mean?"
        ),
    ),
    presets={
        "smoke": Preset(
            cost="7 trainings of seconds, 13 tests; a functional test",
            splits=1,
            values=SMOKE_BASELINE,
        ),
        "small": Preset(
            cost="35 trainings of 2,500 narrow steps and 65 tests on 5 splits; about 20 minutes on 2 idle CPU cores",
            splits=5,
            values={**SHORT_BASELINE, "evaluation.curve_points": 2},
        ),
        "paper": Preset(
            cost="7 trainings x 10 splits, 35,000 steps each: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
