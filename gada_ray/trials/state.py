"""The state of a training, its checkpoint, and the ways to continue: resume and warm start."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
import torch

from gada_ray.model.quality_network import Gada
from gada_ray.training import checkpoint
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.trials.identity import Trial
from gada_ray.trials.store import CHECKPOINT, Store

WEIGHTS = "weights.pt"
CURVES = "curves.csv"
GENERATOR = "generator_"
"""Prefix of the generator's metrics, which do not depend on the test protocol."""


@dataclass
class TrainingState:
    """Phase and step, curves, metrics of finished phases, and times."""

    phase: int = 0
    step: int = 0
    """Steps done in the phase."""
    curves: list[list[Any]] = field(default_factory=list)
    """Rows of phase, step in the phase, global step, name and value."""
    phases: list[dict[str, Any]] = field(default_factory=list)
    phase_seconds: dict[str, float] = field(default_factory=dict)
    evaluation_seconds: float = 0.0
    seconds: float = 0.0
    started: str = ""
    reused: str | None = None
    """Signature of the trial whose weights this one started from."""
    peak_mb: float = 0.0
    """Peak memory in MiB before what `devices.peak_mb` tells."""
    compiled: bool = False
    """Whether some steps were compiled."""
    deterministic: bool | None = False
    """Whether a GPU was limited to deterministic kernels in all steps; None before the first one."""

    def continued_by(self, compiled: bool, deterministic: bool) -> None:
        """Note how the next steps are computed."""
        self.compiled = self.compiled or compiled
        self.deterministic = deterministic and self.deterministic is not False

    def note(self, phase: str, before: int, values: dict[str, float]) -> None:
        """Add a point to curves at this step; `before` counts the steps of earlier phases."""
        self.curves += [[phase, self.step, before + self.step, name, value] for name, value in values.items()]

    def curves_csv(self) -> bytes:
        """The curves as a table."""
        columns = ["phase", "step", "global_step", "name", "value"]
        return pd.DataFrame(self.curves, columns=columns).to_csv(index=False).encode()


@dataclass
class Sums:
    """Sums of losses since the last point of their curves."""

    totals: dict[str, torch.Tensor] = field(default_factory=dict)
    counted: int = 0

    def add(self, terms: dict[str, torch.Tensor]) -> None:
        """Add the losses of a step."""
        for name, value in terms.items():
            self.totals[name] = self.totals.get(name, 0) + value
        self.counted += 1

    def means(self) -> dict[str, float]:
        """Mean losses, by the names of their curves."""
        return {f"loss/{name}": float(total) / self.counted for name, total in self.totals.items()}


def save(
    store: Store,
    trial: Trial,
    state: TrainingState,
    sums: Sums,
    network: Gada,
    ema: ExponentialMovingAverage,
    optimisers: dict[str, Any],
) -> None:
    """Write a trial's checkpoint; between phases there are no optimisers to keep."""
    saved = {
        "signature": trial.signature,
        "state": asdict(state),
        "network": network.state_dict(),
        "ema": ema.state_dict(),
        "optimisers": optimisers,
        "totals": sums.totals,
        "counted": sums.counted,
    }
    store.write(trial.signature, CHECKPOINT, checkpoint.to_bytes(saved))


def resume(
    store: Store, trial: Trial, network: Gada, ema: ExponentialMovingAverage, device: torch.device
) -> tuple[TrainingState, Sums, dict[str, Any]] | None:
    """Restore network and moving average from a trial's checkpoint; None without one.

    Raises:
        CheckpointError: for a checkpoint that cannot be used; network and moving average are unchanged.
    """
    data = store.read(trial.signature, CHECKPOINT)
    if data is None:
        return None
    name = store.folder(trial.signature) / CHECKPOINT
    saved = checkpoint.from_bytes(data, str(name))
    if saved.get("signature") != trial.signature:
        raise checkpoint.CheckpointError(f"{name} belongs to another trial")
    network.load_state_dict(saved["network"])
    ema.load_state_dict(saved["ema"])
    totals = {name: value.to(device) for name, value in saved.get("totals", {}).items()}
    return TrainingState(**saved["state"]), Sums(totals, saved.get("counted", 0)), dict(saved["optimisers"])


def warm_start(store: Store, trial: Trial, network: Gada, ema: ExponentialMovingAverage) -> TrainingState | None:
    """Start network and moving average from a finished trial that was the first phases of this one.

    None if there is no such trial, or its files are damaged.
    """
    for signature in trial.starts:
        result = store.result(signature)
        if result is None or result.status != "finished":
            continue
        weights, curves = (store.read(signature, name) for name in (WEIGHTS, CURVES))
        if weights is None or curves is None or hashlib.sha256(weights).hexdigest() != result.files[WEIGHTS]:
            continue
        saved = checkpoint.from_bytes(weights, WEIGHTS)
        # A trial without generated images has no generator; this one's is then untrained, as it should be.
        network.load_state_dict({**network.state_dict(), **saved["network"]})
        ema.load_state_dict(saved["ema"])
        # Not pandas, whose parser rounds the last bit differently between versions.
        rows = csv.reader(curves.decode().splitlines()[1:])
        run = result.run
        state = TrainingState(
            phase=len(result.phases), reused=signature, compiled=run.compiled, deterministic=run.deterministic
        )
        state.curves = [[p, int(step), int(overall), name, float(v)] for p, step, overall, name, v in rows]
        state.phases = [phase.model_dump() for phase in result.phases]
        if result.config.evaluation != trial.config.evaluation:
            # Scores of the curve belong to another test protocol.
            state.curves = [point for point in state.curves if point[3].startswith("loss/")]
            # The generator's metrics hold for the weights that generated, and for the network that judged.
            measured = ("weights", "independent_evaluator_steps")
            tests = result.config.evaluation, trial.config.evaluation
            same = all(getattr(tests[0], name) == getattr(tests[1], name) for name in measured)
            for phase in state.phases:
                kept = {name: value for name, value in phase["metrics"].items() if name.startswith(GENERATOR)}
                phase["metrics"] = kept if same else {}
        return state
    return None
