"""Where should crops be taken, in training and in testing, and how should their predictions become one?

The paper ends with it: "significant improvements can likely be made, especially for highly local distortions, through
saliency-based sampling of image patches during training"; it blames small crops taken anywhere for fast fading on LIVE
and for types 14 to 16 of TID2013. All variants train the direct baseline for the same steps. Crops are taken where the
image is salient, where its local contrast is high or, in training alone, where it differs from its reference; then
testing does so, too, and predictions are averaged, or weighted by the inverse of the crops' chances, or as the
evaluator has learned to weigh them, from four crops of an image in a step. Expected: local distortions gain by the
difference and by learned weights, global ones pay little; what testing by saliency gains, inverse chances lose again.
"""

from gada_ray import NARROW, SMOKE, Contrast, Preset, Study, TrainingConfig, direct

FOUR = {"data.crops_per_image": 4}
LEARNED = {**FOUR, "model.weighs_crops": True, "evaluation.pooling": "learned"}

STUDY = Study(
    question="Where should crops be taken, and how should their predictions become one?",
    base=TrainingConfig(phases=(direct(30_000),)),
    variants={
        "uniform": {},
        "trained by saliency": {"data.sampling": "saliency"},
        "trained by activity": {"data.sampling": "activity"},
        "trained by difference": {"data.sampling": "difference"},
        "tested by saliency": {"evaluation.sampling": "saliency"},
        "tested by activity": {"evaluation.sampling": "activity"},
        "tested by saliency, inverse chances": {"evaluation.sampling": "saliency", "evaluation.pooling": "inverse"},
        "both by saliency": {"data.sampling": "saliency", "evaluation.sampling": "saliency"},
        "both by activity": {"data.sampling": "activity", "evaluation.sampling": "activity"},
        "four crops of an image": FOUR,
        "learned weights": LEARNED,
        "learned weights, trained by difference": {**LEARNED, "data.sampling": "difference"},
    },
    contrasts=(
        Contrast("trained by difference", "uniform", "Does training where images differ from their references help?"),
        Contrast("trained by saliency", "uniform", "Does training where images are salient help, as the paper hopes?"),
        Contrast("both by saliency", "trained by saliency", "Does testing there as well add to it?"),
        Contrast("learned weights", "four crops of an image", "Do learned weights of crops beat their plain mean?"),
    ),
    presets={
        "smoke": Preset(
            cost="7 trainings of seconds; shows that it runs, nothing else",
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
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
