"""One configuration on one split, end to end: train every phase, test, and leave the result in the store.

A trial is idempotent: run again, it returns its result if it is done, continues from its checkpoint if it is half done,
starts from another trial's weights if that trial was its first phases, and else starts from nothing. The numbers are
the same in all four cases: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import socket
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from gada_ray.config import CODE_VERSION
from gada_ray.data.crops import CropSource, seed_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.labelled import labelled_rows
from gada_ray.evaluation import generated
from gada_ray.evaluation.held_out import HeldOut
from gada_ray.evaluation.metrics import image_blind
from gada_ray.evaluation.pooling import CropScores
from gada_ray.model.generator import Generator
from gada_ray.model.quality_network import Gada, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import checkpoint
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.memory import keep_freed_memory
from gada_ray.training.phases import DivergedError, Phase, build
from gada_ray.trials import state
from gada_ray.trials.identity import ON_CPU, EndedError, Execution, Progress, Report, Trial, independent_evaluator
from gada_ray.trials.state import CURVES, WEIGHTS, Sums, TrainingState
from gada_ray.trials.store import DatasetRecord, FoldRecord, PhaseResult, Result, RunRecord, Store

__all__ = ["EndedError", "Execution", "Progress", "Report", "Trial", "independent_evaluator", "run_trial"]

LOSS_POINTS = 50
"""Points of the loss curves in a phase; a checkpoint can be taken at each."""


def run_trial(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution = ON_CPU, report: Report = lambda _: None
) -> Result:
    """Train and test one trial, or return its stored result.

    `report` gets a dict at every point of the loss curves: phase, steps_done, steps, and the latest losses and
    correlations; and at the start "warning", a sentence for people, if the trial's checkpoint cannot be used. A
    training whose loss is no longer finite, or whose device runs out of memory, ends in a result with status
    "diverged" or "oom" and the cause.

    Raises:
        ValueError: if the dataset, or the photographs that it has besides, are not those that the trial names.
        DataError: for fewer images of the training part than shall be labelled.
        StoreError: if the trial's stored result cannot be trusted.
        EndedError: if `execution` asks for the end; the trial goes on from its checkpoint when it is run again.
    """
    if dataset.fingerprint != trial.fingerprint:
        raise ValueError(f"the trial is on data {trial.fingerprint[:12]}, {dataset.name} is {dataset.fingerprint[:12]}")
    result = store.result(trial.signature)
    if result is not None:
        return result
    here = dataset.extra.fingerprint if dataset.extra and trial.config.uses_extra else None
    for phase in trial.config.phases:
        if phase.generated_from == "extra" and (here is None or phase.extra_fingerprint != here):
            wanted = (phase.extra_fingerprint or "none")[:12]
            raise ValueError(f"phase '{phase.name}' distorts photographs {wanted}, given are {(here or 'none')[:12]}")
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
    training = _Training(trial, dataset, store, execution, report)
    try:
        return training.run()
    except DivergedError as error:
        return training.record_failure("diverged", str(error))
    except torch.OutOfMemoryError as error:
        return training.record_failure("oom", str(error).splitlines()[0])


class _Training:
    """One attempt at a trial."""

    def __init__(self, trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report) -> None:
        self.trial, self.dataset, self.store, self.execution, self.report = trial, dataset, store, execution, report
        self.config = trial.config
        self.device = torch.device(execution.device)
        self.since = self.saved = time.monotonic()
        devices.configure_backend(self.device)
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.state, self.sums = TrainingState(started=self.started), Sums()

    def run(self) -> Result:
        """Everything from the first step, or the last checkpoint, to the result."""
        trial, config = self.trial, self.config
        self.source = CropSource(self.dataset, self.device)
        labelled = labelled_rows(self.dataset, trial.fold.train, config.data, trial.seed, trial.fold.split)
        self.train_rows = torch.from_numpy(labelled)
        self.references = torch.from_numpy(np.flatnonzero(np.isin(self.dataset.references, trial.fold.train)))
        self.held_out = HeldOut(self.dataset, self.source, trial.fold.held_out, config)
        # Equal for all configurations on a split, so that comparisons are paired.
        self.seed = seed_for("training", trial.seed, trial.fold.split)
        self.network = build(config, len(self.dataset.distortions), self.seed)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ExponentialMovingAverage(self.network, config.ema_decay)
        optimisers = self._resume()
        scores = None
        while self.state.phase < len(config.phases):
            scores = self._run_phase(optimisers)
            optimisers = {}
        if scores is None:  # trained to the end by an attempt that was interrupted, or by another trial
            scores = self._predict()
            self.state.phases[-1]["metrics"] |= self.held_out.agreement(scores)[1]
        return self._finish(scores)

    def _resume(self) -> dict[str, Any]:
        """Go on from the checkpoint, or from a trial that was the first phases of this one; the optimisers' states."""
        try:
            found = state.resume(self.store, self.trial, self.network, self.ema, self.device)
        except checkpoint.CheckpointError as error:
            warning = f"{error}; the trial starts again"
            print(warning, file=sys.stderr)
            self.report({"warning": warning, "steps_done": 0, "steps": self.config.steps})
            found = None
        if found is not None:
            self.state, self.sums, optimisers = found
            return optimisers
        taken = state.warm_start(self.store, self.trial, self.network, self.ema)
        if taken is not None:
            self.state = taken
            self.state.started = self.started
        return {}

    def _run_phase(self, optimisers: dict[str, Any]) -> CropScores:
        """Train the current phase to its end, test, and move on to the next; what the test's crops were judged."""
        state, config = self.state, self.config
        number, settings = state.phase, config.phases[state.phase]
        phase = Phase(self.network, self.source, self.train_rows, config, number, self.ema, self.references)
        for name, saved in optimisers.items():
            phase.optimisers[name].load_state_dict(saved)
        self.before = sum(p.steps for p in config.phases[:number])
        self._train(phase)
        if phase.trains_generator and config.evaluation.independent_evaluator_steps:
            self._save(phase)  # the quality network may have to be trained first, which may be ended
        scores = self._predict()
        if config.evaluation.curve_points:
            self._look(scores.first(config.evaluation.curve_crops))
        _, metrics = self.held_out.agreement(scores)
        if phase.trains_generator:
            metrics |= generated.measure(
                self._generator,
                self._independent_evaluator(),
                self.source,
                self.train_rows,
                self.held_out.rows,
                config.data,
            )
        state.phases.append({"name": settings.name, "steps": settings.steps, "metrics": metrics})
        state.phase, state.step, self.sums = number + 1, 0, Sums()
        if state.phase < len(config.phases):
            self._save(None)
        return scores

    def _train(self, phase: Phase) -> None:
        """The steps of a phase that are still to do, with points of its curves and checkpoints on the way."""
        state, settings, test = self.state, phase.phase, self.config.evaluation
        loss_every = max(1, settings.steps // LOSS_POINTS)
        curve_at = _curve_steps(settings.steps, test.curve_points)
        phase.prepare()
        since = time.monotonic()
        while state.step < settings.steps:
            if self.execution.ending():
                self._add_seconds(settings.name, since)
                self._save(phase)
                raise EndedError
            self.sums.add(phase.step(state.step, self.seed))
            state.step += 1
            latest: dict[str, float] = {}
            at_point = state.step % loss_every == 0 or state.step == settings.steps
            if at_point:
                latest = self._losses(settings.name)
            if state.step in curve_at:
                self._add_seconds(settings.name, since)
                latest |= self._look(self._predict(test.curve_crops))
                phase.prepare()
                since = time.monotonic()
            if latest:
                done = self.before + state.step
                self.report({"phase": settings.name, "steps_done": done, "steps": self.config.steps, **latest})
            due = time.monotonic() - self.saved > self.execution.checkpoint_every_s
            if at_point and due and state.step < settings.steps:
                self._add_seconds(settings.name, since)
                since = time.monotonic()
                self._save(phase)
        self._add_seconds(settings.name, since)

    def _losses(self, phase: str) -> dict[str, float]:
        """Note a point of the loss curves, and return it."""
        means, self.sums = self.sums.means(), Sums()
        wrong = [name for name, value in means.items() if not np.isfinite(value)]
        if wrong:
            raise DivergedError(f"{', '.join(wrong)} no longer finite in phase '{phase}' before step {self.state.step}")
        self.state.note(phase, self.before, means)
        return means

    def _look(self, crops: CropScores) -> dict[str, float]:
        """Note a point of the learning curve, and return it."""
        _, metrics = self.held_out.agreement(crops)
        scores = {name: metrics[name] for name in ("srocc", "plcc")}
        self.state.note(self.config.phases[self.state.phase].name, self.before, scores)
        return scores

    def _predict(self, crops: int | None = None) -> CropScores:
        """What the network that is tested says of the held-out images."""
        since = time.monotonic()
        scores = self.held_out.predict(self._tested.quality_network, crops)
        if not torch.isfinite(torch.stack(scores)).all():
            raise DivergedError("predictions are no longer finite")
        self.state.evaluation_seconds += time.monotonic() - since
        return scores

    @property
    def _tested(self) -> Gada:
        """The network that is tested, looked at and handed on."""
        return self.network if self.config.evaluation.weights == "final" else self.ema.network

    @property
    def _generator(self) -> Generator:
        generator = self._tested.generator
        assert isinstance(generator, Generator)
        return generator

    def _independent_evaluator(self) -> QualityNetwork | None:
        """A quality network that never met the generator; a trial of its own, which all trials on the split share."""
        steps = self.config.evaluation.independent_evaluator_steps
        if not steps:
            return None
        trial, since = independent_evaluator(self.trial), time.monotonic()
        result = run_trial(trial, self.dataset, self.store, self.execution)
        self.state.phase_seconds["quality_network"] = time.monotonic() - since
        weights = self.store.read(trial.signature, WEIGHTS)
        if result.status != "finished" or weights is None:
            raise DivergedError(f"the quality network of generated images could not be trained: {result.cause}")
        quality_network = build(trial.config, len(self.dataset.distortions), 0).quality_network
        Gada(None, quality_network).load_state_dict(checkpoint.from_bytes(weights, WEIGHTS)["ema"]["network"])
        quality_network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return quality_network.eval()

    def _add_seconds(self, phase: str, since: float) -> None:
        devices.synchronize(self.device)
        self.state.phase_seconds[phase] = self.state.phase_seconds.get(phase, 0.0) + time.monotonic() - since

    def _save(self, phase: Phase | None) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.since
        self.since = self.saved = now
        optimisers = {name: optimiser.state_dict() for name, optimiser in phase.optimisers.items()} if phase else {}
        state.save(self.store, self.trial, self.state, self.sums, self.network, self.ema, optimisers)

    def _finish(self, scores: CropScores) -> Result:
        predictions, _ = self.held_out.agreement(scores)
        files = {
            "predictions.csv": predictions.to_csv(index=False).encode(),
            CURVES: self.state.curves_csv(),
            WEIGHTS: checkpoint.to_bytes({"network": self.network.state_dict(), "ema": self.ema.state_dict()}),
        }
        if any("generator" in phase.trains for phase in self.config.phases):
            files["patches.npz"] = generated.patches(
                self._generator, self.source, self.dataset, self.train_rows, self.held_out.rows, self.config.data
            )
        if self.trial.fold.scored_on == "test":
            files["worst.npz"] = self.held_out.looked(scores, predictions)
        known = self.dataset.frame().iloc[torch.cat([self.train_rows, self.held_out.rows]).sort().values.numpy()]
        floor = image_blind(known, self.trial.fold.train, self.trial.fold.held_out)
        metrics = self.state.phases[-1]["metrics"] | {f"image_blind_{name}": floor[name] for name in ("srocc", "plcc")}
        return self._commit("finished", None, metrics, files)

    def record_failure(self, status: str, cause: str) -> Result:
        """Record a training that cannot be finished."""
        return self._commit(status, cause, {}, {CURVES: self.state.curves_csv()})

    def _commit(self, status: str, cause: str | None, metrics: dict[str, float], files: dict[str, bytes]) -> Result:
        trial, state = self.trial, self.state
        # A worker that was cut off from its cluster and replaced, or another study's, may have been as fast.
        first = self.store.result(trial.signature)
        if first is not None:
            self.store.forget(trial.signature)
            return first
        for name, data in files.items():
            self.store.write(trial.signature, name, data)
        result = Result.model_validate(
            {
                "signature": trial.signature,
                "status": status,
                "cause": cause,
                "config": trial.config,
                "fold": FoldRecord(**asdict(trial.fold)),
                "seed": trial.seed,
                "dataset": DatasetRecord.of(self.dataset),
                "code_version": CODE_VERSION,
                "metrics": metrics,
                "phases": [PhaseResult(**phase) for phase in state.phases],
                "run": RunRecord(
                    device=devices.name(self.device),
                    threads=self.execution.threads,
                    host=socket.gethostname(),
                    node=self.execution.node,
                    started=state.started,
                    seconds=state.seconds + time.monotonic() - self.since,
                    phase_seconds=state.phase_seconds,
                    evaluation_seconds=state.evaluation_seconds,
                    peak_memory_mb=devices.peak_mb(self.device),
                    reused=state.reused,
                    study=self.execution.study,
                    versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
                ),
                "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
            }
        )
        self.store.commit(result)
        return result


def _curve_steps(steps: int, points: int) -> set[int]:
    """Steps at which the curve is measured, before the phase's end, which is measured in full."""
    return {round(steps * i / points) for i in range(1, points)} - {0, steps}
