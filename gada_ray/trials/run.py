"""Run one trial: train every phase of a configuration on one split, test it, and store the result.

A trial is idempotent: run again, it returns its result if it is done, continues from its checkpoint if it is half done,
starts from another trial's weights if that trial was its first phases, and else starts from nothing. The numbers are
the same in all four cases: bit for bit on a CPU with the same number of threads. What another trial measured in another
way is missing, though: scores at the end of earlier phases and along the curve, where only the test differs.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gada_ray.data.cache import cache_folder
from gada_ray.data.crops import CropSource, seed_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.labelled import labelled_rows
from gada_ray.evaluation import generated, patches
from gada_ray.evaluation.held_out import HeldOut
from gada_ray.evaluation.metrics import image_blind
from gada_ray.evaluation.pooling import CropScores
from gada_ray.model.generator import Generator
from gada_ray.model.quality_network import Gada, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import checkpoint
from gada_ray.training.compilation import compile_forward_passes
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.memory import keep_freed_memory
from gada_ray.training.phases import DivergedError, Phase, build
from gada_ray.training.procedural import ProceduralSource, prepare_for
from gada_ray.trials import state
from gada_ray.trials.identity import ON_CPU, EndedError, Execution, Progress, Report, Trial, independent_evaluator
from gada_ray.trials.record import commit
from gada_ray.trials.state import CURVES, GENERATOR, WEIGHTS, Sums, TrainingState
from gada_ray.trials.store import Result, Store

__all__ = ["EndedError", "Execution", "Progress", "Report", "Trial", "independent_evaluator", "run_trial"]

LOSS_POINTS = 50
"""Points of the loss curves in a phase; a checkpoint can be taken at each."""


def run_trial(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution = ON_CPU, report: Report = lambda _: None
) -> Result:
    """Train and test one trial, or return its stored result.

    `report` gets a dict at every point of the loss curves: phase, steps_done, steps, and the latest losses and
    correlations; and at the start "warning", a sentence for people, if the trial's checkpoint cannot be used. A
    training whose loss is no longer finite ends in a result with status "diverged" and the cause.

    Raises:
        ValueError: if the dataset, or its unlabelled photographs, are not those that the trial names.
        DataError: if the training part has fewer images than the configuration wants labelled.
        StoreError: if the trial's stored result cannot be trusted.
        EndedError: if `execution` asks for the end; the trial continues from its checkpoint when it is run again.
        torch.OutOfMemoryError: if the device has too little memory. Nothing is stored, since the signature knows no
            device: the same trial may fit another one.
    """
    _check_data(trial, dataset)
    result = store.result(trial.signature)
    if result is not None:
        return result
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
    training = _Training(trial, dataset, store, execution, report)
    try:
        return training.run()
    except DivergedError as error:
        return training.record_divergence(str(error))


def _check_data(trial: Trial, dataset: IqaDataset) -> None:
    """Make sure that a dataset and its unlabelled photographs are those that a trial names."""
    if dataset.fingerprint != trial.fingerprint:
        raise ValueError(f"the trial is on data {trial.fingerprint[:12]}, {dataset.name} is {dataset.fingerprint[:12]}")
    if not trial.fold.held_out and trial.config.uses_generator:
        raise ValueError("a generator is measured on held-out references, and the trial's fold has none")
    given = dataset.extra.fingerprint if dataset.extra and trial.config.uses_extra else None
    for phase in trial.config.phases:
        if phase.uses_extra and (given is None or phase.extra_fingerprint != given):
            named = (phase.extra_fingerprint or "none")[:12]
            raise ValueError(f"phase '{phase.name}' distorts photographs {named}, given are {(given or 'none')[:12]}")


class _Training:
    """One attempt at a trial: `run` lists its steps in order."""

    def __init__(self, trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report) -> None:
        self.trial, self.dataset, self.store, self.execution, self.report = trial, dataset, store, execution, report
        self.config = trial.config
        self.device = torch.device(execution.device)
        self.since = self.saved = time.monotonic()
        self.deterministic = execution.deterministic and self.device.type == "cuda"
        devices.configure_backend(self.device, self.deterministic)
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.state, self.sums = TrainingState(started=self.started, deterministic=None), Sums()

    def run(self) -> Result:
        """Select images, build the network, restore, train the phases that are left, test, and store the result."""
        # Outside of steps, batches differ in size. Networks are tested as they are used later: without compilation.
        with self._stance("force_eager"):
            return self._run()

    def _run(self) -> Result:
        self._select_images()
        self._build_network()
        self.procedural = self._prepare_pictures()
        optimisers = self._restore()
        scores = None
        while self.state.phase < len(self.config.phases):
            phase = self._start_phase(optimisers)
            self._train(phase)
            scores = self._evaluate_phase(phase)
            optimisers = {}
        if scores is None:  # trained to the end by an attempt that was interrupted, or by another trial
            scores, metrics = self._predict(), self.state.phases[-1]["metrics"]
            metrics |= self.held_out.agreement(scores)[1]
            if "generator" in self.config.phases[-1].trains and not any(name.startswith(GENERATOR) for name in metrics):
                metrics |= self._measure_generator()
        return self._finish(scores)

    def _select_images(self) -> None:
        """Training rows and references, and the held-out images with their test crops."""
        trial, config = self.trial, self.config
        self.source = CropSource(self.dataset, self.device)
        if self.source.on_host:
            warning = (
                f"{self.dataset.name} takes {self.dataset.pixels.nbytes / 2**20:.0f} MiB, more than "
                f"{devices.PIXELS_FRACTION:.0%} of this GPU's memory; its pixels stay in host memory, where crops are "
                f"gathered in every step"
            )
            self.report({"warning": warning, "steps_done": 0, "steps": self.config.steps})
        labelled = labelled_rows(self.dataset, trial.fold.train, config.data, trial.seed, trial.fold.split)
        self.train_rows = torch.from_numpy(labelled)
        self.references = torch.from_numpy(np.flatnonzero(np.isin(self.dataset.references, trial.fold.train)))
        self.held_out = HeldOut(self.dataset, self.source, trial.fold.held_out, config)

    def _build_network(self) -> None:
        """The untrained network and its moving average."""
        # The seed is equal for all configurations on a split, so that comparisons are paired.
        self.seed = seed_for("training", self.trial.seed, self.trial.fold.split)
        self.network = build(self.config, len(self.dataset.distortions), self.seed)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ExponentialMovingAverage(self.network, self.config.ema_decay)
        if self.execution.compiler:
            compile_forward_passes(self.network, self.ema.network, self.execution.compiler)

    def _stance(self, stance: Literal["default", "force_eager"]) -> contextlib.AbstractContextManager[Any]:
        """Whether compiled forward passes are used ("default") or not ("force_eager")."""
        return torch.compiler.set_stance(stance) if self.execution.compiler else contextlib.nullcontext()

    def _prepare_pictures(self) -> ProceduralSource | None:
        """Pictures under procedural distortions, where any phase needs them."""
        folder = Path(self.execution.cache) if self.execution.cache else cache_folder()
        return prepare_for(self.config, self.dataset, folder, self.device, self.execution.threads)

    def _restore(self) -> dict[str, Any]:
        """Continue from the checkpoint, or from a trial that was the first phases of this one; optimiser states."""
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
        warm = state.warm_start(self.store, self.trial, self.network, self.ema)
        if warm is not None:
            self.state = warm
            self.state.started = self.started
        return {}

    def _start_phase(self, optimisers: dict[str, Any]) -> Phase:
        """The current phase, its optimisers in the states that a checkpoint kept."""
        number = self.state.phase
        phase = Phase(
            self.network, self.source, self.train_rows, self.config, number, self.ema, self.references, self.procedural
        )
        for name, saved in optimisers.items():
            phase.optimisers[name].load_state_dict(saved)
        self.steps_before = sum(earlier.steps for earlier in self.config.phases[:number])
        return phase

    def _train(self, phase: Phase) -> None:
        """The remaining steps of a phase, in stretches that end at points of its curves."""
        steps, curve_points = phase.phase.steps, self.config.evaluation.curve_points
        loss_every = max(1, steps // LOSS_POINTS)
        curve_steps = _curve_steps(steps, curve_points)
        while self.state.step < steps:
            self.state.continued_by(bool(self.execution.compiler), self.deterministic)
            try:
                with self._timed(phase.phase.name), self._stance("default"):
                    at_loss_point = self._train_until(phase, loss_every, curve_steps)
            except EndedError:
                self._save(phase)
                raise
            latest = self._record_losses(phase.phase.name) if at_loss_point else {}
            if self.state.step in curve_steps:
                latest |= self._record_scores(self._predict(self.config.evaluation.curve_crops))
            self.report(
                {
                    "phase": phase.phase.name,
                    "steps_done": self.steps_before + self.state.step,
                    "steps": self.config.steps,
                    **latest,
                }
            )
            due = time.monotonic() - self.saved > self.execution.checkpoint_every_s
            if at_loss_point and due and self.state.step < steps:
                self._save(phase)

    def _train_until(self, phase: Phase, loss_every: int, curve_steps: set[int]) -> bool:
        """Train to the next point of a curve; whether it is one of the loss curves.

        Raises:
            EndedError: if the trial is asked to end.
        """
        phase.prepare()
        while True:
            if self.execution.ending():
                raise EndedError
            self.sums.add(phase.step(self.state.step, self.seed))
            self.state.step += 1
            at_loss_point = self.state.step % loss_every == 0 or self.state.step == phase.phase.steps
            if at_loss_point or self.state.step in curve_steps:
                return at_loss_point

    def _evaluate_phase(self, phase: Phase) -> CropScores:
        """Test a phase that has ended, measure its generator, and move on to the next phase."""
        config, current = self.config, self.state
        if phase.trains_generator and config.evaluation.independent_evaluator_steps:
            self._save(phase)  # the independent evaluator may have to be trained first, which may be interrupted
        scores = self._predict()
        if config.evaluation.curve_points:
            self._record_scores(scores.first(config.evaluation.curve_crops))
        _, metrics = self.held_out.agreement(scores)
        if phase.trains_generator:
            metrics |= self._measure_generator()
        current.phases.append({"name": phase.phase.name, "steps": phase.phase.steps, "metrics": metrics})
        current.phase, current.step, self.sums = current.phase + 1, 0, Sums()
        if current.phase < len(config.phases):
            self._save(None)
        return scores

    def _record_losses(self, phase: str) -> dict[str, float]:
        """Add a point to the loss curves, and return it.

        Raises:
            DivergedError: if a loss is no longer finite.
        """
        means, self.sums = self.sums.means(), Sums()
        wrong = [name for name, value in means.items() if not np.isfinite(value)]
        if wrong:
            raise DivergedError(f"{', '.join(wrong)} no longer finite in phase '{phase}' before step {self.state.step}")
        self.state.note(phase, self.steps_before, means)
        return means

    def _record_scores(self, crops: CropScores) -> dict[str, float]:
        """Add a point to the learning curve, and return it."""
        _, metrics = self.held_out.agreement(crops)
        scores: dict[str, float] = {name: metrics[name] for name in ("srocc", "plcc") if name in metrics}
        self.state.note(self.config.phases[self.state.phase].name, self.steps_before, scores)
        return scores

    def _predict(self, crops: int | None = None) -> CropScores:
        """Predictions of the tested network for the held-out images.

        Raises:
            DivergedError: if a prediction is not finite.
        """
        since = time.monotonic()
        scores = self.held_out.predict(self._tested.quality_network, crops)
        if not torch.isfinite(torch.stack(scores)).all():
            raise DivergedError("predictions are no longer finite")
        self.state.evaluation_seconds += time.monotonic() - since
        return scores

    @property
    def _tested(self) -> Gada:
        """The network that is tested and published: the moving average, or the weights of the final step."""
        return self.network if self.config.evaluation.weights == "final" else self.ema.network

    @property
    def _generator(self) -> Generator:
        generator = self._tested.generator
        assert isinstance(generator, Generator)
        return generator

    def _measure_generator(self) -> dict[str, float]:
        """Conditioning fidelity of the tested generator on held-out images, and its distance from the truth."""
        evaluator, rows = self._independent_evaluator(), (self.train_rows, self.held_out.rows)
        return generated.measure(self._generator, evaluator, self.source, *rows, self.config.data)

    def _independent_evaluator(self) -> QualityNetwork | None:
        """A quality network that never met the generator; a trial of its own, which all trials on the split share."""
        if not self.config.evaluation.independent_evaluator_steps:
            return None
        trial, since = independent_evaluator(self.trial), time.monotonic()
        self.state.peak_mb = max(self.state.peak_mb, devices.peak_mb(self.device))  # its training measures anew
        result = run_trial(trial, self.dataset, self.store, self.execution)
        self.state.phase_seconds["independent_evaluator"] = time.monotonic() - since
        weights = self.store.read(trial.signature, WEIGHTS)
        if result.status != "finished" or weights is None:
            raise DivergedError(f"the independent evaluator of generated images could not be trained: {result.cause}")
        evaluator = build(trial.config, len(self.dataset.distortions), 0).quality_network
        Gada(None, evaluator).load_state_dict(checkpoint.from_bytes(weights, WEIGHTS)["ema"]["network"])
        evaluator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return evaluator.eval()

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Add the seconds of a stretch of training to those of its phase."""
        since = time.monotonic()
        try:
            yield
        finally:
            devices.synchronize(self.device)
            seconds = self.state.phase_seconds
            seconds[phase] = seconds.get(phase, 0.0) + time.monotonic() - since

    def _save(self, phase: Phase | None) -> None:
        """Write the checkpoint; between phases there is no phase."""
        now = time.monotonic()
        self.state.seconds += now - self.since
        self.since = self.saved = now
        optimisers = {name: optimiser.state_dict() for name, optimiser in phase.optimisers.items()} if phase else {}
        state.save(self.store, self.trial, self.state, self.sums, self.network, self.ema, optimisers)

    def _finish(self, scores: CropScores) -> Result:
        """Store predictions, curves, weights, pictures and, last, the result."""
        predictions, _ = self.held_out.agreement(scores)
        files = {
            "predictions.csv": predictions.to_csv(index=False).encode(),
            CURVES: self.state.curves_csv(),
            WEIGHTS: checkpoint.to_bytes({"network": self.network.state_dict(), "ema": self.ema.state_dict()}),
        }
        if any("generator" in phase.trains for phase in self.config.phases):
            files["patches.npz"] = patches.patches(
                self._generator, self.source, self.dataset, self.held_out.rows, self.config.data
            )
        if self.trial.fold.scored_on == "test":
            files["worst.npz"] = self.held_out.worst_images(scores, predictions)
        metrics = self.state.phases[-1]["metrics"] | (self._image_blind() if self.trial.fold.held_out else {})
        return self._commit("finished", None, metrics, files)

    def _image_blind(self) -> dict[str, float]:
        """Agreement of the image-blind baseline, which knows the distortion class alone, on the same images."""
        rows = torch.cat([self.train_rows, self.held_out.rows]).sort().values.numpy()
        fold = self.trial.fold
        baseline = image_blind(self.dataset.frame().iloc[rows], fold.train, fold.held_out)
        return {f"image_blind_{name}": baseline[name] for name in ("srocc", "plcc")}

    def record_divergence(self, cause: str) -> Result:
        """Store that the training diverged."""
        return self._commit("diverged", cause, {}, {CURVES: self.state.curves_csv()})

    def _commit(self, status: str, cause: str | None, metrics: dict[str, float], files: dict[str, bytes]) -> Result:
        self.state.seconds += time.monotonic() - self.since
        context = self.trial, self.dataset, self.execution, self.device
        return commit(self.store, *context, self.state, status, cause, metrics, files)


def _curve_steps(steps: int, points: int) -> set[int]:
    """Steps at which the curve is measured, before the phase's end, which is measured in full."""
    return {round(steps * i / points) for i in range(1, points)} - {0, steps}
