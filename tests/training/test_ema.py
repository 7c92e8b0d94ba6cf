from __future__ import annotations

from typing import Any

import torch

from gada_ray.training.ema import WARM_UP, ExponentialMovingAverage
from gada_ray.training.phases import Phase, build
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source


def trained(decay: float, values: dict[str, Any] | None = None, steps: int = 4):
    """A network after some steps of phase 1, its moving average, and the states on the way."""
    config = tiny({"ema_decay": decay, **(values or {})})
    dataset = toy_dataset()
    network = build(config, len(DISTORTIONS), 7)
    ema = ExponentialMovingAverage(network, decay)
    states = [{name: value.clone() for name, value in network.state_dict().items()}]
    phase = Phase(network, toy_source(dataset), torch.arange(len(dataset)), config, 0, ema)
    phase.prepare()
    for step in range(steps):
        phase.step(step, 0)
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    return network, ema, states


def test_the_average_is_exponential_with_a_warm_up_over_all_state_of_both_networks():
    _, ema, states = trained(0.5)
    for name, found in ema.network.state_dict().items():
        expected = states[0][name]
        for number, state in enumerate(states[1:]):
            decay = min(0.5, (number + 1) / (number + WARM_UP))
            expected = decay * expected + (1 - decay) * state[name] if found.is_floating_point() else state[name]
        torch.testing.assert_close(found, expected)
    moved = {name.split(".")[0] for name, value in ema.network.state_dict().items() if (value != states[0][name]).any()}
    assert moved == {"quality_network", "generator"}
    assert any("running_mean" in name for name in ema.network.state_dict())


def test_a_decay_of_0_follows_the_last_weights_to_the_bit():
    network, ema, _ = trained(0.0)
    latest = network.state_dict()
    assert all(torch.equal(value, latest[name]) for name, value in ema.network.state_dict().items())


def test_the_vectors_of_spectral_normalisation_are_copied_so_that_their_norm_is_1():
    network, ema, _ = trained(0.9, {"model.norm": "spectral"})
    latest = network.quality_network.state_dict()
    vectors = [name for name in latest if name.endswith(("_u", "_v"))]
    assert vectors
    for name in vectors:
        assert torch.equal(ema.network.quality_network.state_dict()[name], latest[name])


def test_an_average_does_not_touch_the_training_it_watches():
    one, other = trained(0.9)[0].state_dict(), trained(0.0)[0].quality_network.state_dict()
    # The generator learns from the ema, so that only the quality network's own training is the same.
    assert all(torch.equal(value, one[f"quality_network.{name}"]) for name, value in other.items())


def test_a_saved_average_goes_on_as_if_it_had_not_been_saved():
    network, ema, _ = trained(0.9)
    again = ExponentialMovingAverage(network, 0.9)
    again.load_state_dict(ema.state_dict())
    for one in (ema, again):
        one.update(network, "quality_network")
    assert again.updates == ema.updates == {"quality_network": 5, "generator": 4}
    found = again.network.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in ema.network.state_dict().items())
