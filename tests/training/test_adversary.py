"""The patch discriminator in the loop of phases; the loop itself is tested in test_phases.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gada_ray import TrainingConfig, recipe
from gada_ray.config import ConfigError
from gada_ray.model.critic import PatchDiscriminator
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.phases import Phase, build
from gada_ray.trials.run import EndedError, Execution, run_trial
from gada_ray.trials.store import CHECKPOINT, Store
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source, toy_trial


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def gada(values: dict[str, Any] | None = None, config: TrainingConfig | None = None) -> TrainingConfig:
    """A tiny training by the recipe with a patch discriminator."""
    return tiny(values, config or recipe("gada", 6, 5, 4))


def start(dataset, config, number=0):
    network = build(config, len(DISTORTIONS), 7)
    phase = Phase(network, toy_source(dataset), torch.arange(len(dataset)), config, number)
    phase.prepare()
    return network, phase


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before, module):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_phase_1_trains_the_patch_discriminator_in_the_place_of_the_source_head(dataset):
    network, phase = start(dataset, gada())
    head = state(network.quality_network.discriminator)
    before = state(network.part("discriminator"))
    terms = [phase.step(step, 0) for step in range(2)]
    assert isinstance(network.part("discriminator"), PatchDiscriminator)
    assert not same(before, network.part("discriminator"))
    assert same(head, network.quality_network.discriminator)
    assert {"source", "generator_source"} <= set(terms[0])


@pytest.mark.parametrize("number", [1, 2])
def test_later_phases_leave_it_bitwise_unchanged(dataset, number):
    network, phase = start(dataset, gada(), number)
    before = state(network.part("discriminator"))
    phase.step(0, 0)
    assert same(before, network.part("discriminator"))


def test_it_has_its_own_optimiser_with_its_own_rate(dataset):
    _, phase = start(dataset, gada({"rates.patch_discriminator": 2e-4}))
    assert set(phase.optimisers) == {"quality_network", "generator", "critic"}
    (group,) = phase.optimisers["critic"].param_groups
    assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.99))
    assert set(start(dataset, gada(), 1)[1].optimisers) == {"quality_network"}


def test_the_quality_network_trains_as_without_it(dataset):
    """What tells real from generated crops shares nothing with backbone, classifier and evaluator."""
    states = []
    for values in ({}, {"losses.adversarial_weight": 0.0}):
        network, phase = start(dataset, gada(values))
        phase.step(0, 0)
        states.append(state(network.quality_network))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_all_other_parts_start_the_same_with_and_without_it():
    patch = build(gada(), 3, 5)
    without = build(gada({"losses.adversarial_weight": 0.0}), 3, 5)
    backbone = build(gada({"model.discriminator": "backbone"}), 3, 5)
    assert patch.critic is not None and without.critic is None and backbone.critic is None
    for other in (without, backbone):
        assert all(torch.equal(value, patch.state_dict()[name]) for name, value in other.state_dict().items())


def test_the_adversarial_loss_alone_moves_the_generator(dataset):
    off = {f"losses.{name}_weight": 0.0 for name in ("l1", "statistics", "spectrum", "generator_class")}
    network, phase = start(dataset, gada({**off, "losses.generator_quality_weight": 0.0}))
    before = state(network.generator)
    phase.step(0, 0)
    assert not same(before, network.generator)


def test_a_heavier_adversarial_weight_moves_the_generator_alone(dataset):
    """A patch discriminator has no loss but its own, so that a weight would only be a learning rate."""
    states = []
    for weight in (0.1, 5.0):
        network, phase = start(dataset, gada({"losses.adversarial_weight": weight}))
        phase.step(0, 0)
        states.append((state(network.part("discriminator")), state(network.generator)))
    assert all(torch.equal(value, states[1][0][name]) for name, value in states[0][0].items())
    assert any(not torch.equal(value, states[1][1][name]) for name, value in states[0][1].items())


def test_the_generator_learns_to_be_taken_for_real_by_one_that_stands_still(dataset):
    off = {f"losses.{name}_weight": 0.0 for name in ("l1", "statistics", "spectrum", "generator_class")}
    slow = {"rates.patch_discriminator": 1e-12, "data.batch": 16}
    _, phase = start(dataset, gada({**off, **slow, "losses.generator_quality_weight": 0.0}))
    terms = [float(phase.step(step, 0)["generator_source"]) for step in range(16)]
    assert sum(terms[-5:]) < sum(terms[:5])


def test_it_is_in_no_moving_average():
    network = build(gada(), 3, 0)
    average = ExponentialMovingAverage(network, 0.9)
    assert average.network.critic is None
    assert not any(name.startswith("critic") for name in average.state_dict()["network"])


@pytest.mark.parametrize("steps", [3, 8])
def test_a_trial_that_is_stopped_in_any_phase_ends_with_the_same_bits(dataset, tmp_path, steps):
    trial = toy_trial(dataset, gada())
    quiet, hit = Store(tmp_path / "quiet"), Store(tmp_path / "hit")
    expected = run_trial(trial, dataset, quiet)
    asked = iter(range(1000))
    with pytest.raises(EndedError):
        run_trial(trial, dataset, hit, Execution(ending=lambda: next(asked) == steps))
    assert hit.read(trial.signature, CHECKPOINT) is not None
    result = run_trial(trial, dataset, hit)
    assert result.metrics == expected.metrics
    for name in ("predictions.csv", "weights.pt", "patches.npz"):
        assert hit.read(trial.signature, name) == quiet.read(trial.signature, name), name


def test_a_phase_that_trains_it_must_train_the_generator():
    with pytest.raises(ConfigError, match=r"'augmentation' trains a patch discriminator without the generator"):
        gada({"phases.augmentation.trains": ("backbone", "discriminator")})


def test_a_generator_without_its_adversary_is_refused():
    with pytest.raises(ValueError, match=r"without the discriminator, its adversary"):
        gada({"phases.gan.trains": ("generator", "backbone")}, config=recipe("gada", 1, 1, 1))


def test_bfloat16_trains_with_finite_losses_near_those_of_float32(dataset):
    exact = start(dataset, gada())[1].step(0, 0)
    rough = start(dataset, gada({"precision": "bfloat16"}))[1].step(0, 0)
    for name, value in exact.items():
        assert rough[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.02)
