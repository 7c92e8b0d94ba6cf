"""What trials cost before they run, from similar trials that are done; `timing` measures what these do not tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from gada_ray.config import TrainingConfig, digest
from gada_ray.trials.identity import Execution, Trial
from gada_ray.trials.store import Result

Seconds = dict[str, float]
"""What parts of a training take on a kind of device: a step by its `step_kind`, the rest of a phase by `rest_kind`."""


Cost = Callable[[TrainingConfig, int], float]
"""Cost of a configuration without a number of first phases, as `work` or in seconds."""


@dataclass(frozen=True)
class Price:
    """Seconds of one training on its device: the steps of every phase, and the rest of each phase."""

    phases: tuple[float, ...]
    rest: float

    def seconds(self, skipped: int = 0) -> float:
        """All of it, or what is left when the first phases are taken over from another trial."""
        # A training is always tested once.
        return sum(self.phases[skipped:]) + max(1, len(self.phases) - skipped) * self.rest


def step_kind(config: TrainingConfig, number: int) -> str:
    """Names steps of equal cost. Rates, the number of steps and weights other than 0 do not matter."""
    phase = config.phases[number]
    terms = {name: bool(value) if name.endswith("_weight") else value for name, value in config.losses}
    kind = [phase.trains, phase.images, phase.conditions, phase.generated_by, phase.generated_weight > 0]
    # Unlabelled photographs take additional memory of the device.
    more: list[object] = ["extra"] if phase.uses_extra else []
    if phase.real_images != "labelled":
        more.append(phase.real_images)
    if phase.ranks:
        more.append(["ranking", phase.ranking.made_by, phase.ranking.pairs])
    return digest(["step", _shapes(config), terms, *kind, *more])


def rest_kind(config: TrainingConfig) -> str:
    """Names what a phase takes besides its steps, mostly its evaluation."""
    return digest(["rest", _shapes(config), config.evaluation.model_dump()])


def _shapes(config: TrainingConfig) -> dict[str, object]:
    # The number of labelled images does not change the cost.
    few = {"data": {"labelled_images", "labelled_by"}}
    return config.model_dump(include={"data", "model", "precision"}, exclude=few)


def price(config: TrainingConfig, seconds: Mapping[str, float]) -> Price | None:
    """Price of a training, or None where the time of a part is unknown."""
    kinds = [step_kind(config, number) for number in range(len(config.phases))]
    if not {*kinds, rest_kind(config)} <= seconds.keys():
        return None
    steps = (seconds[kind] * phase.steps for kind, phase in zip(kinds, config.phases, strict=True))
    return Price(tuple(steps), seconds[rest_kind(config)])


def from_past(results: Iterable[Result], execution: Execution) -> Seconds:
    """Means over finished trials on the same kind of device, compiled or not, on a CPU also with as many threads."""
    found: dict[str, list[float]] = {}
    for result in results:
        run, config = result.run, result.config
        alike = (run.device == "cpu") == (execution.device == "cpu") and run.compiled == bool(execution.compiler)
        if result.status != "finished" or not alike or (run.device == "cpu" and run.threads != execution.threads):
            continue
        trained = [(n, phase) for n, phase in enumerate(config.phases) if phase.name in run.phase_seconds]
        for number, phase in trained:
            found.setdefault(step_kind(config, number), []).append(run.phase_seconds[phase.name] / phase.steps)
        rest = (run.seconds - sum(run.phase_seconds.values())) / max(1, len(trained))
        found.setdefault(rest_kind(config), []).append(rest)
    return {kind: sum(values) / len(values) for kind, values in found.items()}


def skipped_phases(trial: Trial, available: Collection[str]) -> int:
    """How many first phases a trial can take over from trials with these signatures."""
    return next((phases for signature, phases in trial.starts.items() if signature in available), 0)


def work(config: TrainingConfig, skipped: int = 0) -> float:
    """Rough size of a trial, in no unit: enough to show the progress of a study."""
    step = {"generator": 6.0, "both": 3.0, "generated": 3.0, "real": 1.0}
    pixels = config.data.crop_px**2
    total = 0.0
    for phase in config.phases[skipped:]:
        kind = "generator" if "generator" in phase.trains else phase.images
        total += step[kind] * phase.steps * config.data.batch * pixels
    return total + max(1, len(config.phases) - skipped) * 30 * config.evaluation.crops * pixels


def trial_work(trials: Iterable[Trial], cost: Cost = work) -> dict[str, float]:
    """Cost of trials by signature, without phases that they take over from each other."""
    everything = {trial.signature: trial for trial in trials}
    return {name: cost(trial.config, skipped_phases(trial, everything)) for name, trial in everything.items()}
