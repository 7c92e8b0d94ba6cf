from __future__ import annotations

import pytest

from gada_ray import TrainingConfig, direct, finetuning, gada, gan, with_values
from gada_ray.config import CODE_VERSION, ConfigError, digest, flatten


def test_a_changed_default_is_seen_and_raises_the_code_version():
    """Signatures leave defaults out: whoever changes one raises CODE_VERSION and this digest together."""
    defaults = flatten(gada(1, 1, 1))
    assert (CODE_VERSION, digest(defaults)[:16]) == (4, "e64731997e055ed9")


def test_an_unknown_path_names_the_nearest_ones():
    with pytest.raises(ConfigError, match=r"unknown field 'rates\.generatr'.*rates\.generator"):
        with_values(gada(1, 1, 1), {"rates.generatr": 1e-3})


@pytest.mark.parametrize("path", ["rates", "data", "phases.gan", "phases.gan.step", "nothing", "data.crop_px.x", ""])
def test_a_path_to_no_leaf_is_refused(path):
    with pytest.raises(ConfigError, match="unknown field"):
        with_values(gada(1, 1, 1), {path: 1})


def test_phases_are_addressed_by_name_and_can_be_replaced_and_changed_together():
    config = with_values(gada(1, 1, 1), {"phases.direct.steps": 9, "phases": (direct(5), finetuning(2))})
    assert [(phase.name, phase.steps) for phase in config.phases] == [("direct", 9), ("finetuning", 2)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data.crops_per_image": 3}, ("multiple of data.crops_per_image = 3", "32")),
        ({"evaluation.pooling": "learned"}, ("'learned'", "model.weighs_crops")),
        ({"model.weighs_crops": True}, ("weighs_crops", "data.crops_per_image of 2 or more")),
        ({"evaluation.placement": "even", "evaluation.sampling": "saliency"}, ("'saliency'", "'even'")),
        ({"data.temperature": 0.0}, ("data.temperature", "greater than 0")),
        ({"data.crop_px": 36}, ["multiple of 8", "36"]),
        ({"data.crop_px": 8}, ["at least 16", "8"]),
        ({"data.crop_px": 8, "model.backbone_widths": (4, 8)}, ["at least 16", "generator", "8"]),
        ({"data.batch": 0}, ["data.batch", "greater than 0", "0"]),
        ({"rates.evaluator": -1e-3}, ["rates.evaluator", "greater than 0"]),
        ({"model.head": "both"}, ["model.head", "'gap'", "both"]),
        ({"phases.gan.images": "real"}, ["'gan'", "images='both'", "real"]),
        ({"phases.gan.conditions": "uniform"}, ["'gan'", "conditions='paired'", "uniform"]),
        ({"phases.augmentation.trains": ()}, ["trains nothing"]),
        ({"phases.gan.generated_from": "training"}, ["'gan'", "trains the generator", "training"]),
        ({"phases.finetuning.generated_from": "extra"}, ["'finetuning'", "distorts none", "extra"]),
        ({"phases.augmentation.extra_fingerprint": "ab"}, ["'augmentation'", "generated_from='extra'", "labelled"]),
        ({"data.labelled_images": 0}, ["data.labelled_images", "greater than 0"]),
        ({"phases.augmentation.trains": ("backbone", "backbone")}, ["twice"]),
        ({"precision": "float16"}, ["precision", "bfloat16"]),
    ],
)
def test_a_value_that_cannot_be_names_field_rule_and_value(values, words):
    with pytest.raises(ConfigError) as caught:
        with_values(gada(1, 1, 1), values)
    for word in words:
        assert word in str(caught.value)


def test_without_a_generator_crops_need_not_be_multiples_of_eight():
    config = TrainingConfig(phases=(direct(1),))
    assert with_values(config, {"data.crop_px": 37}).data.crop_px == 37


def test_phases_need_names_of_their_own():
    with pytest.raises(ValueError, match="names of their own"):
        TrainingConfig(phases=(gan(1), gan(2)))


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        gada(1, 1, 1).precision = "bfloat16"
