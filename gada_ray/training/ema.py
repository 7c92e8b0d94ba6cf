"""Averaged weights: what is tested, looked at and handed on.

The weights of a training's last step are a draw; their exponential moving average is not. It covers all of a part's
state, running statistics included, and changes nothing of the training itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from gada_ray.model.quality_network import Gada

WARM_UP = 10
"""At update s the decay is at most (s + 1) / (s + 10), so that the first weights are soon forgotten."""


class ExponentialMovingAverage:
    """The average of a network in training; `network` holds it, always in evaluation mode and without gradients."""

    def __init__(self, network: Gada, decay: float) -> None:
        """Begin at a network's weights. A decay of 0 follows them."""
        self.network: Gada = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = {"quality_network": 0, "generator": 0}

    @torch.no_grad()
    def update(self, network: Gada, part: str) -> None:
        """Take in the state of "quality_network" or "generator" after a step that trained it."""
        number = self.updates[part]
        decay = min(self.decay, (number + 1) / (number + WARM_UP))
        average, latest = _state(getattr(self.network, part)), _state(getattr(network, part))
        floats = [i for i, value in enumerate(average) if value.is_floating_point()]
        torch._foreach_lerp_([average[i] for i in floats], [latest[i] for i in floats], 1 - decay)
        for mean, value in zip(average, latest, strict=True):
            if not mean.is_floating_point():  # a count
                mean.copy_(value)
        self.updates[part] = number + 1

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on."""
        return {"network": self.network.state_dict(), "updates": dict(self.updates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; parts that it lacks stay as they are."""
        self.network.load_state_dict({**self.network.state_dict(), **state["network"]})
        self.updates |= state["updates"]


def _state(part: nn.Module) -> list[Tensor]:
    """Weights and buffers of a part, in an order that its copy shares."""
    return [*part.parameters(), *part.buffers()]
