"""Trains one trial in a worker. Every worker imports this module, so it loads only what training needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from gada_ray.config import TrainingConfig
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Fold
from gada_ray.running.stop_signal import StopSignal
from gada_ray.system import devices
from gada_ray.trials.identity import EndedError, Execution, Progress, Report, Trial
from gada_ray.trials.store import Result, Store

REPORT_EVERY_S = 2.0
"""Seconds between two reports of a trial. Tune handles all reports one after the other, in the driver."""

Train = Callable[[Trial, IqaDataset, Store, Execution, Report], Result]


def train_trial(
    config: dict[str, Any],
    datasets: Mapping[str, IqaDataset],
    storage: str,
    execution: dict[str, Any],
    train: Train | None,
    stop: StopSignal,
) -> None:
    """Train one trial and report its progress to Tune.

    `config` describes the trial: its configuration, fold, seed and the fingerprint of its dataset. `train` trains it,
    by default `run_trial`. A trial that `stop` requests to stop writes a checkpoint and ends.
    """
    how = replace(Execution(**execution), node=ray.get_runtime_context().get_node_id())
    os.environ.update(devices.environment(how.device, how.deterministic))
    train = train or _default_train()
    fold = config["fold"]
    trial = Trial(
        TrainingConfig.model_validate(config["config"]),
        Fold(fold["split"], fold["scored_on"], tuple(fold["train"]), tuple(fold["held_out"])),
        config["seed"],
        config["fingerprint"],
    )
    last, held = 0.0, Progress()

    def report(progress: Progress) -> None:
        nonlocal last, held
        held |= progress  # a score that comes too early to be reported is reported with the next losses
        if "warning" in progress or time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            tune.report({**held, "node": how.node})
            held = {}

    with stop.requested(trial.signature) as is_set:
        try:
            result = train(trial, datasets[trial.fingerprint], Store(storage), replace(how, ending=is_set), report)
        except EndedError:
            tune.report({"ended": True})
            return
        except Exception as error:
            error.node = how.node  # type: ignore[attr-defined]  # the driver reads it
            raise
        finally:
            _release(how)
    tune.report({"status": result.status, "steps_done": trial.config.steps, "steps": trial.config.steps})


def _release(execution: Execution) -> None:
    """Free what a trial that has ended leaves: the next trial may run in this process or in another.

    Compiled code is for the shapes of one trial, and its number is limited.
    """
    if execution.device == "cpu" and not execution.compiler:
        return
    import torch

    if execution.compiler:
        torch.compiler.reset()
    devices.free(torch.device(execution.device))


def _default_train() -> Train:
    """`run_trial`. It loads torch, and must not before `devices.environment` is set."""
    from gada_ray.trials.run import run_trial

    return run_trial
