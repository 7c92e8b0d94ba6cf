"""Runs of a study as frames. Nothing else here talks to MLflow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from gada_ray.errors import UserError

PAGE = 1000


class LoadError(UserError, ValueError):
    """A study that MLflow does not have; names the address and what there is."""


def split_runs(uri: str, study: str, dataset: str | None = None, preset: str | None = None) -> pd.DataFrame:
    """One row a finished test run of a split, in the order in which levels were first run.

    Columns: run_id, level, split, dataset (its name), labels, preset, device, references_train, references_held_out,
    start, and every final metric under its name in MLflow, such as srocc and srocc/jpeg.

    Raises:
        LoadError: for a study without such runs.
    """
    client = MlflowClient(tracking_uri=uri)
    try:
        experiment = client.get_experiment_by_name(study)
        known = [one.name for one in client.search_experiments() if one.name != "Default"]
    except MlflowException as error:
        raise LoadError(f"MLflow at {uri} cannot be read: {str(error).splitlines()[0]}") from error
    if experiment is None:
        raise LoadError(f"MLflow at {uri} has no study '{study}'; available: {', '.join(sorted(known)) or 'none'}")
    wanted = {"kind": "split", "stage": "test", "status": "finished", "preset": preset, "dataset_name": dataset}
    condition = " and ".join(f"tags.{name} = '{value}'" for name, value in wanted.items() if value)
    rows, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], condition, max_results=PAGE, page_token=token)
        rows += [_row(run) for run in page]
        token = page.token
        if not token:
            break
    if not rows:
        raise LoadError(f"MLflow at {uri} has no finished test runs of study '{study}' with {condition}")
    frame = pd.DataFrame(rows).sort_values(["start", "split"], kind="stable").reset_index(drop=True)
    sets = frame[["dataset", "preset"]].drop_duplicates()
    if len(sets) > 1:
        choices = "; ".join(f"--dataset '{row.dataset}' --preset {row.preset}" for row in sets.itertuples())
        raise LoadError(f"study '{study}' was run on several datasets or presets, which do not mix; choose: {choices}")
    return frame


def _row(run: Run) -> dict[str, object]:
    tags = run.data.tags
    facts = {
        "run_id": run.info.run_id,
        "level": tags["level"],
        "split": int(tags["split"]),
        "dataset": tags["dataset_name"],
        "labels": tags["labels"],
        "preset": tags["preset"],
        "device": tags["device"],
        "references_train": int(tags["references_train"]),
        "references_held_out": int(tags["references_held_out"]),
        "start": run.info.start_time,
    }
    metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith(("curve/", "loss/"))}
    return facts | metrics


def curve(uri: str, frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric over steps of the runs of a frame: level, split, step, value."""
    client = MlflowClient(tracking_uri=uri)
    rows = [
        {"level": run.level, "split": run.split, "step": point.step, "value": point.value}
        for run in frame.itertuples()
        for point in client.get_metric_history(str(run.run_id), metric)
    ]
    return pd.DataFrame(rows, columns=["level", "split", "step", "value"])


def artifact(uri: str, run_id: str, name: str, folder: Path) -> Path | None:
    """A file of a run, copied into a folder; None if the run has none."""
    client = MlflowClient(tracking_uri=uri)
    if name not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    return Path(client.download_artifacts(run_id, name, str(folder)))
