"""MLflow's runs of one configuration and its splits, brought in line with the store. Safe to repeat.

A split run is terminated last, so one that is still RUNNING is half-written, and is deleted and written anew. A
configuration run is RUNNING while a driver may still add splits, then FINISHED, or FAILED if no split finished, or
KILLED if it was left before all planned splits were in. A candidate that a search prunes has fewer splits planned.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run

from gada_ray.config import digest
from gada_ray.study.contrasts import to_text
from gada_ray.study.summary import (
    ConfigurationRun,
    Trial,
    aggregate,
    configuration_key,
    curve_values,
    final_metrics,
    metric_name,
    parameters,
    read_predictions,
    varied,
)
from gada_ray.tracking import links
from gada_ray.tracking.client import HELD_OUT, KEY, MAX_NOTE, NOTE, PARENT, RESULT, hash_tag, search_key, source_tags
from gada_ray.tracking.study_run import mean_and_sd
from gada_ray.trials.store import DatasetRecord, Result

MAX_METRICS = 1000
"""Metrics in a request, MLflow's limit."""
CURVES_NOTE = "Curves are measured on fewer crops of an image than the final scores, so that their last points differ."


@dataclass(frozen=True)
class Reconciled:
    """What was done for one configuration, in runs of splits."""

    run_id: str
    complete: bool
    present: int
    written: int
    deleted: int


def reconcile(
    client: MlflowClient, place: str, run: ConfigurationRun, trials: Sequence[Trial], over: bool = False
) -> Reconciled:
    """Bring one configuration's runs in line with some of its finished trials; do nothing where they already are.

    `over` says that no driver is going to add splits.
    """
    key = configuration_key(run, trials[0])
    found = search_key(client, place, key)
    parents = [one for one in found if one.data.tags["kind"] == "configuration"]
    parent = parents[0] if parents else _create_configuration(client, place, run, key, trials)
    parent_id = parent.info.run_id
    if "n" not in parent.data.metrics:
        client.log_batch(parent_id, params=[Param(*item) for item in parameters(run).items()], synchronous=True)
        client.log_text(parent_id, run.config.model_dump_json(indent=1), "config.json")
        client.log_inputs(parent_id, datasets=[_dataset(trials[0].result)])
    contrasts = to_text(run.contrasts)
    if run.contrasts and parent.data.tags.get("contrasts") != contrasts:
        client.set_tag(parent_id, "contrasts", contrasts)

    wanted = {trial.result.signature: trial for trial in trials}
    splits: dict[str, Run] = {}
    surplus = parents[1:]
    for one in found:
        if one.data.tags["kind"] == "split":
            signature = one.data.tags["signature"]
            current = signature not in wanted or hash_tag(one, RESULT) == wanted[signature].digest
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

    # Repetitions of a split hold out the same references. A run of an older version has no such tag, and counts alone.
    known = {trial.result.signature: _held_out(trial) for trial in trials}
    parts = [known.get(signature) or one.data.tags.get(HELD_OUT, signature) for signature, one in splits.items()]
    summary = aggregate([_outcome(one) for one in splits.values()], parts)
    summary |= {"splits_planned": float(len(run.splits))}
    _log_metrics(client, parent_id, {k: v for k, v in summary.items() if parent.data.metrics.get(k) != v})
    if missing or NOTE not in parent.data.tags:
        ids = {int(one.data.tags["split"]): one.info.run_id for one in splits.values()}
        data = trials[0].result.dataset
        text = _summary(run, data, summary)
        client.set_tag(parent_id, NOTE, links.fitted([text, *links.configuration_links(place, ids)], MAX_NOTE))
    complete = {int(one.data.tags["split"]) for one in splits.values()} >= set(run.splits)
    status = ("FINISHED" if summary["n"] else "FAILED") if complete else "KILLED" if over else "RUNNING"
    if status == "RUNNING" and parent.info.status != status:
        client.update_run(parent_id, status=status)
    elif status != parent.info.status or missing:
        client.set_terminated(parent_id, status, end_time=max(one.info.end_time for one in splits.values()))
    return Reconciled(parent_id, complete, len(wanted) - len(missing), len(missing), len(surplus))


def _held_out(trial: Trial) -> str:
    """A short hash of the references that a trial holds out."""
    return digest(list(trial.result.fold.held_out))[:16]


