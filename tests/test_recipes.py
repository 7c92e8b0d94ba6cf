from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gada_ray import RECIPES, TrainingConfig, baseline, direct, finetuning, gada, recipe, with_recipe
from gada_ray.config import ConfigError, flatten
from gada_ray.recipes import PAPER as VALUES

PAGE = Path(__file__).parent.parent / "docs" / "protocol.md"

TABLE = re.findall(r"^\| `([\w.]+)` \| (\S+) \| (\S+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
"""Lines of the recipe "paper" in docs/protocol.md: field, value, value of "gada", section or quotation of the paper."""


def value(text):
    """A value of the table: JSON, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


PAPER = {field: value(of_paper) for field, of_paper, _, _ in TABLE}
REGRESSION = {"losses.adversarial_weight": 0.0}


@pytest.mark.parametrize(("name", "values"), [("paper", PAPER), ("gada", {}), ("regression", REGRESSION)])
def test_a_recipe_differs_from_the_defaults_in_its_values_alone(name, values):
    defaults, config = flatten(gada(3, 2, 1)), flatten(recipe(name, 3, 2, 1))
    assert {path: value for path, value in config.items() if value != defaults[path]} == values


def test_the_table_of_the_recipe_paper_in_the_docs_is_the_recipe_line_by_line():
    assert PAPER == VALUES and list(PAPER) == list(VALUES)
    assert {field: value(of_gada) for field, _, of_gada, _ in TABLE} == {
        field: flatten(gada(3, 2, 1))[field] for field in VALUES
    }
    for field, _, _, source in TABLE:
        assert re.match(r"[34]\.\d|no averaging|none is stated|not in the paper", source), (field, source)


def test_recipes_have_the_three_phases_of_section_3_1_at_the_given_lengths():
    for name in RECIPES:
        config = recipe(name, 3, 2, 1)
        assert [(phase.name, phase.steps) for phase in config.phases] == [
            ("gan", 3),
            ("augmentation", 2),
            ("finetuning", 1),
        ]


@pytest.mark.parametrize("name", ["gada", "paper"])
def test_phase_1_of_an_adversarial_recipe_has_all_losses_of_the_paper(name):
    config = recipe(name, 3, 2, 1)
    weights = config.losses
    assert {"generator", "discriminator", "classifier", "evaluator"} <= set(config.phases[0].trains)
    assert weights.adversarial_weight > 0 and weights.l1_weight > 0
    assert min(weights.class_weight, weights.quality_weight) > 0
    assert min(weights.generator_class_weight, weights.generator_quality_weight) > 0


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown recipe 'gan'; available: gada, paper, regression"):
        recipe("gan", 1, 1, 1)


def test_the_baseline_takes_a_recipe_without_the_values_of_phase_1():
    config = with_recipe(TrainingConfig(phases=(direct(3),)), "paper")
    assert (config.data.crop_px, config.model.normalisation, config.evaluation.weights) == (128, "none", "final")
    assert config.phases == (direct(3),)


def test_the_baseline_is_fine_tuned_as_phase_3_does():
    assert baseline(3, 1).phases == (direct(3), finetuning(1))
    assert baseline(3, 1).phases[1].rate_factor == gada(3, 2, 1).phases[2].rate_factor == 0.1
