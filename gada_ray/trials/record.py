"""The result of record of a trial that has ended, from its state."""

from __future__ import annotations

import hashlib
import platform
import socket
from dataclasses import asdict

import numpy as np
import torch

from gada_ray.config import CODE_VERSION
from gada_ray.data.dataset import IqaDataset
from gada_ray.system import devices
from gada_ray.trials.identity import Execution, Trial
from gada_ray.trials.state import TrainingState
from gada_ray.trials.store import DatasetRecord, FoldRecord, PhaseResult, Result, RunRecord, Store


def commit(
    store: Store,
    trial: Trial,
    dataset: IqaDataset,
    execution: Execution,
    device: torch.device,
    state: TrainingState,
    status: str,
    cause: str | None,
    metrics: dict[str, float],
    files: dict[str, bytes],
) -> Result:
    """Write a trial's files and then its result, which makes it done; return the result that counts.

    A worker that was cut off from its cluster and replaced, or another study's, may have been faster; then its result
    counts.
    """
    first = store.result(trial.signature)
    if first is not None:
        store.forget(trial.signature)
        return first
    for name, data in files.items():
        store.write(trial.signature, name, data)
    result = Result.model_validate(
        {
            "signature": trial.signature,
            "status": status,
            "cause": cause,
            "config": trial.config,
            "fold": FoldRecord(**asdict(trial.fold)),
            "seed": trial.seed,
            "dataset": DatasetRecord.of(dataset),
            "code_version": CODE_VERSION,
            "metrics": metrics,
            "phases": [PhaseResult(**phase) for phase in state.phases],
            "run": _run_record(state, execution, device),
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
    )
    store.commit(result)
    return result


def _run_record(state: TrainingState, execution: Execution, device: torch.device) -> RunRecord:
    """Where, when and how long the trial ran."""
    return RunRecord(
        device=devices.name(device),
        threads=execution.threads,
        host=socket.gethostname(),
        node=execution.node,
        started=state.started,
        seconds=state.seconds,
        phase_seconds=state.phase_seconds,
        evaluation_seconds=state.evaluation_seconds,
        peak_memory_mb=max(state.peak_mb, devices.peak_mb(device)),
        reused=state.reused,
        study=execution.study,
        compiled=state.compiled,
        deterministic=bool(state.deterministic),
        versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    )
