"""Exponential moving average of the weights: what is tested, published, and teaches the generator.

The weights of a training's final step vary from step to step; their average does not. It covers all of a part's state,
running statistics included, and changes nothing of the training itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gada_ray.model.quality_network import Gada

WARM_UP = 10
"""At update s the decay is at most (s + 1) / (s + 10), so that the initial weights soon lose their influence."""
POWER_ITERATION = ("_u", "_v")
"""Names of spectral normalisation's vectors, which are unit vectors of the latest weights."""


class ExponentialMovingAverage:
    """The average of a network in training; `network` holds it, always in evaluation mode and without gradients."""

    def __init__(self, network: Gada, decay: float) -> None:
        """Begin at a network's weights. A decay of 0 follows them."""
        averaged = Gada(
            network.generator, network.quality_network
        )  # a patch discriminator is neither tested nor published
        self.network: Gada = copy.deepcopy(averaged).eval().requires_grad_(False)
        self.decay = decay
        self.updates = {"quality_network": 0, "generator": 0}

    @torch.no_grad()
    def update(self, network: Gada, part: str) -> None:
        """Add the state of "quality_network" or "generator" after a step that trained it."""
        number = self.updates[part]
        decay = min(self.decay, (number + 1) / (number + WARM_UP))
        means, latest = [], []
        for (name, mean), (_, value) in zip(
            _state(getattr(self.network, part)), _state(getattr(network, part)), strict=True
        ):
            # Counts have no mean, and the mean of unit vectors is shorter: its norm would inflate the weights.
            if mean.is_floating_point() and not name.endswith(POWER_ITERATION):
                means.append(mean)
                latest.append(value)
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, latest, 1 - decay)
        self.updates[part] = number + 1

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to continue."""
        return {"network": self.network.state_dict(), "updates": dict(self.updates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; parts that it lacks stay as they are."""
        self.network.load_state_dict({**self.network.state_dict(), **state["network"]})
        self.updates |= state["updates"]


def _state(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers of a part with their names, in an order that its copy shares."""
    yield from part.named_parameters()
    yield from part.named_buffers()
