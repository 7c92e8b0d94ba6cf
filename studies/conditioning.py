"""Does the generator produce the requested class and quality, and which of its losses matter for that?

Phase 1 alone. The independent evaluator, a quality network that is trained on real crops of the same references and
never sees a generated one, measures class accuracy and quality SROCC of crops generated from held-out references, and
of real crops for comparison. L1, MDSI and the strength of the change compare generated crops with the real distorted
ones. The paper's generator minimises the adversarial loss, L_C, L_E and a strong L1. The recipe "gada" has all four,
with a light L1, and adds the statistics of the EMA quality network's feature maps and the 8x8 DCT spectrum. The
variants leave out the adversary, L_C and L_E, or both. Expected: the statistics matter most; L_C and L_E raise class
accuracy and quality SROCC a little, at the cost of distance to the real distorted crops.
"""

from gada_ray import NARROW, RECIPES, SMOKE, Contrast, Preset, Study, TrainingConfig, gan

NO_HEADS = {"losses.generator_class_weight": 0.0, "losses.generator_quality_weight": 0.0}
NO_ADVERSARY = {"losses.adversarial_weight": 0.0}
QUALITY = "generator_quality_srocc"
PAPER = {
    path: value for path, value in RECIPES["paper"].items() if not path.startswith(("data.", "model.normalisation"))
}

STUDY = Study(
    question="Does the generator produce the requested class and quality, and which of its losses matter for that?",
    base=TrainingConfig(phases=(gan(30_000),)),
    variants={
        "GADA": {},
        "no adversary": NO_ADVERSARY,
        "no L_C and L_E": NO_HEADS,
        "no adversary, no L_C and L_E": {**NO_HEADS, **NO_ADVERSARY},
        "paper's network and losses": PAPER,
    },
    contrasts=(
        Contrast(
            "GADA",
            "paper's network and losses",
            "Is the requested quality met better than with the paper's network and losses?",
            QUALITY,
        ),
        Contrast("GADA", "no L_C and L_E", "Is quality met better with L_C and L_E in the generator's loss?", QUALITY),
        Contrast("GADA", "no adversary", "Is quality met better with an adversary?", QUALITY),
    ),
    presets={
        "smoke": Preset(
            cost="5 trainings and an independent evaluator of seconds; a functional test",
            splits=1,
            values={
                **{path: value for path, value in SMOKE.items() if not path.startswith(("phases.a", "phases.f"))},
                "evaluation.independent_evaluator_steps": 10,
            },
        ),
        "small": Preset(
            cost="15 trainings of 1,500 narrow steps and 3 evaluators; about an hour on 2 CPU cores",
            splits=3,
            values={
                **NARROW,
                "data.batch": 16,
                "phases.gan.steps": 1500,
                "evaluation.independent_evaluator_steps": 2000,
                "evaluation.curve_points": 5,
            },
        ),
        "paper": Preset(
            cost="5 variants x 10 splits, 30,000 steps, and 10 evaluators: about 40 GPU-hours",
            splits=10,
            values={"data.batch": 64, "evaluation.independent_evaluator_steps": 10_000},
        ),
    },
)
