"""Overhead of the study engine with many trials: `python -m benchmarks scale 100 1000 5000`.

Search, runner, status, store and tracking are the real ones. Only the training is replaced, by one that writes a result
immediately. For comparison, Ray Tune alone runs as many trials that do nothing, on the same workers. Each measurement
has its own process and Ray instance, and starts when Ray is up.

A study has 50 trials a variant: four candidates of Optuna and the test of the best one, each on ten splits. Scores
depend on the split alone, so that racing prunes nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import psutil
import typer
from ray import tune
from rich.console import Console
from rich.table import Table

from gada_ray import SMOKE, DataConfig, LogUniform, Preset, Study, gada, with_values
from gada_ray.data import Split, load_dataset, make_splits
from gada_ray.data.dataset import IqaDataset
from gada_ray.running import runner
from gada_ray.running.status import Status
from gada_ray.study.definition import Plan, Selection, data_selections, make_plan
from gada_ray.study.search import Job, Search
from gada_ray.tracking import runs
from gada_ray.trials.run import Execution, Report, Trial, run_trial
from gada_ray.trials.store import FoldRecord, Result, Store

SPLITS, CANDIDATES = 10, 4
PER_VARIANT = SPLITS * (CANDIDATES + 1)
RESOURCES = runner.Resources(cpus=1, max_concurrent=2)

Measured = dict[str, float]


class Meter:
    """Seconds, seconds of processor time of this process, and MB by which it grew, since it was made."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._since, self._busy = time.perf_counter(), time.process_time()
        self._before = self._process.memory_info().rss

    def read(self, name: str) -> Measured:
        """All three, as `name_s`, `name_cpu_s` and `name_mb`."""
        return {
            f"{name}_s": time.perf_counter() - self._since,
            f"{name}_cpu_s": time.process_time() - self._busy,
            f"{name}_mb": (self._process.memory_info().rss - self._before) / 2**20,
        }


def surrogate(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report, like: Result
) -> Result:
    """Store a copy of a result, with a score that depends on the split alone."""
    changes: dict[str, Any] = {
        "signature": trial.signature,
        "config": trial.config,
        "fold": FoldRecord.model_validate(asdict(trial.fold)),
        "metrics": {**like.metrics, "srocc": 0.8 + 0.01 * trial.fold.split},
        "files": {},
    }
    result = like.model_copy(update=changes)
    store.commit(result)
    return result


@dataclass(frozen=True)
class MadeUp:
    """A study without trainings: its plan, and the result that all of its results copy."""

    dataset: IqaDataset
    plan: Plan
    splits: dict[Selection, tuple[Split, ...]]
    like: Result

    def search(self, store: Store, on_done: Callable[[Job, Result | None, bool], None]) -> Search:
        """Its trials."""
        return Search(
            self.plan, self.splits, dict.fromkeys(self.splits, self.dataset.fingerprint), store.result, on_done
        )


def made_up(variants: int, candidates: int) -> MadeUp:
    """A study of `variants` variants, each with `candidates` candidates and a test, on ten splits."""
    config = with_values(gada(1, 1, 1), SMOKE)
    values = {f"variant {number}": {"losses.l1_weight": 100.0 + number} for number in range(variants)}
    space = {"rates.discriminator": LogUniform(1e-5, 1e-3)} if candidates else {}
    preset = Preset(cost="", splits=SPLITS, space=space, candidates=candidates)
    plan = make_plan(
        "made-up", Study(question="?", base=config, variants=values, presets={"p": preset}), "p", "demo", {}
    )
    dataset = load_dataset("demo", None, DataConfig())
    splits = {place: make_splits(dataset.references, SPLITS) for place in data_selections(plan.variants)}
    fold = next(iter(splits.values()))[0].for_test()
    with tempfile.TemporaryDirectory() as folder:
        like = run_trial(Trial(config, fold, 0, dataset.fingerprint), dataset, Store(folder))
    return MadeUp(dataset, plan, splits, like)


def study(trials: int) -> Measured:
    """Measure a study, and the time until MLflow, which is written in the background, is complete."""
    what = made_up(trials // PER_VARIANT, CANDIDATES)

    def on_done(job: Job, result: Result | None, known: bool) -> None:
        tracker.finished(job.run, store.folder(job.trial.signature))
        status.ended(job, result, known)

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        store = Store(folder)
        tracker = runs.Tracker(runs.default_uri(store.root), what.plan.study)
        runner.connect(None, RESOURCES)
        meter = Meter()
        search = what.search(store, on_done)
        with Status(Console(file=nowhere), "scale", search.waiting, lambda: search.planned) as status:
            runner.run(
                *(search, {what.dataset.fingerprint: what.dataset}, store, RESOURCES),
                status,
                train=partial(surrogate, like=what.like),
            )
        trained = meter.read("study")
        runner.disconnect()
        if status.done != trials or status.failed:
            raise RuntimeError(f"{status.done} of {trials} trials were done, {status.failed} failed")
        tracker.close(timeout_s=3600)
        return trained | meter.read("tracked")


def tune_alone(trials: int) -> Measured:
    """Trials that do nothing, under Ray Tune."""
    runner.connect(None, RESOURCES)
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(nothing, {"cpu": RESOURCES.cpus}),
            tune_config=tune.TuneConfig(
                num_samples=trials, max_concurrent_trials=RESOURCES.max_concurrent, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, progress_reporter=runner.Silent()),
        ).fit()
        measured = meter.read("tune")
    runner.disconnect()
    return measured


def nothing(config: dict[str, Any]) -> None:
    """The trial of Ray Tune alone."""
    tune.report({"status": "finished"})


def alone(work: Callable[[int], Measured], trials: int) -> Measured:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, trials).result()


def main(
    trials: Annotated[list[int] | None, typer.Argument(help=f"Numbers of trials, multiples of {PER_VARIANT}.")] = None,
) -> None:
    """Measure the study engine and Ray Tune alone at several numbers of trials."""
    view = Table("trials", "", "seconds", "ms a trial", "driver's processor, ms a trial", "driver's memory, kB a trial")
    for count in trials or [100, 1000]:
        measured = alone(study, count) | alone(tune_alone, count)
        for name, title in (("study", "study"), ("tracked", "with MLflow complete"), ("tune", "Ray Tune alone")):
            seconds, busy, grown = (measured[f"{name}_{unit}"] for unit in ("s", "cpu_s", "mb"))
            per_trial = (seconds / count * 1e3, busy / count * 1e3, grown / count * 1e3)
            view.add_row(f"{count}", title, f"{seconds:.1f}", *(f"{value:.1f}" for value in per_trial))
    Console(width=140).print(view)
