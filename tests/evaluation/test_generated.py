from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gada_ray.config import DataConfig
from gada_ray.evaluation import generated
from gada_ray.model.generator import PlainGenerator
from gada_ray.model.layers import Views, viewed
from gada_ray.model.quality_network import Outputs, QualityNetwork
from gada_ray.training.phases import build
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source

DATA = DataConfig(crop_px=32)


class Following(PlainGenerator):
    """Adds structure that fades with the asked quality, with the class in its colour; an amount of z."""

    def __init__(self, z: float, sign: float = 1.0):
        super().__init__(tiny().model, len(DISTORTIONS))
        self.z, self.sign = z, sign

    def forward(self, noise, reference, distortion, quality):
        pattern = torch.linspace(-1, 1, reference.shape[-1]).sign() * torch.ones_like(reference)
        worse = (1 - quality if self.sign > 0 else quality)[:, None, None, None]
        return (reference + 0.3 * worse * pattern + self.z * noise[:, :1]).clamp(0, 1)


class Reading(QualityNetwork):
    """Predicts the class and quality that are written into a crop's first pixels."""

    def __init__(self):
        super().__init__(tiny().model, len(DISTORTIONS), 32)

    def forward(self, images: Tensor | Views) -> Outputs:
        crops = viewed(images).images
        distortion, quality = crops[:, 0, 0, 0], crops[:, 1, 0, 0]
        classes = torch.arange(len(DISTORTIONS)) / 10
        return Outputs(quality, -(distortion[:, None] - classes).abs(), quality, torch.ones_like(quality))


class Writing(Following):
    """Writes class and quality into the first pixels of its crops, of some classes only."""

    def __init__(self, followed: int):
        super().__init__(0.0)
        self.followed = followed

    def forward(self, noise, reference, distortion, quality):
        made = reference.clone()
        made[:, 0, 0, 0] = torch.where(distortion < self.followed, distortion, 0) / 10
        made[:, 1, 0, 0] = torch.where(distortion < self.followed, quality, 1 - quality)
        return made


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def measured(dataset, generator, quality_network=None):
    rows = torch.arange(len(dataset))
    return generated.measure(generator, quality_network, toy_source(dataset), rows[9:], rows[:9], DATA)


def test_mdsi_srocc_is_nearly_1_for_a_generator_that_follows_quality_and_nearly_minus_1_for_its_opposite(
    dataset,
):
    assert measured(dataset, Following(0.0))["generator_mdsi_srocc"] > 0.95
    assert measured(dataset, Following(0.0, sign=-1.0))["generator_mdsi_srocc"] < -0.95


def test_noise_sd_is_0_for_a_generator_that_ignores_z_and_the_sd_of_what_it_adds_otherwise(dataset):
    assert measured(dataset, Following(0.0))["generator_noise_sd"] == 0
    assert measured(dataset, Following(0.02))["generator_noise_sd"] == pytest.approx(0.02, rel=0.5)


class Copying(Following):
    def forward(self, noise, reference, distortion, quality):
        return reference


def test_a_generator_that_returns_the_reference_has_distances_of_1_and_changes_nothing(dataset):
    found = measured(dataset, Copying(0.0))
    for name in ("", *(f"/{distortion}" for distortion in DISTORTIONS)):
        assert found[f"generator_distance_l1{name}"] == pytest.approx(1)
        assert found[f"generator_distance_mdsi{name}"] == pytest.approx(1)
        assert found[f"generator_change_sd{name}"] == 0


def test_an_independent_evaluator_finds_the_classes_that_follow_the_condition(dataset):
    found = measured(dataset, Writing(2), Reading())
    shown = [found[f"generator_class_accuracy/{distortion}"] for distortion in DISTORTIONS]
    order = [found[f"generator_quality_srocc/{distortion}"] for distortion in DISTORTIONS]
    assert shown == [1, 1, 0] and order == pytest.approx([1, 1, -1])
    assert 0 < found["generator_class_accuracy"] < 1
    # Its predictions for truly distorted crops do not depend on the generator.
    other = measured(dataset, Writing(0), Reading())
    assert all(found[name] == other[name] for name in found if "real" in name)


def test_a_class_with_one_image_has_measures_that_are_numbers(dataset):
    rows = torch.arange(len(dataset))
    one_each = torch.tensor([int((toy_source(dataset).distortion == c).nonzero()[0]) for c in range(len(DISTORTIONS))])
    rest = rows[~torch.isin(rows, one_each)]
    found = generated.measure(Writing(2), Reading(), toy_source(dataset), rest, one_each, DATA)
    assert np.isfinite(list(found.values())).all()
    assert found[f"generator_quality_srocc/{DISTORTIONS[0]}"] == 0.0, "one quality has no rank"


def test_without_an_independent_evaluator_there_is_no_class_accuracy_and_no_quality_srocc(dataset):
    assert not [
        name for name in measured(dataset, Following(0.0)) if "class_accuracy" in name or "quality_srocc" in name
    ]


def test_every_measure_of_a_real_network_is_within_its_range_and_the_same_twice(dataset):
    network = build(tiny(), len(DISTORTIONS), 3)
    quality_network = build(tiny(), len(DISTORTIONS), 4).quality_network.eval()
    first, second = (measured(dataset, network.generator, quality_network) for _ in range(2))
    assert first == second
    assert all(-1 <= first[name] <= 1 for name in first if "quality" in name or "mdsi_srocc" in name)
    assert all(0 <= first[name] <= 1 for name in first if "class" in name)
