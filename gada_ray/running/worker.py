"""What a worker does with a trial. It loads what training needs and no more: every worker pays for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.experimental import internal_kv

from gada_ray.config import TrainingConfig
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Fold
from gada_ray.trials.identity import EndedError, Execution, Progress, Report, Trial
from gada_ray.trials.store import Result, Store

REPORT_EVERY_S = 2.0
"""Tune handles reports one by one; more than this tells nobody more."""
LISTEN_S = 0.5
"""Between two looks of a worker at whether its trial shall end."""

Train = Callable[[Trial, IqaDataset, Store, Execution, Report], Result]


@dataclass(frozen=True)
class Bell:
    """Tells workers, through the cluster's own table of names, that trials shall end."""

    run: str
    """Names a run of a driver."""

    def ring(self, signature: str = "all") -> None:
        """Have one trial end, or all."""
        internal_kv._internal_kv_put(f"gada-ray/{self.run}/{signature}", b"1")

    def still(self, signature: str) -> None:
        """Let a trial start again."""
        internal_kv._internal_kv_del(f"gada-ray/{self.run}/{signature}")

    @contextmanager
    def heard(self, signature: str) -> Iterator[Callable[[], bool]]:
        """In a worker: whether its trial shall end, as of half a second ago."""
        rung, over = threading.Event(), threading.Event()
        names = [f"gada-ray/{self.run}/{name}" for name in (signature, "all")]

        def listen() -> None:
            while not over.wait(LISTEN_S):
                try:
                    if any(internal_kv._internal_kv_exists(name) for name in names):
                        return rung.set()
                except Exception:  # a cluster whose head is away ends the worker by itself
                    continue

        thread = threading.Thread(target=listen, name="bell", daemon=True)
        thread.start()
        try:
            yield rung.is_set
        finally:
            over.set()
            thread.join()


def train_trial(
    config: dict[str, Any],
    datasets: Mapping[str, IqaDataset],
    storage: str,
    execution: dict[str, Any],
    train: Train | None,
    bell: Bell,
) -> None:
    """One trial in a worker; `train` is what to do with it, by default `run_trial`."""
    how = replace(Execution(**execution), node=ray.get_runtime_context().get_node_id())
    if how.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    train = train or _usual()
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
        held |= progress  # a score that comes too early to be reported goes with the next losses
        if "warning" in progress or time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            tune.report({**held, "node": how.node})
            held = {}

    with bell.heard(trial.signature) as ending:
        try:
            result = train(trial, datasets[trial.fingerprint], Store(storage), replace(how, ending=ending), report)
        except EndedError:
            tune.report({"ended": True})
            return
        except Exception as error:
            error.node = how.node  # type: ignore[attr-defined]  # travels with the error
            raise
    tune.report({"status": result.status, "steps_done": trial.config.steps, "steps": trial.config.steps})


def _usual() -> Train:
    """`run_trial`, imported when the devices that it may see are known."""
    from gada_ray.trials.run import run_trial

    return run_trial
