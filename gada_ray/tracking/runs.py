"""MLflow: one run a configuration, with a nested run for each of its splits, and one run a study for its report.

The store is the record; MLflow is a copy of it for people and for analysis, and can be made complete from it at any
time. Everything is written by the driver, in one background thread, by one function: `_reconcile`.

A split run is terminated last, so one that is still RUNNING is half-written, and is deleted and written anew. A
configuration run is RUNNING while a driver may still add splits, then FINISHED, or FAILED when no split finished, or
KILLED when it was left before all planned splits were in, as a search leaves its losers.
"""

from __future__ import annotations

import json
import logging
import math
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import ExclusiveFileLock

from gada_ray.config import CODE_VERSION, digest
from gada_ray.errors import first_line
from gada_ray.study.contrasts import to_text
from gada_ray.study.definition import Plan
from gada_ray.study.summary import (
    ConfigurationRun,
    Trial,
    aggregate,
    configuration_key,
    curve_values,
    final_metrics,
    metric_name,
    parameters,
    read_trial,
    varied,
)
from gada_ray.tracking import links
from gada_ray.tracking.uri import SQLITE, artifacts
from gada_ray.tracking.uri import TrackingError as TrackingError
from gada_ray.tracking.uri import default_uri as default_uri
from gada_ray.tracking.uri import where_to_look as where_to_look
from gada_ray.trials.store import Folder, Result

# It announces every table of a new database.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)

RETRY_S = 60.0
"""Seconds between two attempts to reach a server that is down."""
MAX_METRICS = 1000
"""Metrics in a request, MLflow's limit."""
KEY, PARENT, NOTE = "gada.key", "mlflow.parentRunId", "mlflow.note.content"
MADE_OF = "gada.made_of"


@dataclass(frozen=True)
class Synced:
    """What `sync` found and did, in runs of splits, and in configurations."""

    configurations: int
    present: int
    written: int
    deleted: int


def sync(uri: str, experiment: str, entries: Iterable[tuple[ConfigurationRun, Folder]]) -> Synced:
    """Make MLflow complete from the store and free of duplicates and half-written runs. Safe to repeat.

    `entries` are finished trials, each with the configuration that it belongs to. Not meant for while a driver writes
    to the same experiment: runs that it is just writing look half-written.

    Raises:
        TrackingError: when MLflow cannot be reached or refuses.
        DataError: for a folder that holds no result.
        StoreError: for a result that cannot be trusted.
    """
    groups: dict[str, tuple[ConfigurationRun, list[Trial]]] = {}
    for run, folder in entries:
        trial = read_trial(folder)
        groups.setdefault(configuration_key(run, trial), (run, []))[1].append(trial)
    try:
        client, place = _opened(uri, experiment)
        done = [_reconcile(client, place, run, trials, over=True) for run, trials in groups.values()]
        left = 0
        for found in _search(client, place, "attributes.status = 'RUNNING'"):
            if found.data.tags.get("kind") == "configuration" and "n" in found.data.metrics:
                client.set_terminated(found.info.run_id, "KILLED")
            elif "kind" in found.data.tags:
                client.delete_run(found.info.run_id)
                left += 1
    except (MlflowException, OSError) as error:
        raise TrackingError(_unreachable(uri, experiment, error)) from error
    return Synced(
        configurations=len(done),
        present=sum(one.present for one in done),
        written=sum(one.written for one in done),
        deleted=left + sum(one.deleted for one in done),
    )


