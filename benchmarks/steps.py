"""Training steps on real crops, and the same steps on tensors that are already in the device's memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gada_ray.config import TrainingConfig
from gada_ray.data.crops import CropSource
from gada_ray.system import devices
from gada_ray.training.phases import Phase, build


class InMemory(CropSource):
    """Returns the same random crops at every call."""

    def gather(self, images: Tensor, top: Tensor, left: Tensor, crop_px: int) -> Tensor:
        """A tensor that is already on the device."""
        if not hasattr(self, "crops"):
            random = torch.rand(len(images), 3, crop_px, crop_px, device=self.device)
            self.crops = random.contiguous(memory_format=torch.channels_last)
        return self.crops


def alternating(
    one: Callable[[int], object], other: Callable[[int], object], repeats: int, device: torch.device
) -> tuple[float, float]:
    """Median seconds of two actions that alternate, after two warm-up rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 2):
        for action, seconds in zip((one, other), times, strict=True):
            devices.synchronize(device)
            since = time.perf_counter()
            action(number)
            devices.synchronize(device)
            seconds.append(time.perf_counter() - since)
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])


def phase_on(source: CropSource, config: TrainingConfig, number: int) -> Phase:
    """A phase of a new network on all images of a source."""
    network = build(config, int(source.distortion.max()) + 1, 0)
    network.to(source.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = Phase(network, source, torch.arange(len(source.quality)), config, number)
    phase.prepare()
    return phase
