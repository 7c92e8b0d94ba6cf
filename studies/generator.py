"""Is the generator doing anything in phase 2, or would any further image do?

All variants start from the same phase 1, bit by bit, and share phase 3; the first one stops there, so that the others can
take it over. What differs is where the generated images of phase 2 come from. The paper's are the frozen generator's.
The controls: the reference itself under the label that was asked for (a generator that does nothing), procedural
distortions (augmentation as one would do it without a GAN), a second batch of real crops (more real data a step,
nothing new), and no phase 2 but a phase 3 that is longer by its steps. If the generator helps, it beats all four; if
the identity does as well, phase 2 is a regulariser at best. With `--extra-references`, a variant distorts photographs
that nobody labelled besides the references.
"""

from collections.abc import Mapping
from typing import Any

from gada_ray import MEDIUM, SMOKE, Contrast, Preset, Study, TrainingConfig, finetuning, gada


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Makers of phase 2's images, with the lengths of the base."""
    one, two, three = base.phases
    controls = {
        "reference itself": "identity",
        "procedural distortions": "procedural",
        "real crops again": "real_crops",
    }
    return {
        "phase 1": {"phases": (one,)},
        "generator": {},
        "generator, extra photographs": {"phases.augmentation.generated_from": "extra"},
        **{name: {"phases.augmentation.generated_by": maker} for name, maker in controls.items()},
        "no phase 2, longer phase 3": {"phases": (one, finetuning(two.steps + three.steps))},
    }


STUDY = Study(
    question="Is the generator doing anything in phase 2, or would any further image do?",
    base=gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
    variants=variants,
    contrasts=(
        Contrast(
            "generator",
            "reference itself",
            "Does the generator help more than the bare reference, labelled as asked?",
        ),
        Contrast("generator", "procedural distortions", "Does the generator help more than procedural distortions?"),
        Contrast("generator", "real crops again", "Does the generator help more than further real crops?"),
        Contrast(
            "generator",
            "no phase 2, longer phase 3",
            "Does phase 2 help more than a phase 3 that is longer by its steps?",
        ),
        Contrast(
            "generator, extra photographs", "generator", "Does the generator help more where it has more photographs?"
        ),
    ),
    presets={
        "smoke": Preset(cost="6 trainings of seconds; shows that it runs, nothing else", splits=1, values=SMOKE),
        "small": Preset(
            cost="30 trainings on 5 splits, phase 1 shared by all variants; about 40 minutes on 2 CPU cores",
            splits=5,
            values=MEDIUM,
        ),
        "paper": Preset(
            cost="6 variants x 10 splits, 45,000 steps, phase 1 shared: about 20 GPU-hours",
            splits=10,
            values={"data.batch": 64, "model.normalisation": "none"},
        ),
    },
)
