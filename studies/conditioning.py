"""Does the generator distort as it is asked, and which of its losses makes it?

Phase 1 alone. A quality network that was trained on real crops of the same references, and never met a generator, says of crops
of held-out references which class and which quality they show, beside what it says of truly distorted ones; L1, MDSI
and the strength of the change compare them with the truth. The paper's losses are an adversary, L_C, L_E and a strong
L1. Ours are a light L1, the statistics of the averaged quality network's maps and the spectrum of 8x8 squares; the variants add to
these two what the heads say, an adversary, or both. Expected: without statistics the generator shows little but blur;
the heads help class and quality a little, and cost closeness to the truth.
"""

from gada_ray import NARROW, RECIPES, SMOKE, Contrast, Preset, Study, TrainingConfig, gan

HEADS_OFF = {"losses.generator_class_weight": 0.0, "losses.generator_quality_weight": 0.0}
NO_ADVERSARY = {"losses.adversarial_weight": 0.0}
QUALITY = "generator_quality_srocc"
PAPER = {
    path: value for path, value in RECIPES["paper"].items() if not path.startswith(("data.", "model.normalisation"))
}

STUDY = Study(
    question="Does the generator distort as it is asked, and which of its losses makes it?",
    base=TrainingConfig(phases=(gan(30_000),)),
    variants={
        "statistics": {**HEADS_OFF, **NO_ADVERSARY},
        "statistics, heads": NO_ADVERSARY,
        "statistics, adversary": HEADS_OFF,
        "statistics, heads, adversary": {},
        "the paper's network and losses": PAPER,
    },
    contrasts=(
        Contrast("statistics", "the paper's network and losses", "Do ours show the asked quality better?", QUALITY),
        Contrast("statistics, heads", "statistics", "Does quality show better with what the heads say?", QUALITY),
        Contrast("statistics, adversary", "statistics", "Does quality show better with an adversary?", QUALITY),
    ),
    presets={
        "smoke": Preset(
            cost="5 trainings and a quality network of seconds; shows that it runs, nothing else",
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
