"""What trials cost before they run: measured on a few steps, or known from trials like them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from gada_ray.config import TrainingConfig
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation import protocol
from gada_ray.training.phases import Phase, build
from gada_ray.trial import Execution
from gada_ray.tuning.search import Configuration, Job

PROBE_STEPS = 3
CUDA_CONTEXT_MB = 600.0
"""What a process takes of a GPU besides its tensors."""
MAX_SHARING = 8
"""Trials on one GPU; more only wait for each other."""


@dataclass(frozen=True)
class Price:
    """Seconds of one training on its device, by phase, and of looking at its results."""

    phases: tuple[float, ...]
    evaluation: float
    source: str
    """"probe" or "past trials"."""
    peak_mb: float = 0.0
    """Memory that the probe took on a GPU."""

    def seconds(self, skipped: int = 0) -> float:
        """All of it, or what is left when the first phases are taken over from another trial."""
        share = max(1, len(self.phases) - skipped) / len(self.phases)  # it is always tested once
        return sum(self.phases[skipped:]) + share * self.evaluation


def probe(config: TrainingConfig, dataset: IqaDataset, images: int, execution: Execution) -> Price:
    """Time a few steps of every phase, and one batch of test crops, on the real data; nothing is kept.

    `images` is the number of held-out images.
    """
    torch.set_num_threads(execution.threads)
    device = torch.device(execution.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    source, rows = CropSource(dataset, device), torch.arange(len(dataset))
    network = build(config, len(dataset.distortions), 0)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = []
    for number, phase in enumerate(config.phases):
        training = Phase(network, source, rows, config, number)
        training.prepare()
        seconds.append(_time(lambda step: training.step(step, 0), device) * phase.steps)  # noqa: B023
    some = rows[: max(1, protocol.CROPS_AT_ONCE // config.evaluation.crops)]
    corners = protocol.windows(dataset, source, some, config)
    crops = config.evaluation.crops
    once = _time(lambda _: protocol.predict(network.judge, source, some, corners, config, crops), device)
    looks = len(config.phases) * (
        1 + max(0, config.evaluation.curve_points - 1) * min(1.0, config.evaluation.curve_crops / crops)
    )
    peak_mb = torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else 0.0
    return Price(tuple(seconds), looks * once * images / len(some), "probe", peak_mb)


def gpu_share(peak_mb: float, total_mb: float) -> float:
    """The fraction of a GPU to ask for, so that as many trials share it as fit with a tenth to spare; at most eight.

    Ray counts in steps of 0.0001, and k shares of 1/k must not add up to more than 1.
    """
    fitting = int(0.9 * total_mb / (peak_mb + CUDA_CONTEXT_MB))
    return math.floor(10_000 / max(1, min(fitting, MAX_SHARING))) / 10_000


def _time(action: object, device: torch.device) -> float:
    """Seconds a call, after one that warms up."""
    assert callable(action)
    action(0)
    since = time.perf_counter()
    for step in range(PROBE_STEPS):
        action(step)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - since) / PROBE_STEPS


def from_past(configurations: Iterable[Configuration], device: str) -> dict[str, Price]:
    """Prices by level from the trials of a study that are done on a kind of device, and trained every phase."""
    prices = {}
    for configuration in configurations:
        runs = [r.run for r in configuration.results.values() if r and r.status == "finished" and not r.run.reused]
        runs = [run for run in runs if (run.device == "cpu") == (device == "cpu")]
        if runs:
            names = [phase.name for phase in configuration.run.config.phases]
            phases = tuple(sum(run.phase_seconds[name] for run in runs) / len(runs) for name in names)
            evaluation = sum(run.evaluation_seconds for run in runs) / len(runs)
            prices[configuration.run.level] = Price(phases, evaluation, "past trials")
    return prices


def skipped_phases(job: Job, available: Iterable[str]) -> int:
    """How many first phases a job can take over from trials with these signatures."""
    signatures = set(available)
    return next((phases for signature, phases in job.trial.starts.items() if signature in signatures), 0)


def work(config: TrainingConfig, skipped: int = 0) -> float:
    """Roughly how much a trial is, in no unit: good enough to tell how far a study is."""
    step = {"generator": 6.0, "both": 3.0, "generated": 3.0, "real": 1.0}
    pixels = config.data.crop_px**2
    total = 0.0
    for phase in config.phases[skipped:]:
        kind = "generator" if "generator" in phase.trains else phase.images
        total += step[kind] * phase.steps * config.data.batch * pixels
    return total + max(1, len(config.phases) - skipped) * 30 * config.evaluation.crops * pixels


def job_work(jobs: Iterable[Job], available: Iterable[str]) -> Mapping[str, float]:
    """`work` of jobs by signature, what they can take over from each other or from finished trials left out."""
    everything = list(jobs)
    signatures = {job.trial.signature for job in everything} | set(available)
    return {job.trial.signature: work(job.trial.config, skipped_phases(job, signatures)) for job in everything}