def log_study(
    uri: str,
    plan: Plan,
    scheme: str,
    fingerprints: Sequence[str],
    keys: Collection[str],
    files: Path,
    over: bool,
    made_of: str = "",
) -> str:
    """Keep files about a whole plan, such as its report, in one run of kind "study"; the id of that run.

    The run is found again by what the plan trains: another seed, setting or dataset has its own. `scheme` names the
    division of references, `keys` the plan's configurations (`configuration_key`), to which the description leads,
    and `over` says that nothing is left to train. `made_of` names what the files were made of; see `is_logged`.

    Raises:
        TrackingError: when MLflow cannot be reached or refuses.
    """
    tags = _study_tags(plan, scheme, fingerprints)
    try:
        client = MlflowClient(tracking_uri=uri)
        place = _experiment(client, uri, plan.study)
        found = sorted(_search(client, place, f"tags.`{KEY}` = '{tags[KEY]}'"), key=lambda one: one.info.start_time)
        run = found[0] if found else client.create_run(place, tags=tags, run_name=f"study {plan.study}, {plan.preset}")
        for surplus in found[1:]:
            client.delete_run(surplus.info.run_id)
        if not found:
            params = {"dataset": plan.dataset, "variants": ", ".join(variant.name for variant in plan.variants)}
            params |= {"splits": str(plan.splits), "seed": str(plan.seed)}
            client.log_batch(run.info.run_id, params=[Param(*item) for item in params.items()], synchronous=True)
        client.log_artifacts(run.info.run_id, str(files))
        client.set_tag(run.info.run_id, MADE_OF, made_of)
        client.set_tag(run.info.run_id, NOTE, _study_note(client, place, plan, keys))
        client.set_terminated(run.info.run_id, "FINISHED" if over else "KILLED")
    except MlflowException as error:
        raise TrackingError(_unreachable(uri, plan.study, error)) from error
    return str(run.info.run_id)


def is_logged(uri: str, plan: Plan, scheme: str, fingerprints: Sequence[str], made_of: str) -> bool:
    """Whether `log_study` has kept files that were made of the same."""
    client = MlflowClient(tracking_uri=uri)
    key = _study_tags(plan, scheme, fingerprints)[KEY]
    found = _search(client, _experiment(client, uri, plan.study), f"tags.`{KEY}` = '{key}'")
    return [run.data.tags.get(MADE_OF) for run in found] == [made_of]


def _study_tags(plan: Plan, scheme: str, fingerprints: Sequence[str]) -> dict[str, str]:
    """By which the run of a whole plan is found again."""
    return {
        "kind": "study",
        KEY: digest(
            {
                "study": plan.study,
                "preset": plan.preset,
                "dataset": [plan.dataset, *sorted(fingerprints)],
                "variants": {
                    variant.name: variant.config.model_dump(mode="json", exclude_defaults=True)
                    for variant in plan.variants
                },
                "scheme": scheme,
                "seed": plan.seed,
                "code_version": CODE_VERSION,
            }
        ),
        "study": plan.study,
        "question": plan.question,
        "preset": plan.preset,
        "splits_hash": scheme,
    }


def _study_note(client: MlflowClient, place: str, plan: Plan, keys: Collection[str]) -> str:
    """The description of a study's run."""
    found = [one for one in _search(client, place, "tags.kind = 'configuration'") if one.data.tags[KEY] in keys]
    tested: dict[str, str] = {}
    candidates: dict[str, list[str]] = {}
    for one in sorted(found, key=lambda one: one.info.start_time):
        variant = one.data.tags["variant"]
        if one.data.tags["stage"] == "test":
            tested[variant] = one.info.run_id
        else:
            candidates.setdefault(variant, []).append(one.info.run_id)
    in_order = {variant.name: tested[variant.name] for variant in plan.variants if variant.name in tested}
    return links.study_note(place, in_order, candidates)


