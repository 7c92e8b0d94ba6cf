from __future__ import annotations

import pytest
import torch
from torch import nn

from gada_ray.evaluation import generated
from gada_ray.model.generator import Generator
from gada_ray.training.phases import build
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source


class Obedient(Generator):
    """Adds structure that fades with the asked quality; an amount of z."""

    def __init__(self, z: float, sign: float = 1.0):
        nn.Module.__init__(self)
        self.z, self.sign, self.config = z, sign, tiny().model

    def forward(self, noise, reference, distortion, quality):
        pattern = torch.linspace(-1, 1, reference.shape[-1]).sign() * torch.ones_like(reference)
        worse = (1 - quality if self.sign > 0 else quality)[:, None, None, None]
        return (reference + 0.3 * worse * pattern + self.z * noise[:, :1]).clamp(0, 1)


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def measured(dataset, generator):
    config = tiny({"data.crop_px": 32})
    network = build(config, len(DISTORTIONS), 3)
    network.generator = generator
    rows = torch.arange(len(dataset))
    return generated.measure(network, toy_source(dataset), rows[9:], rows[:9], 32)


def test_a_generator_that_does_as_it_is_asked_has_a_rank_correlation_of_nearly_1_and_one_that_does_the_opposite_not(
    dataset,
):
    assert measured(dataset, Obedient(0.0))["generator_obeys_mdsi"] > 0.95
    assert measured(dataset, Obedient(0.0, sign=-1.0))["generator_obeys_mdsi"] < -0.95


def test_the_effect_of_noise_is_0_for_a_generator_that_ignores_it_and_its_size_for_one_that_adds_it(dataset):
    assert measured(dataset, Obedient(0.0))["generator_noise_sd"] == 0
    assert measured(dataset, Obedient(0.02))["generator_noise_sd"] == pytest.approx(0.02, rel=0.5)


def test_every_measure_of_a_real_network_is_within_its_range_and_the_same_twice(dataset):
    config = tiny()
    network, rows = build(config, len(DISTORTIONS), 3), torch.arange(len(dataset))
    first, second = (generated.measure(network, toy_source(dataset), rows[9:], rows[:9], 16) for _ in range(2))
    assert first == second
    assert all(-1 <= first[f"generator_obeys_{name}"] <= 1 for name in ("mdsi", "evaluator"))
    assert 0 <= first["generator_class_accuracy"] <= 1
    assert first["generator_noise_sd"] > 0
