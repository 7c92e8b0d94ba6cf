"""Tests the weights of finished trials on other databases, as tasks of the cluster. Nothing is trained there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import ray

from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation import scenes
from gada_ray.inference.cross_dataset import cross_test
from gada_ray.running.slots import Resources
from gada_ray.study.search import Job
from gada_ray.tracking import models
from gada_ray.trials.store import DatasetRecord, Result, Store

VERSION = 1
"""Raised when the same weights would be tested in another way."""


@dataclass(frozen=True)
class Test:
    """The test of one trial on one other database."""

    job: Job
    result: Result
    other: str
    """Name of the database on the command line."""
    shared: Mapping[str, str]
    """Scenes of that database on which the trial was trained, each with its name in the training data."""


def plan_tests(
    finished: Sequence[tuple[Job, Result]],
    others: Mapping[str, IqaDataset],
    trained_on: Callable[[Result], IqaDataset],
) -> Iterator[Test]:
    """The tests of finished trials on other databases, with the scenes that each shares with the training data."""
    known: dict[tuple[str, str, bool], dict[str, str]] = {}
    for name, other in others.items():
        present = scenes.scenes(other, other.references)
        for job, result in finished:
            training = trained_on(result)
            place = (training.fingerprint, name, result.config.uses_extra)
            if place not in known:
                known[place] = scenes.shared(scenes.trained_on(training, training.references, place[2]), present)
            held_out = set(training.references) - set(result.fold.train)
            seen = {there: here for there, here in known[place].items() if here not in held_out}
            yield Test(job, result, name, seen)


def run_tests(
    tests: Sequence[Test],
    others: Mapping[str, IqaDataset],
    distortions: Callable[[Result], tuple[str, ...]],
    store: Store,
    resources: Resources,
    on_done: Callable[[int, int], None] = lambda done, of: None,
) -> pd.DataFrame:
    """Carry out tests on the cluster that `runner.connect` joined; tests that the store holds are read back.

    Columns: variant, stage, split, signature, trained_on, tested_on, images (all, all without shared scenes, or a
    distortion), n and the measures; a row each. The store's folder of a trial gets `cross-dataset-*.json` and `.csv`
    (predictions).
    """
    found = [_kept(store, test, others[test.other]) for test in tests]
    missing = [number for number, rows in enumerate(found) if rows is None]
    if missing:
        shared = {name: ray.put(other) for name, other in others.items()}
        task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_carry_out)
        running = {}
        for number in missing:
            test = tests[number]
            started = task.remote(
                str(store.root),
                test.result.signature,
                distortions(test.result),
                shared[test.other],
                dict(test.shared),
                resources.execution.device,
            )
            running[started] = number
        while running:
            done, _ = ray.wait(list(running))
            for one in done:
                # Not read back: a file that another node wrote may not be seen at once on a shared disk.
                found[running.pop(one)] = ray.get(one)
            on_done(len(missing) - len(running), len(missing))
    rows = []
    for test, kept in zip(tests, found, strict=True):
        assert kept is not None
        where = {"variant": test.job.run.name, "stage": test.job.run.stage, "split": test.job.trial.fold.split}
        names = {"signature": test.result.signature}
        names |= {"trained_on": test.result.dataset.name, "tested_on": others[test.other].name}
        rows += [{**where, **names, **row} for row in kept]
    return pd.DataFrame(rows)


def _name(dataset: IqaDataset) -> str:
    return f"cross-dataset-{VERSION}-{dataset.fingerprint[:16]}"


def _kept(store: Store, test: Test, dataset: IqaDataset) -> list[dict[str, Any]] | None:
    text = store.read(test.result.signature, f"{_name(dataset)}.json")
    if text is None:
        return None
    rows: list[dict[str, Any]] = json.loads(text)["rows"]
    return rows


def _carry_out(
    storage: str,
    signature: str,
    distortions: tuple[str, ...],
    dataset: IqaDataset,
    shared: Mapping[str, str],
    device: str,
) -> list[dict[str, Any]]:
    """Carry out one test in a worker, and keep its rows; these rows."""
    store = Store(storage)
    result = store.result(signature)
    assert result is not None
    tested = cross_test(models.scorer(store, result, distortions, device), dataset, shared)
    metrics = tested.metrics.astype(object).where(tested.metrics.notna(), None)
    rows = [dict(zip(metrics.columns, row, strict=True)) for row in metrics.itertuples(index=False)]
    record = {
        "dataset": DatasetRecord.of(dataset).model_dump(mode="json"),
        "shared": dict(shared),
        "unseen": tested.unseen,
        "rows": rows,
    }
    store.write(signature, f"{_name(dataset)}.csv", tested.predictions.to_csv(index=False).encode())
    store.write(signature, f"{_name(dataset)}.json", json.dumps(record, indent=1).encode())
    return rows
