"""Where should crops be sampled in training and testing, and how should their predictions be pooled?

The paper suggests as future work "saliency-based sampling of image patches during training", "especially for highly
local distortions", and attributes weak results on fast fading (LIVE) and on types 14 to 16 (TID2013) to small random
crops. All variants train the direct baseline for the same number of steps. Sampling is uniform, or denser where the
image is salient, where its local contrast is high (activity, the default), or, in training only, where the image
differs from its reference. Testing samples uniformly or like training. Predictions are averaged, weighted by inverse
probability, or weighted by the evaluator, which then learns from four crops of an image in a step. Expected: sampling
by difference and learned weights improve local distortions at a small cost for global ones.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import NARROW, SMOKE, Contrast, Preset, Study, TrainingConfig, direct


def sampled(training: str, test: str = "uniform") -> dict[str, Any]:
    """Values of a variant by the sampling of training and of test crops."""
    return {"data.sampling": training, "evaluation.sampling": test}


FOUR = {"data.crops_per_image": 4}
LEARNED = {**FOUR, "model.weighs_crops": True, "evaluation.pooling": "learned"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "uniform": sampled("uniform"),
    "training: saliency": sampled("saliency"),
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
    base=TrainingConfig(phases=(direct(30_000),)),
    variants=VARIANTS,
    contrasts=(
        Contrast("both: activity", "uniform", "Does sampling by activity, the default, improve on uniform sampling?"),
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
            cost="7 trainings of seconds, 12 tests; a functional test",
            splits=1,
            values={
                **{path: value for path, value in SMOKE.items() if not path.startswith("phases.")},
                "phases.direct.steps": 6,
            },
        ),
        "small": Preset(
            cost="70 trainings of 400 narrow steps, 12 tests each; about 20 minutes on 2 CPU cores",
            splits=10,
            values={**NARROW, "data.batch": 16, "phases.direct.steps": 400, "evaluation.curve_points": 2},
        ),
        "paper": Preset(
            cost="7 trainings x 10 splits, 30,000 steps each: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
