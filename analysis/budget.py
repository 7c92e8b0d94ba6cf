"""SROCC of variants against their number of optimiser steps, one line for each method."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.label_efficiency import by_method, cells, draw, in_words, method, training_steps
from analysis.load import Runs
from analysis.page import Drawing, Section, Table

TITLE = "SROCC by optimiser steps"
TEXT = (
    "Upper panel: mean test SROCC over splits against the optimiser steps of all phases, with its 95% CI, which "
    "includes how much the difficulty of splits varies. Lower panel: the difference from {against} with as many steps, "
    "paired by split, and its 95% CI, which does not include it. Both allow for splits that overlap, and neither is "
    "adjusted for the number of comparisons: the verdict is about the contrasts."
)


def section(runs: Runs) -> Section:
    """The figure and its table; empty where methods do not all have the same, different numbers of steps."""
    steps = {variant: training_steps(config) for variant, config in runs.of_variants.items()}
    if not is_grid(steps):
        return Section(TITLE, [])
    against = method(next((one.second for one in runs.contrasts if one.second in steps), next(iter(steps))))
    frame = by_method(runs.splits, steps, 0.0, against)
    columns = sorted(frame["labelled"].unique())
    title = f"{TITLE}, and the difference from {against}"
    rows = cells(frame, columns)
    heads = [f"{number:.0f}" for number in columns]
    return Section(
        TITLE,
        [
            Drawing(
                "steps",
                title,
                "One line for each method.",
                draw(frame, None, "optimiser steps"),
                f"{title}. {in_words(frame, 'steps')}",
            ),
            Table("steps", title, ["steps", *heads], rows, frame.rename(columns={"labelled": "steps"})),
        ],
        TEXT.format(against=against),
    )


def is_grid(steps: Mapping[str, int]) -> bool:
    """Whether several methods have several numbers of steps each, all the same and each once."""
    by: dict[str, list[int]] = {}
    for variant, number in steps.items():
        by.setdefault(method(variant), []).append(number)
    numbers = [sorted(some) for some in by.values()]
    return (
        len(numbers) > 1
        and len(numbers[0]) > 1
        and all(some == numbers[0] and len(set(some)) == len(some) for some in numbers)
    )