class Tracker:
    """Writes finished trials to MLflow while a study runs, and never delays or fails it.

    Build it in the driver before any worker starts: it creates database and experiment. A server that does not answer
    costs one message; it is tried again once a minute, and what it missed is left to `sync`.

    Raises:
        TrackingError: for a local store that cannot be opened, or an address that MLflow does not know.
    """

    def __init__(self, uri: str, experiment: str, tell: Callable[[str], None] | None = None) -> None:
        self._uri, self._experiment = uri, experiment
        self._tell = tell or (lambda message: print(message, file=sys.stderr))
        self._entries: queue.SimpleQueue[tuple[ConfigurationRun, Folder] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._open: set[str] = set()
        self._down = False
        try:
            self._client, _ = _opened(uri, experiment)
        except Exception as error:
            if not uri.startswith(("http://", "https://")):
                raise TrackingError(f"MLflow cannot use {uri}: {_line(error)}; give another --tracking-uri") from error
            self._lost(error)
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def finished(self, run: ConfigurationRun, trial_folder: Folder) -> None:
        """Have a finished trial written, and return at once. Trials that were read back may be handed in again."""
        self._entries.put((run, trial_folder))

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what is waiting, for at most some seconds; nothing can be handed in afterwards.

        A server that did not answer is tried once more.
        """
        self._entries.put(None)
        self._closing.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._tell(f"MLflow at {self._uri} is not complete after {timeout_s:.0f} s; {_remedy(self._experiment)}")

    def _work(self) -> None:
        try:
            while (entry := self._entries.get()) is not None:
                while not self._write(*entry):
                    if self._closing.is_set():
                        return
                    self._closing.wait(RETRY_S)
            for run_id in self._open:
                self._client.set_terminated(run_id, "KILLED")
        except Exception as error:
            self._lost(error)

    def _write(self, run: ConfigurationRun, folder: Folder) -> bool:
        """Write one trial; False while MLflow does not answer. What fails twice with MLflow alive is left out."""
        for _ in range(2):
            try:
                place = _experiment(self._client, self._uri, self._experiment)
            except Exception as error:
                self._lost(error)
                return False
            self._down = False
            try:
                done = _reconcile(self._client, place, run, [read_trial(folder)])
            except Exception as error:
                failure = error
            else:
                (self._open.discard if done.complete else self._open.add)(done.run_id)
                return True
        self._tell(f"MLflow is without {folder.name}: {_line(failure)}; {_remedy(self._experiment)}")
        return True

    def _lost(self, error: Exception) -> None:
        """Say once, for every time that it happens, that MLflow does not answer."""
        if not self._down:
            self._tell(_unreachable(self._uri, self._experiment, error))
        self._down = True


@dataclass(frozen=True)
class _Reconciled:
    run_id: str
    complete: bool
    present: int
    written: int
    deleted: int


def _reconcile(
    client: MlflowClient, place: str, run: ConfigurationRun, trials: Sequence[Trial], over: bool = False
) -> _Reconciled:
    """Bring one configuration's runs in line with some of its finished trials; do nothing where they already are.

    `over` says that no driver is going to add splits.
    """
    key = configuration_key(run, trials[0])
    found = sorted(_search(client, place, f"tags.`{KEY}` = '{key}'"), key=lambda one: one.info.start_time)
    parents = [one for one in found if one.data.tags["kind"] == "configuration"]
    parent = parents[0] if parents else _create_configuration(client, place, run, key, trials)
    parent_id = parent.info.run_id
    if "n" not in parent.data.metrics:
        client.log_batch(parent_id, params=[Param(*item) for item in parameters(run).items()], synchronous=True)
        client.log_text(parent_id, run.config.model_dump_json(indent=1), "config.json")
    contrasts = to_text(run.contrasts)
    if run.contrasts and parent.data.tags.get("contrasts") != contrasts:
        client.set_tag(parent_id, "contrasts", contrasts)

    wanted = {trial.result.signature: trial for trial in trials}
    splits: dict[str, Run] = {}
    surplus = parents[1:]
    for one in found:
        if one.data.tags["kind"] == "split":
            signature = one.data.tags["signature"]
            current = signature not in wanted or one.data.tags["gada.result"] == wanted[signature].digest
            if one.info.status == "RUNNING" or signature in splits or not current:
                surplus.append(one)
            else:
                splits[signature] = one
    for one in surplus:
        client.delete_run(one.info.run_id)
    for one in splits.values():
        if one.data.tags[PARENT] != parent_id:
            client.set_tag(one.info.run_id, PARENT, parent_id)
    missing = [trial for signature, trial in wanted.items() if signature not in splits]
    for trial in missing:
        splits[trial.result.signature] = _write_split(client, place, run, key, parent_id, trial)

    summary = aggregate([_outcome(one) for one in splits.values()]) | {"splits_planned": float(len(run.splits))}
    _log_metrics(client, parent_id, {k: v for k, v in summary.items() if parent.data.metrics.get(k) != v})
    if missing or NOTE not in parent.data.tags:
        ids = {int(one.data.tags["split"]): one.info.run_id for one in splits.values()}
        client.set_tag(parent_id, NOTE, links.configuration_note(place, ids))
    complete = {int(one.data.tags["split"]) for one in splits.values()} >= set(run.splits)
    status = ("FINISHED" if summary["n"] else "FAILED") if complete else "KILLED" if over else "RUNNING"
    if status == "RUNNING" and parent.info.status != status:
        client.update_run(parent_id, status=status)
    elif status != parent.info.status or missing:
        client.set_terminated(parent_id, status, end_time=max(one.info.end_time for one in splits.values()))
    return _Reconciled(parent_id, complete, len(wanted) - len(missing), len(missing), len(surplus))


def _create_configuration(
    client: MlflowClient, place: str, run: ConfigurationRun, key: str, trials: Sequence[Trial]
) -> Run:
    """A configuration run that is still without parameters and metrics."""
    start = min(trial.ends_ms[0] for trial in trials)
    tags = {"kind": "configuration", KEY: key} | _tags(run, trials[0])
    return client.create_run(place, start_time=start, tags=tags, run_name=run.name)


def _write_split(
    client: MlflowClient, place: str, run: ConfigurationRun, key: str, parent_id: str, trial: Trial
) -> Run:
    """Write one trial as a nested run; its termination comes last."""
    result = trial.result
    split, (start, end) = str(result.fold.split), trial.ends_ms
    tags = {
        "kind": "split",
        KEY: key,
        PARENT: parent_id,
        "signature": result.signature,
        "gada.result": trial.digest,
        "status": result.status,
        "device": result.run.device,
        "code_version": str(result.code_version),
        "versions": ", ".join(f"{name} {version}" for name, version in result.run.versions.items()),
        "split": split,
        "references_train": str(len(result.fold.train)),
        "references_held_out": str(len(result.fold.held_out)),
    } | _tags(run, trial)
    if result.cause:
        tags["cause"] = result.cause[:5000]
    run_id = client.create_run(place, start_time=start, tags=tags, run_name=f"split {split}").info.run_id
    params = {"split": split} | varied(run)
    client.log_batch(run_id, params=[Param(*item) for item in params.items()], synchronous=True)
    _log_metrics(client, run_id, final_metrics(trial), curve_values(trial), end)
    client.log_inputs(run_id, datasets=[_dataset(result, "training"), _dataset(result, "testing")])
    _write_files(client, run_id, run, trial)
    client.set_terminated(run_id, "FINISHED" if result.status == "finished" else "FAILED", end_time=end)
    return client.get_run(run_id)


def _tags(run: ConfigurationRun, trial: Trial) -> dict[str, str]:
    """Tags that configurations and splits share, to filter and group by."""
    data = trial.result.dataset
    return {
        "study": run.study,
        "question": run.question,
        "preset": run.preset,
        "variant": run.variant,
        "variant_place": str(run.place),
        "stage": run.stage,
        "dataset_name": data.name,
        "labels": data.labels,
        "images": str(data.images),
        "references": str(data.references),
        "divided_by": "reference" if data.has_references else "group",
        "splits_hash": run.scheme,
    }


def _log_metrics(
    client: MlflowClient,
    run_id: str,
    values: Mapping[str, float],
    curves: Iterable[tuple[str, int, float]] = (),
    time_ms: int | None = None,
) -> None:
    """Log values, and curves by step. Those that are not finite break MLflow's pages: they are counted instead."""
    points = [(name, 0, value) for name, value in values.items()] + list(curves)
    finite = [point for point in points if point[2] is not None and math.isfinite(point[2])]
    if len(finite) < len(points):
        finite.append(("not_finite", 0, len(points) - len(finite)))
    time = int(pd.Timestamp.now("UTC").timestamp() * 1000) if time_ms is None else time_ms
    metrics = [Metric(metric_name(name), float(value), time, step) for name, step, value in finite]
    for first in range(0, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[first : first + MAX_METRICS], synchronous=True)


def _dataset(result: Result, context: str) -> DatasetInput:
    """One side of a fold as MLflow's dataset; the same side of the same images has the same digest."""
    data, references = result.dataset, result.fold.train if context == "training" else result.fold.held_out
    dataset = Dataset(
        name=data.name,
        digest=digest([data.fingerprint, references])[:36],
        source_type="local",
        source=json.dumps({"fingerprint": data.fingerprint, "labels": data.labels}),
        profile=json.dumps({"references": references}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _write_files(client: MlflowClient, run_id: str, run: ConfigurationRun, trial: Trial) -> None:
    """Predictions and pictures, as far as the trial has them."""
    from gada_ray.inference import pictures

    predictions, patches = trial.file("predictions.csv"), trial.file("patches.npz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if predictions is not None:
            (folder / "predictions.csv").write_bytes(predictions.getvalue())
            title = f"{trial.result.dataset.name}, {run.name}, split {trial.result.fold.split}"
            pictures.scatter(pd.read_csv(predictions), title).savefig(folder / "scatter.png")
        if patches is not None:
            with np.load(patches, allow_pickle=False) as arrays:
                pictures.figure1(arrays).savefig(folder / "figure1.png")
                if "asked" in arrays:  # results of the first version have none
                    pictures.by_quality(arrays).savefig(folder / "generated_by_quality.png")
        if (looked := trial.file("worst.npz")) is not None:
            with np.load(looked, allow_pickle=False) as arrays:
                pictures.looked(dict(arrays)).savefig(folder / "looked.png")
        if any(folder.iterdir()):
            client.log_artifacts(run_id, name)


def _outcome(split: Run) -> tuple[str, Mapping[str, float], float]:
    """Status, metrics and ratio of held-out to training references of a split's run."""
    tags = split.data.tags
    return tags["status"], split.data.metrics, int(tags["references_held_out"]) / int(tags["references_train"])


def _search(client: MlflowClient, place: str, rule: str) -> list[Run]:
    """All runs of an experiment that a rule picks."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([place], rule, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _opened(uri: str, name: str) -> tuple[MlflowClient, str]:
    """A client, and the experiment's id. A database on a disk is made by one process at a time: two would break it."""
    alone: ExclusiveFileLock | nullcontext[None] = nullcontext()
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        file.parent.mkdir(parents=True, exist_ok=True)
        alone = ExclusiveFileLock(f"{file}.lock")
    with alone:
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, uri, name)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created, or restored when it was deleted, where need be."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = artifacts(uri).as_uri() if uri.startswith(SQLITE) else None
        return client.create_experiment(name, place, tags={"mlflow.experimentKind": "custom_model_development"})
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _unreachable(uri: str, experiment: str, error: Exception) -> str:
    return f"MLflow at {uri} cannot be used ({_line(error)}); {_remedy(experiment)}"


def _remedy(experiment: str) -> str:
    return f"nothing is lost, run 'tune.py --study {experiment} --sync' when it is back"


def _line(error: Exception) -> str:
    """The first line of an error, short."""
    return first_line(error)[:300]
