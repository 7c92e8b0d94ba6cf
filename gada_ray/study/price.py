"""What trials cost before they run: measured on a few steps, or known from trials like them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import torch

from gada_ray.config import TrainingConfig, digest
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation import protocol
from gada_ray.store import Result
from gada_ray.training.phases import Phase, build
from gada_ray.trial import Execution, Trial

PROBE_S = 0.25
"""Seconds for which a step is repeated to time it, after one that warms up."""
CUDA_CONTEXT_MB = 600.0
"""What a process takes of a GPU besides its tensors."""
MAX_SHARING = 8
"""Trials on one GPU; more only wait for each other."""

Seconds = dict[str, float]
"""What parts of a training take on a kind of device: a step by its `step_kind`, the rest of a phase by `rest_kind`."""


@dataclass(frozen=True)
class Price:
    """Seconds of one training on its device: the steps of every phase, and all else that comes with a phase."""

    phases: tuple[float, ...]
    rest: float

    def seconds(self, skipped: int = 0) -> float:
        """All of it, or what is left when the first phases are taken over from another trial."""
        # A training is always tested once.
        return sum(self.phases[skipped:]) + max(1, len(self.phases) - skipped) * self.rest


def step_kind(config: TrainingConfig, number: int) -> str:
    """Names steps that cost the same: rates and the number of steps do not matter, nor do weights but for 0."""
    phase = config.phases[number]
    terms = {name: bool(value) if name.endswith("_weight") else value for name, value in config.losses}
    kind = [phase.trains, phase.images, phase.conditions, phase.generated_by, phase.generated_weight > 0]
    return digest(["step", _shapes(config), terms, *kind])


def rest_kind(config: TrainingConfig) -> str:
    """Names what comes with a phase besides its steps, looking at its results above all."""
    return digest(["rest", _shapes(config), config.evaluation.model_dump()])


def _shapes(config: TrainingConfig) -> dict[str, object]:
    # How many images are rated costs nothing.
    few = {"data": {"rated_images", "rated_by"}}
    return config.model_dump(include={"data", "model", "precision"}, exclude=few)


def price(config: TrainingConfig, seconds: Mapping[str, float]) -> Price | None:
    """What a training costs, or None where a part of it is unknown."""
    kinds = [step_kind(config, number) for number in range(len(config.phases))]
    if not {*kinds, rest_kind(config)} <= seconds.keys():
        return None
    steps = (seconds[kind] * phase.steps for kind, phase in zip(kinds, config.phases, strict=True))
    return Price(tuple(steps), seconds[rest_kind(config)])


def from_past(results: Iterable[Result], execution: Execution) -> Seconds:
    """Means over trials that were finished on a like device; on a CPU also with as many threads."""
    found: dict[str, list[float]] = {}
    for result in results:
        run, config = result.run, result.config
        alike = (run.device == "cpu") == (execution.device == "cpu")
        if result.status != "finished" or not alike or (run.device == "cpu" and run.threads != execution.threads):
            continue
        trained = [(n, phase) for n, phase in enumerate(config.phases) if phase.name in run.phase_seconds]
        for number, phase in trained:
            found.setdefault(step_kind(config, number), []).append(run.phase_seconds[phase.name] / phase.steps)
        rest = (run.seconds - sum(run.phase_seconds.values())) / max(1, len(trained))
        found.setdefault(rest_kind(config), []).append(rest)
    return {kind: sum(values) / len(values) for kind, values in found.items()}


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
        once = _time(lambda _: protocol.predict(network.judge, source, some, corners, config, crops), device)
        looks = 1 + max(0, config.evaluation.curve_points - 1) * min(1.0, config.evaluation.curve_crops / crops)
        seconds[rest_kind(config)] = looks * once * images / len(some)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return {kind: value for kind, value in seconds.items() if kind not in set(known)}


def peak_mb(config: TrainingConfig, dataset: IqaDataset, execution: Execution) -> float:
    """MiB of its GPU that a trial takes, found by a probe."""
    torch.cuda.reset_peak_memory_stats()
    probe(config, dataset, 1, execution)
    return torch.cuda.max_memory_reserved() / 2**20


def gpu_share(peak_mb: float, total_mb: float) -> float:
    """The fraction of a GPU to ask for, so that as many trials share it as fit with a tenth to spare; at most eight.

    Ray counts in steps of 0.0001, and k shares of 1/k must not add up to more than 1.
    """
    fitting = int(0.9 * total_mb / (peak_mb + CUDA_CONTEXT_MB))
    return math.floor(10_000 / max(1, min(fitting, MAX_SHARING))) / 10_000


def _time(action: Callable[[int], object], device: torch.device) -> float:
    """Seconds a call, after one that warms up."""

    def once() -> None:
        action(0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    once()
    since, calls, passed = time.perf_counter(), 0, 0.0
    while passed < PROBE_S:
        once()
        calls, passed = calls + 1, time.perf_counter() - since
    return passed / calls


def skipped_phases(trial: Trial, available: Collection[str]) -> int:
    """How many first phases a trial can take over from trials with these signatures."""
    return next((phases for signature, phases in trial.starts.items() if signature in available), 0)


def work(config: TrainingConfig, skipped: int = 0) -> float:
    """Roughly how much a trial is, in no unit: good enough to tell how far a study is."""
    step = {"generator": 6.0, "both": 3.0, "generated": 3.0, "real": 1.0}
    pixels = config.data.crop_px**2
    total = 0.0
    for phase in config.phases[skipped:]:
        kind = "generator" if "generator" in phase.trains else phase.images
        total += step[kind] * phase.steps * config.data.batch * pixels
    return total + max(1, len(config.phases) - skipped) * 30 * config.evaluation.crops * pixels


def trial_work(trials: Iterable[Trial]) -> dict[str, float]:
    """`work` of trials by signature, what they can take over from each other left out."""
    everything = {trial.signature: trial for trial in trials}
    return {name: work(trial.config, skipped_phases(trial, everything)) for name, trial in everything.items()}
