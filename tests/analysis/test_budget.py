"""SROCC by optimiser steps: a line a method, where methods have the same numbers of steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import budget
from analysis.page import Drawing, Table
from gada_ray.study.contrasts import Contrast

STEPS = {"base, 1/2": 50, "GADA, 1/2": 50, "base, all": 100, "GADA, all": 100}


@pytest.fixture
def runs() -> Any:
    random = np.random.default_rng(0)
    rows = [(variant, split, random.uniform(0.7, 0.9)) for variant in STEPS for split in range(4)]
    splits = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(
        references_held_out=4, references_train=16
    )
    of_variants = {
        variant: {"phases.gan.steps": steps - 10, "phases.finetuning.steps": 10} for variant, steps in STEPS.items()
    }
    contrasts = (Contrast("GADA, all", "base, all", "Does it help?"),)
    return SimpleNamespace(splits=splits, of_variants=of_variants, contrasts=contrasts)


def test_a_method_is_a_line_over_its_steps_and_differs_from_the_one_of_the_first_contrast(runs):
    drawing, table = budget.section(runs).parts
    assert isinstance(drawing, Drawing) and isinstance(table, Table)
    assert isinstance(drawing.figure, Figure)
    left, right = drawing.figure.axes  # above and below
    assert [text.get_text() for text in left.get_xticklabels()] == ["50", "100"]
    assert left.get_legend_handles_labels()[1] == ["base", "GADA"]
    assert right.get_legend_handles_labels()[1] == ["GADA"]
    assert left.get_xlabel() == "optimiser steps"
    assert [row[0] for row in table.rows] == ["base", "GADA"]


@pytest.mark.parametrize(
    "steps",
    [
        {"a": 50, "b": 50},
        {"base": 50, "base, longer": 100, "GADA": 100},
        {"base, one": 100, "base, two": 100, "GADA, one": 100, "GADA, two": 100},
        {"base, 1/2": 50, "base, all": 100},
    ],
)
def test_variants_that_are_no_methods_by_steps_have_no_such_figure(steps):
    assert not budget.is_grid(steps)


def test_the_study_of_the_budget_has_the_figure():
    from gada_ray.study.definition import make_plan
    from studies.budget import STUDY

    assert budget.is_grid({one.name: one.config.steps for one in make_plan("b", STUDY, "small", "demo", {}).variants})