def _create_configuration(
    client: MlflowClient, place: str, run: ConfigurationRun, key: str, trials: Sequence[Trial]
) -> Run:
    """A configuration run that is still without parameters and metrics."""
    start = min(trial.ends_ms[0] for trial in trials)
    tags = {"kind": "configuration", KEY: key} | _tags(run, trials[0]) | source_tags()
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
        RESULT: trial.digest,
        HELD_OUT: _held_out(trial),
        "status": result.status,
        "device": result.run.device,
        "compiled": str(result.run.compiled),
        "deterministic": str(result.run.deterministic),
        "code_version": str(result.code_version),
        "versions": ", ".join(f"{name} {version}" for name, version in result.run.versions.items()),
        "split": split,
        "references_train": str(len(result.fold.train)),
        "references_held_out": str(len(result.fold.held_out)),
        NOTE: _split_note(run, trial),
    }
    tags |= _tags(run, trial) | source_tags()
    if result.cause:
        tags["cause"] = result.cause[:5000]
    name = f"{run.name}, split {split}"
    run_id = client.create_run(place, start_time=start, tags=tags, run_name=name).info.run_id
    params = {"split": split} | varied(run)
    client.log_batch(run_id, params=[Param(*item) for item in params.items()], synchronous=True)
    _log_metrics(client, run_id, final_metrics(trial), curve_values(trial), end)
    client.log_inputs(run_id, datasets=[_dataset(result, "training"), _dataset(result, "testing")])
    _write_files(client, run_id, run, trial)
    client.set_terminated(run_id, "FINISHED" if result.status == "finished" else "FAILED", end_time=end)
    return client.get_run(run_id)


def _summary(run: ConfigurationRun, data: DatasetRecord, metrics: Mapping[str, float]) -> str:
    """A configuration in one line: its scores, on how many splits, and on which data."""
    count = int(metrics["n"])
    if not count:
        return f"{run.name}: no split has a score; {data.name}, preset {run.preset}."
    what = "mean ± sd of" if count > 1 else "on"
    part = "test" if run.stage == "test" else "validation"
    return (
        f"{run.name}: {part} SROCC {mean_and_sd(metrics, 'srocc')}, PLCC {mean_and_sd(metrics, 'plcc')} "
        f"({what} {count} split{'s' * (count > 1)}); {data.name}, preset {run.preset}."
    )


def _split_note(run: ConfigurationRun, trial: Trial) -> str:
    """A trial in one line, and what its curves show."""
    result = trial.result
    if result.status != "finished":
        return f"{run.name}, split {result.fold.split}: no score, {result.status} ({result.cause})"[:MAX_NOTE]
    scores = ", ".join(
        f"{name.upper()} {result.metrics[name]:.3f}" for name in ("srocc", "plcc") if name in result.metrics
    )
    return f"{run.name}, split {result.fold.split}: {result.fold.scored_on} {scores}. {CURVES_NOTE}"


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


def _dataset(result: Result, side: str = "") -> DatasetInput:
    """A dataset, or one side of a fold ("training" or "testing"); the same images have the same digest."""
    data, fold = result.dataset, result.fold
    references = {"training": fold.train, "testing": fold.held_out}.get(side)
    content = data.fingerprint if references is None else digest([data.fingerprint, references])
    dataset = Dataset(
        name=data.name,
        digest=content[:36],
        source_type="local",
        source=json.dumps({"fingerprint": data.fingerprint, "labels": data.labels}),
        profile=json.dumps({"images": data.images} if references is None else {"references": references}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", side or "evaluation")])


def _write_files(client: MlflowClient, run_id: str, run: ConfigurationRun, trial: Trial) -> None:
    """Predictions and pictures, as far as the trial has them."""
    from gada_ray.inference import pictures

    predictions, patches = trial.file("predictions.csv"), trial.file("patches.npz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if predictions is not None:
            (folder / "predictions.csv").write_bytes(predictions.getvalue())
            title = f"{trial.result.dataset.name}, {run.name}, split {trial.result.fold.split}"
            pictures.scatter(read_predictions(predictions), title).savefig(folder / "scatter.png")
        if patches is not None:
            with np.load(patches, allow_pickle=False) as arrays:
                pictures.figure1(arrays).savefig(folder / "figure1.png")
                if "requested" in arrays:  # results of earlier versions have none
                    pictures.by_quality(arrays).savefig(folder / "generated_by_quality.png")
        if (worst := trial.file("worst.npz")) is not None:
            with np.load(worst, allow_pickle=False) as arrays:
                pictures.worst_images(dict(arrays)).savefig(folder / "worst_images.png")
        if any(folder.iterdir()):
            client.log_artifacts(run_id, name)


def _outcome(split: Run) -> tuple[str, Mapping[str, float], float]:
    """Status, metrics and ratio of held-out to training references of a split's run."""
    tags = split.data.tags
    return tags["status"], split.data.metrics, int(tags["references_held_out"]) / int(tags["references_train"])
