"""One configuration on one split, end to end: train every phase, test, and leave the result in the store.

A trial is idempotent: run again, it returns its result if it is done, continues from its checkpoint if it is half done,
starts from another trial's weights if that trial was its first phases, and else starts from nothing. The numbers are
the same in all four cases: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import platform
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from gada_ray import devices
from gada_ray.config import CODE_VERSION
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource, seed_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.rated import rated_rows
from gada_ray.evaluation import generated, looked, pooling, protocol
from gada_ray.evaluation.metrics import by_distortion, content_blind
from gada_ray.evaluation.pooling import CropScores
from gada_ray.identity import ON_CPU, EndedError, Execution, Progress, Report, Trial, independent_judge
from gada_ray.model.discriminator import Discriminator, Gada
from gada_ray.model.generator import Generator
from gada_ray.store import CHECKPOINT, DatasetRecord, FoldRecord, PhaseResult, Result, RunRecord, Store
from gada_ray.training import checkpoint
from gada_ray.training.averages import Average
from gada_ray.training.memory import keep_freed_memory
from gada_ray.training.phases import DivergedError, Phase, build

__all__ = ["EndedError", "Execution", "Progress", "Report", "Trial", "independent_judge", "run_trial"]

LOSS_POINTS = 50
"""Points of the loss curves in a phase; a checkpoint can be taken at each."""
WEIGHTS = "weights.pt"
CROP_SPREAD = "crop_spread"
"""Root mean square over images of the standard error of a prediction by the draw of its crops, in quality."""
GENERATOR = "generator_"
"""How metrics of the generator begin; they do not depend on how images are tested."""


@dataclass
class _State:
    """Where a training is."""

    phase: int = 0
    step: int = 0
    """Steps done in the phase."""
    curves: list[list[Any]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    phase_seconds: dict[str, float] = field(default_factory=dict)
    evaluation_seconds: float = 0.0
    seconds: float = 0.0
    started: str = ""
    reused: str | None = None


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
        DataError: for fewer images of the training part than shall be rated.
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
        return training.give_up("diverged", str(error))
    except torch.OutOfMemoryError as error:
        return training.give_up("oom", str(error).splitlines()[0])


class _Training:
    def __init__(self, trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report) -> None:
        self.trial, self.dataset, self.store, self.execution, self.report = trial, dataset, store, execution, report
        self.config = trial.config
        self.device = torch.device(execution.device)
        self.since = time.monotonic()
        self.saved = time.monotonic()
        devices.settle(self.device)
        self.sums: tuple[dict[str, torch.Tensor], int] = ({}, 0)
        """Of a checkpoint between two points of the loss curves: losses since the last point, and of how many steps."""
        self.state = _State(started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    def run(self) -> Result:
        """Everything from the first step, or the last checkpoint, to the result."""
        trial, config = self.trial, self.config
        self.source = CropSource(self.dataset, self.device)
        rated = rated_rows(self.dataset, trial.fold.train, config.data, trial.seed, trial.fold.split)
        self.train_rows = torch.from_numpy(rated)
        self.references = torch.from_numpy(np.flatnonzero(np.isin(self.dataset.references, trial.fold.train)))
        self.held_out = torch.from_numpy(self.dataset.rows_of(trial.fold.held_out))
        self.corners = protocol.windows(self.dataset, self.source, self.held_out, config)
        # Equal for all configurations on a split, so that comparisons are paired.
        self.seed = seed_for("training", trial.seed, trial.fold.split)
        self.network = build(config, len(self.dataset.distortions), self.seed)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Average(self.network, config.average_decay)
        optimisers = self._resume()
        predictions = None
        while self.state.phase < len(config.phases):
            predictions = self._run_phase(optimisers)
            optimisers = {}
        if predictions is None:  # trained to the end by an attempt that was interrupted, or by another trial
            predictions, metrics = self._tested_by(self._predict(config.evaluation.crops))
            self.state.phases[-1]["metrics"] |= metrics
        return self._finish(predictions)

    def _run_phase(self, optimisers: dict[str, Any]) -> pd.DataFrame:
        """Train the current phase to its end, test, and move on to the next."""
        state, config = self.state, self.config
        number, settings = state.phase, config.phases[state.phase]
        phase = Phase(self.network, self.source, self.train_rows, config, number, self.average, self.references)
        for name, saved in optimisers.items():
            phase.optimisers[name].load_state_dict(saved)
        before = sum(p.steps for p in config.phases[:number])
        loss_every = max(1, settings.steps // LOSS_POINTS)
        test = config.evaluation
        curve_at = _curve_steps(settings.steps, test.curve_points)
        totals, counted = self.sums
        self.sums = {}, 0
        phase.prepare()
        since = time.monotonic()
        while state.step < settings.steps:
            if self.execution.ending():
                self._add_seconds(settings.name, since)
                self.sums = totals, counted
                self._save(phase)
                raise EndedError
            for name, value in phase.step(state.step, self.seed).items():
                totals[name] = totals.get(name, 0) + value
            state.step += 1
            counted += 1
            latest: dict[str, float] = {}
            at_point = state.step % loss_every == 0 or state.step == settings.steps
            if at_point:
                latest = {f"loss/{name}": float(total) / counted for name, total in totals.items()}
                wrong = [name for name, value in latest.items() if not np.isfinite(value)]
                if wrong:
                    raise DivergedError(
                        f"{', '.join(wrong)} no longer finite in phase '{settings.name}' before step {state.step}"
                    )
                self._note(settings.name, before, latest)
                totals, counted = {}, 0
            if state.step in curve_at:
                self._add_seconds(settings.name, since)
                latest |= self._look(settings.name, before, self._predict(min(test.curve_crops, test.crops)))
                phase.prepare()
                since = time.monotonic()
            if latest:
                self.report(
                    {"phase": settings.name, "steps_done": before + state.step, "steps": config.steps, **latest}
                )
            due = time.monotonic() - self.saved > self.execution.checkpoint_every_s
            if at_point and due and state.step < settings.steps:
                self._add_seconds(settings.name, since)
                since = time.monotonic()
                self._save(phase)
        self._add_seconds(settings.name, since)
        if "generator" in settings.trains and test.judge_steps:
            self._save(phase)  # the judge may have to be trained first, which may be ended
        scores = self._predict(test.crops)
        if test.curve_points:
            self._look(settings.name, before, scores.first(test.curve_crops))
        predictions, metrics = self._tested_by(scores)
        if "generator" in settings.trains:
            metrics |= generated.measure(
                self._generator, self._judge(), self.source, self.train_rows, self.held_out, config.data
            )
        state.phases.append({"name": settings.name, "steps": settings.steps, "metrics": metrics})
        state.phase, state.step = number + 1, 0
        if state.phase < len(config.phases):
            self._save(None)
        return predictions

    def _add_seconds(self, phase: str, since: float) -> None:
        devices.wait(self.device)
        self.state.phase_seconds[phase] = self.state.phase_seconds.get(phase, 0.0) + time.monotonic() - since

    def _note(self, phase: str, before: int, values: dict[str, float]) -> None:
        step = self.state.step
        self.state.curves += [[phase, step, before + step, name, value] for name, value in values.items()]

    @property
    def _tested(self) -> Gada:
        """The network that is tested, looked at and handed on."""
        return self.network if self.config.evaluation.weights == "last" else self.average.network

    @property
    def _generator(self) -> Generator:
        generator = self._tested.generator
        assert isinstance(generator, Generator)
        return generator

    def _judge(self) -> Discriminator | None:
        """A judge that never met the generator; a trial of its own, which all trials on the split share."""
        steps = self.config.evaluation.judge_steps
        if not steps:
            return None
        trial, since = independent_judge(self.trial), time.monotonic()
        result = run_trial(trial, self.dataset, self.store, self.execution)
        self.state.phase_seconds["judge"] = time.monotonic() - since
        weights = self.store.read(trial.signature, WEIGHTS)
        if result.status != "finished" or weights is None:
            raise DivergedError(f"the judge of generated images could not be trained: {result.cause}")
        judge = build(trial.config, len(self.dataset.distortions), 0).judge
        Gada(None, judge).load_state_dict(checkpoint.from_bytes(weights, WEIGHTS)["average"]["network"])
        judge.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return judge.eval()

    def _look(self, phase: str, before: int, crops: CropScores) -> dict[str, float]:
        """Note a point of the learning curve, and return it."""
        _, metrics = self._tested_by(crops)
        scores = {name: metrics[name] for name in ("srocc", "lcc")}
        self._note(phase, before, scores)
        return scores

    def _predict(self, crops: int) -> CropScores:
        since = time.monotonic()
        scores = protocol.predict(self._tested.judge, self.source, self.held_out, self.corners, self.config, crops)
        if not torch.isfinite(torch.stack(scores)).all():
            raise DivergedError("predictions are no longer finite")
        self.state.evaluation_seconds += time.monotonic() - since
        self.scores = scores
        return scores

    def _tested_by(self, scores: CropScores) -> tuple[pd.DataFrame, dict[str, float]]:
        """Predictions of held-out images, and what they are worth."""
        kind = self.config.evaluation.pooling
        predictions = protocol.table(self.dataset, self.held_out, scores, kind)
        spread = pooling.spread(scores, kind).square().mean().sqrt()
        return predictions, by_distortion(predictions) | {CROP_SPREAD: float(spread)}

    def _save(self, phase: Phase | None) -> None:
        """Write the checkpoint; between phases there is no optimiser to keep."""
        now = time.monotonic()
        self.state.seconds += now - self.since
        self.since = self.saved = now
        optimisers = {name: optimiser.state_dict() for name, optimiser in phase.optimisers.items()} if phase else {}
        signature, network = self.trial.signature, self.network.state_dict()
        state: dict[str, Any] = {
            "signature": signature,
            "state": asdict(self.state),
            "network": network,
            "average": self.average.state_dict(),
            "optimisers": optimisers,
        }
        state |= {"totals": self.sums[0], "counted": self.sums[1]}
        self.store.write(signature, CHECKPOINT, checkpoint.to_bytes(state))

    def _resume(self) -> dict[str, Any]:
        """Continue from the checkpoint, or from a finished trial that was the first phases of this one."""
        data = self.store.read(self.trial.signature, CHECKPOINT)
        if data is not None:
            name = self.store.folder(self.trial.signature) / CHECKPOINT
            try:
                saved = checkpoint.from_bytes(data, str(name))
                if saved.get("signature") != self.trial.signature:
                    raise checkpoint.CheckpointError(f"{name} belongs to another trial")
            except checkpoint.CheckpointError as error:
                warning = f"{error}; the trial starts again"
                print(warning, file=sys.stderr)
                self.report({"warning": warning, "steps_done": 0, "steps": self.config.steps})
            else:
                self.network.load_state_dict(saved["network"])
                self.average.load_state_dict(saved["average"])
                self.state = _State(**saved["state"])
                totals = {name: value.to(self.device) for name, value in saved.get("totals", {}).items()}
                self.sums = totals, saved.get("counted", 0)
                return dict(saved["optimisers"])
        for signature in self.trial.starts:
            if self._take_over(signature):
                break
        return {}

    def _take_over(self, signature: str) -> bool:
        """Start after the last phase of another trial, if that one is finished and its files are whole."""
        result = self.store.result(signature)
        if result is None or result.status != "finished":
            return False
        weights, curves = (self.store.read(signature, name) for name in (WEIGHTS, "curves.csv"))
        if weights is None or curves is None or hashlib.sha256(weights).hexdigest() != result.files[WEIGHTS]:
            return False
        saved = checkpoint.from_bytes(weights, WEIGHTS)
        # A trial without generated images has no generator; this one's is untrained then, as it would be anyway.
        self.network.load_state_dict({**self.network.state_dict(), **saved["network"]})
        self.average.load_state_dict(saved["average"])
        # Not pandas: what its parser does with the last bit of a number depends on its version.
        rows = csv.reader(curves.decode().splitlines()[1:])
        self.state.curves = [[p, int(step), int(overall), name, float(v)] for p, step, overall, name, v in rows]
        self.state.phases = [phase.model_dump() for phase in result.phases]
        self.state.phase, self.state.reused = len(result.phases), signature
        if result.config.evaluation != self.config.evaluation:
            # Scores on the way are another protocol's.
            self.state.curves = [point for point in self.state.curves if point[3].startswith("loss/")]
            for phase in self.state.phases:
                phase["metrics"] = {k: v for k, v in phase["metrics"].items() if k.startswith(GENERATOR)}
        return True

    def _finish(self, predictions: pd.DataFrame) -> Result:
        files = {
            "predictions.csv": predictions.to_csv(index=False).encode(),
            "curves.csv": self._curves(),
            WEIGHTS: checkpoint.to_bytes({"network": self.network.state_dict(), "average": self.average.state_dict()}),
        }
        if any("generator" in phase.trains for phase in self.config.phases):
            files["patches.npz"] = generated.patches(
                self._generator, self.source, self.dataset, self.train_rows, self.held_out, self.config.data
            )
        if self.trial.fold.scored_on == "test":
            drawn = self.config.evaluation.sampling
            maps = None if drawn == "uniform" else sampling.maps(self.dataset, drawn)
            where, px = (self.corners.top, self.corners.left), self.config.data.crop_px
            files["looked.npz"] = looked.worst(
                self.dataset, self.held_out, where, px, self.scores.quality, predictions, maps
            )
        known = self.dataset.frame().iloc[torch.cat([self.train_rows, self.held_out]).sort().values.numpy()]
        floor = content_blind(known, self.trial.fold.train, self.trial.fold.held_out)
        metrics = self.state.phases[-1]["metrics"] | {f"floor_{name}": floor[name] for name in ("srocc", "lcc")}
        return self._commit("finished", None, metrics, files)

    def give_up(self, status: str, cause: str) -> Result:
        """Record a training that cannot be finished."""
        return self._commit(status, cause, {}, {"curves.csv": self._curves()})

    def _curves(self) -> bytes:
        columns = ["phase", "step", "global_step", "name", "value"]
        return pd.DataFrame(self.state.curves, columns=columns).to_csv(index=False).encode()

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
