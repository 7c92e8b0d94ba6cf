"""What a training costs, timed on a few steps of this machine."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable

import torch

from gada_ray.config import TrainingConfig
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation import protocol
from gada_ray.study.price import Seconds, rest_kind, step_kind
from gada_ray.system import devices
from gada_ray.training.phases import Phase, build
from gada_ray.trials.identity import Execution, Trial
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store

PROBE_S = 0.25
"""Seconds for which a step is repeated to time it, after one that warms up."""


def probe(
    config: TrainingConfig, dataset: IqaDataset, images: int, execution: Execution, known: Iterable[str] = ()
) -> Seconds:
    """Time a few steps of every phase, and one batch of test crops, on the real data; nothing is kept.

    `images` is the number of held-out images. Parts whose kinds are `known` are left out.
    """
    torch.set_num_threads(execution.threads)
    device = torch.device(execution.device)
    source, rows = CropSource(dataset, device), torch.arange(len(dataset))
    network = build(config, len(dataset.distortions), 0)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = dict.fromkeys(known, 0.0)
    for number in range(len(config.phases)):
        if step_kind(config, number) not in seconds:
            training = Phase(network, source, rows, config, number)
            training.prepare()
            seconds[step_kind(config, number)] = _time(lambda step: training.step(step, 0), device)  # noqa: B023
    if rest_kind(config) not in seconds:
        crops = config.evaluation.crops
        some = rows[: max(1, protocol.CROPS_AT_ONCE // crops)]
        corners = protocol.windows(dataset, source, some, config)
        once = _time(lambda _: protocol.predict(network.quality_network, source, some, corners, config, crops), device)
        looks = 1 + max(0, config.evaluation.curve_points - 1) * min(1.0, config.evaluation.curve_crops / crops)
        seconds[rest_kind(config)] = looks * once * images / len(some)
    devices.free(device)
    return {kind: value for kind, value in seconds.items() if kind not in set(known)}


def peak_mb(trainings: Iterable[tuple[TrainingConfig, IqaDataset]], execution: Execution) -> float:
    """MiB of its GPU that the largest of some trainings takes, found by steps of every kind among them."""
    device = torch.device(execution.device)
    devices.configure_backend(device)
    known: Seconds = {}
    again = 0.0
    for config, dataset in trainings:
        known |= probe(config, dataset, 1, execution, known)
        devices.free(device)  # what one network left must not count for the next
        if config.evaluation.independent_evaluator_steps:
            again = max(again, dataset.pixels.nbytes / 2**20)
    # The quality network of generated images is a training inside another, with pixels of its own.
    return devices.reserved_mb(device) + again


def besides(trial: Trial, dataset: IqaDataset, execution: Execution, seconds: Seconds) -> float:
    """Seconds that a trial takes besides its steps and its tests: network, first steps, pictures, files.

    Found by a trial of one step a phase, tested on one crop an image, whose result is thrown away.
    """
    short = [phase.model_copy(update={"steps": 1}) for phase in trial.config.phases]
    evaluation = trial.config.evaluation.model_copy(
        update={"crops": 1, "curve_crops": 1, "independent_evaluator_steps": 0}
    )
    config = trial.config.model_copy(update={"phases": tuple(short), "evaluation": evaluation})
    with tempfile.TemporaryDirectory() as folder:
        run = run_trial(dataclasses.replace(trial, config=config), dataset, Store(folder), execution).run
    steps = sum(seconds[step_kind(config, number)] for number in range(len(config.phases)))
    return max(0.0, run.seconds - run.evaluation_seconds - steps)


def _time(action: Callable[[int], object], device: torch.device) -> float:
    """Seconds a call, after one that warms up."""

    def once() -> None:
        action(0)
        devices.synchronize(device)

    once()
    since, calls, passed = time.perf_counter(), 0, 0.0
    while passed < PROBE_S:
        once()
        calls, passed = calls + 1, time.perf_counter() - since
    return passed / calls
