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


class Obedient(PlainGenerator):
    """Adds structure that fades with the asked quality, with the class in its colour; an amount of z."""

    def __init__(self, z: float, sign: float = 1.0):
        super().__init__(tiny().model, len(DISTORTIONS))
        self.z, self.sign = z, sign

    def forward(self, noise, reference, distortion, quality):
        pattern = torch.linspace(-1, 1, reference.shape[-1]).sign() * torch.ones_like(reference)
        worse = (1 - quality if self.sign > 0 else quality)[:, None, None, None]
        return (reference + 0.3 * worse * pattern + self.z * noise[:, :1]).clamp(0, 1)


class Knowing(QualityNetwork):
    """Says of a crop what stands in its first pixels."""

    def __init__(self):
        super().__init__(tiny().model, len(DISTORTIONS), 32)

    def forward(self, images: Tensor | Views) -> Outputs:
        crops = viewed(images).images
        distortion, quality = crops[:, 0, 0, 0], crops[:, 1, 0, 0]
        classes = torch.arange(len(DISTORTIONS)) / 10
        return Outputs(quality, -(distortion[:, None] - classes).abs(), quality, torch.ones_like(quality))


class Writing(Obedient):
    """Writes class and quality into the first pixels of its crops, of some classes only."""

    def __init__(self, obeyed: int):
        super().__init__(0.0)
        self.obeyed = obeyed

    def forward(self, noise, reference, distortion, quality):
        made = reference.clone()
        made[:, 0, 0, 0] = torch.where(distortion < self.obeyed, distortion, 0) / 10
        made[:, 1, 0, 0] = torch.where(distortion < self.obeyed, quality, 1 - quality)
        return made


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def measured(dataset, generator, quality_network=None):
    rows = torch.arange(len(dataset))
    return generated.measure(generator, quality_network, toy_source(dataset), rows[9:], rows[:9], DATA)


def test_a_generator_that_does_as_it_is_asked_has_a_rank_correlation_of_nearly_1_and_one_that_does_the_opposite_not(
    dataset,
):
    assert measured(dataset, Obedient(0.0))["generator_mdsi_srocc"] > 0.95
    assert measured(dataset, Obedient(0.0, sign=-1.0))["generator_mdsi_srocc"] < -0.95


def test_the_effect_of_noise_is_0_for_a_generator_that_ignores_it_and_its_size_for_one_that_adds_it(dataset):
    assert measured(dataset, Obedient(0.0))["generator_noise_sd"] == 0
    assert measured(dataset, Obedient(0.02))["generator_noise_sd"] == pytest.approx(0.02, rel=0.5)


class Copying(Obedient):
    def forward(self, noise, reference, distortion, quality):
        return reference


def test_a_generator_that_does_nothing_is_as_far_from_the_truth_as_the_reference_and_changes_nothing(dataset):
    found = measured(dataset, Copying(0.0))
    for name in ("", *(f"/{distortion}" for distortion in DISTORTIONS)):
        assert found[f"generator_distance_l1{name}"] == pytest.approx(1)
        assert found[f"generator_distance_mdsi{name}"] == pytest.approx(1)
        assert found[f"generator_change_sd{name}"] == 0


def test_a_judge_of_its_own_sees_which_classes_show_what_was_asked(dataset):
    found = measured(dataset, Writing(2), Knowing())
    shown = [found[f"generator_class_accuracy/{distortion}"] for distortion in DISTORTIONS]
    order = [found[f"generator_quality_srocc/{distortion}"] for distortion in DISTORTIONS]
    assert shown == [1, 1, 0] and order == pytest.approx([1, 1, -1])
    assert 0 < found["generator_class_accuracy"] < 1
    # What it says of true crops does not depend on the generator.
    other = measured(dataset, Writing(0), Knowing())
    assert all(found[name] == other[name] for name in found if "real" in name)


def test_a_class_with_one_image_has_measures_that_are_numbers(dataset):
    rows = torch.arange(len(dataset))
    one_each = torch.tensor([int((toy_source(dataset).distortion == c).nonzero()[0]) for c in range(len(DISTORTIONS))])
    rest = rows[~torch.isin(rows, one_each)]
    found = generated.measure(Writing(2), Knowing(), toy_source(dataset), rest, one_each, DATA)
    assert np.isfinite(list(found.values())).all()
    assert found[f"generator_quality_srocc/{DISTORTIONS[0]}"] == 0.0, "one quality has no rank"


def test_without_a_judge_of_its_own_nothing_is_said_of_what_crops_show(dataset):
    assert not [name for name in measured(dataset, Obedient(0.0)) if "shows" in name or "real" in name]


def test_every_measure_of_a_real_network_is_within_its_range_and_the_same_twice(dataset):
    network = build(tiny(), len(DISTORTIONS), 3)
    quality_network = build(tiny(), len(DISTORTIONS), 4).quality_network.eval()
    first, second = (measured(dataset, network.generator, quality_network) for _ in range(2))
    assert first == second
    assert all(-1 <= first[name] <= 1 for name in first if "quality" in name or "follows the condition" in name)
    assert all(0 <= first[name] <= 1 for name in first if "class" in name)
