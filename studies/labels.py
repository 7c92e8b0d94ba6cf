"""Do generated images save labels? SROCC by the number of labelled images, for two uses of generated images.

The paper promises quality from few labels, and none of its tables varies their number. Here 10, 20, 40, 80, 160 or
all images of the training part are labelled, at random (`--set data.labelled_by=reference`: one reference after
another). Smaller sets are subsets of larger ones and hold every class. Neither scores nor pixels of other images are
used. The undistorted references of the training part have no scores, and methods may distort them. All methods have
the same number of optimiser steps, and phase 2 has the full learning rate, since few labels train the network too
little before it:

- baseline: the three phases on real labelled crops alone
- GADA: phase 2 regresses on generated crops of all training references as well
- ranking of generated: two crops of the generator, at two requested qualities, must be ordered; in phases 2 and 3
- ranking of procedural: the same with procedural distortions at two strengths, in all phases, since they need no
  training
- ranking of procedural + photographs: the same with unlabelled photographs as well (with `--extra-references`)
- GADA + ranking of generated: both terms

The ranking term is that of RankIQA (Liu et al., 2017) with a hinge. Its weight, margin and number of pairs are those of
`phases.augmentation.ranking`. Distortion classes without a procedure make no pairs. The variants "phase 1" have fewer
steps; the variants with a generator start from their weights. Expected: with 40 labels, ranking of procedural
distortions gains several hundredths where there are many classes, and nothing with all labels. GADA's regression gains
nothing; its generator's order helps where the generator is faithful.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gada_ray import (
    FEW_LABELS_GADA,
    RANKING_MARGIN,
    RANKING_WEIGHT,
    SMOKE,
    Contrast,
    PhaseConfig,
    Preset,
    RankingConfig,
    Study,
    TrainingConfig,
    gada,
    real_only,
    with_values,
)

NUMBERS = (10, 20, 40, 80, 160, None)
BASELINE = "baseline"
GADA = "GADA"
GENERATED = "ranking of generated"
PROCEDURAL = "ranking of procedural"
PHOTOGRAPHS = "ranking of procedural + photographs"
BOTH = "GADA + ranking of generated"


def named(method: str, number: int | None) -> str:
    """Name of a method's variant with some labelled images; reports read the method before the comma."""
    return f"{method}, {number or 'all'} labelled"


def ranked(
    phases: Sequence[PhaseConfig], like: PhaseConfig, made_by: str, references: str = "training"
) -> tuple[PhaseConfig, ...]:
    """Phases with the ranking term of another phase, for pairs from some source; the generator's have other margins."""
    margin = like.ranking.margin if made_by == "procedural" else RankingConfig().margin
    term = like.ranking.model_copy(update={"made_by": made_by, "references": references, "margin": margin})
    values = {"ranking": term, "skip_unmatched": made_by == "procedural"}
    return tuple(phase.model_copy(update=values) for phase in phases)


def variants(base: TrainingConfig) -> Mapping[str, Mapping[str, Any]]:
    """Every method with every number of labelled images; the base's ranking term is that of its phase 2."""
    one, two, three = base.phases
    real = real_only(base.phases)
    methods: dict[str, tuple[PhaseConfig, ...]] = {
        "phase 1": (one,),
        BASELINE: real,
        GADA: (one, two.model_copy(update={"ranking": RankingConfig()}), three),
        GENERATED: (one, *ranked(real[1:], two, "generator")),
        PROCEDURAL: ranked(real, two, "procedural"),
        PHOTOGRAPHS: ranked(real, two, "procedural", "extra"),
        BOTH: (one, *ranked((two, three), two, "generator")),
    }
    return {
        named(method, number): {"phases": phases, "data.labelled_images": number}
        for number in NUMBERS
        for method, phases in methods.items()
    }


def some(*numbers: int | None) -> tuple[str, ...]:
    """Names of the variants with these numbers of labelled images."""
    every = variants(gada(1, 1, 1))
    return tuple(name for name, values in every.items() if values["data.labelled_images"] in numbers)


STUDY = Study(
    question="Do generated images save labels?",
    base=with_values(
        gada(gan_steps=30_000, augmentation_steps=10_000, finetuning_steps=5_000),
        {
            "data.labelled_by": "random",
            "phases.augmentation.conditions": "between",
            "phases.augmentation.generated_from": "training",
            "phases.augmentation.rate_factor": 1.0,
            "phases.augmentation.ranking.weight": RANKING_WEIGHT,
            "phases.augmentation.ranking.margin": RANKING_MARGIN,
        },
    ),
    variants=variants,
    contrasts=(
        Contrast(named(GADA, 40), named(BASELINE, 40), "Does regression on generated crops help with 40 labels?"),
        Contrast(named(GENERATED, 40), named(BASELINE, 40), "Does ranking of generated crops help with 40 labels?"),
        Contrast(
            named(PROCEDURAL, 40), named(BASELINE, 40), "Does ranking of procedural distortions help with 40 labels?"
        ),
        Contrast(
            named(PHOTOGRAPHS, 40), named(PROCEDURAL, 40), "Do unlabelled photographs help the ranking with 40 labels?"
        ),
        Contrast(
            named(GENERATED, 40),
            named(PROCEDURAL, 40),
            "Does ranking of generated crops help more than ranking of procedural distortions with 40 labels?",
        ),
        Contrast(
            named(PROCEDURAL, 40),
            named(BASELINE, 80),
            "Are 40 labels with ranking of procedural distortions better than 80 without?",
        ),
        Contrast(
            named(PROCEDURAL, None),
            named(BASELINE, None),
            "Does ranking of procedural distortions help with all labels?",
        ),
    ),
    presets={
        "smoke": Preset(
            cost="12 trainings of seconds (14 with photographs); a functional test",
            splits=1,
            values=SMOKE,
            variants=some(10, None),
        ),
        "small": Preset(
            cost="360 trainings of 1,000 narrow steps (420 with photographs); about 5 hours on 2 idle CPU cores",
            splits=10,
            values={**FEW_LABELS_GADA, "evaluation.curve_points": 1},
        ),
        "paper": Preset(
            cost="36 variants (42 with photographs) x 10 splits, 45,000 steps each: about 180 GPU-hours, not measured",
            splits=10,
            values={"data.batch": 64},
        ),
    },
)
