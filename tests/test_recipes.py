from __future__ import annotations

import pytest

from gada_ray import RECIPES, TrainingConfig, direct, gada, recipe, with_recipe
from gada_ray.config import ConfigError, flatten

PAPER = {
    "data.crop_px": 128,  # section 4.2
    "data.aligned_fraction": 0.0,  # "we randomly crop each image"
    "data.batch": 64,  # section 4.2
    "data.sampling": "uniform",  # "we randomly crop"
    "data.include_reference_copies": True,  # section 4.1: 982 images
    "model.normalisation": "none",  # none is stated
    "model.generator": "plain",  # section 3.3: an auto-encoder
    "model.discriminator": "backbone",  # section 3.3: a head on the shared layers
    "losses.adversarial": "bce",  # Eq. 1
    "losses.quality": "mse",  # Eq. 3
    "losses.adversarial_weight": 1.0,  # Eq. 1
    "losses.l1_weight": 100.0,  # section 3.2: strong, as the images of its phase 2 need
    "losses.statistics_weight": 0.0,
    "losses.spectrum_weight": 0.0,
    "losses.generator_class_weight": 1.0,  # section 3.2
    "losses.generator_quality_weight": 1.0,  # section 3.2
    "losses.generator_teacher": "online",  # no other network is stated
    "losses.reduction": "sum",  # Eqs. 1 and 2
    "rates.discriminator": 1e-4,  # section 4.2
    "rates.generator": 5e-4,  # section 4.2
    "rates.generator_beta2": 0.999,  # Adam's own
    "phases.gan.generated_weight": 1.0,  # Eq. 2
    "ema_decay": 0.0,  # no averaging is stated
    "evaluation.sampling": "uniform",  # section 4.2: 30 random crops
    "evaluation.weights": "final",
}
REGRESSION = {"losses.adversarial_weight": 0.0}


@pytest.mark.parametrize(("name", "values"), [("paper", PAPER), ("gada", {}), ("regression", REGRESSION)])
def test_a_recipe_differs_from_the_defaults_in_its_values_alone(name, values):
    defaults, config = flatten(gada(3, 2, 1)), flatten(recipe(name, 3, 2, 1))
    assert {path: value for path, value in config.items() if value != defaults[path]} == values


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
