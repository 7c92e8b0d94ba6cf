"""Where a training stands, as its checkpoint keeps it, and how it is taken up again: its own, or another trial's."""

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
"""How metrics of the generator begin; they do not depend on how images are tested."""


@dataclass
class TrainingState:
    """Phase and step, curves so far, what finished phases reached, and the time that all took."""

    phase: int = 0
    step: int = 0
    """Steps done in the phase."""
    curves: list[list[Any]] = field(default_factory=list)
    """Rows of phase, step in it, step of all, name and value."""
    phases: list[dict[str, Any]] = field(default_factory=list)
    phase_seconds: dict[str, float] = field(default_factory=dict)
    evaluation_seconds: float = 0.0
    seconds: float = 0.0
    started: str = ""
    reused: str | None = None
    """Signature of the trial whose weights this one took over."""

    def note(self, phase: str, before: int, values: dict[str, float]) -> None:
        """Points of the curves at this step, `before` being the steps of earlier phases."""
        self.curves += [[phase, self.step, before + self.step, name, value] for name, value in values.items()]

    def curves_csv(self) -> bytes:
        """The curves as a table."""
        columns = ["phase", "step", "global_step", "name", "value"]
        return pd.DataFrame(self.curves, columns=columns).to_csv(index=False).encode()


@dataclass
class Sums:
    """Losses since the last point of their curves, and of how many steps."""

    totals: dict[str, torch.Tensor] = field(default_factory=dict)
    counted: int = 0

    def add(self, terms: dict[str, torch.Tensor]) -> None:
        """The losses of one more step."""
        for name, value in terms.items():
            self.totals[name] = self.totals.get(name, 0) + value
        self.counted += 1

    def means(self) -> dict[str, float]:
        """What a point of the curves shows."""
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
    """Bring network and ema to where a trial's checkpoint was taken; None without one.

    Raises:
        CheckpointError: for a checkpoint that cannot be used; network and ema are as they were.
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
    """Bring network and ema to the end of another finished trial that was the first phases of this one.

    None where there is no such trial, or its files are not whole.
    """
    for signature in trial.starts:
        result = store.result(signature)
        if result is None or result.status != "finished":
            continue
        weights, curves = (store.read(signature, name) for name in (WEIGHTS, CURVES))
        if weights is None or curves is None or hashlib.sha256(weights).hexdigest() != result.files[WEIGHTS]:
            continue
        saved = checkpoint.from_bytes(weights, WEIGHTS)
        # A trial without generated images has no generator; this one's is untrained then, as it would be anyway.
        network.load_state_dict({**network.state_dict(), **saved["network"]})
        ema.load_state_dict(saved["ema"])
        # Not pandas: what its parser does with the last bit of a number depends on its version.
        rows = csv.reader(curves.decode().splitlines()[1:])
        state = TrainingState(phase=len(result.phases), reused=signature)
        state.curves = [[p, int(step), int(overall), name, float(v)] for p, step, overall, name, v in rows]
        state.phases = [phase.model_dump() for phase in result.phases]
        if result.config.evaluation != trial.config.evaluation:
            # Scores on the way are another protocol's.
            state.curves = [point for point in state.curves if point[3].startswith("loss/")]
            # What is said of the generator holds for the weights that generated.
            same = result.config.evaluation.weights == trial.config.evaluation.weights
            for phase in state.phases:
                kept = {name: value for name, value in phase["metrics"].items() if name.startswith(GENERATOR)}
                phase["metrics"] = kept if same else {}
        return state
    return None
