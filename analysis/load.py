"""Runs of a study as frames. No other module of the analysis reads MLflow."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from analysis import plans
from analysis.plans import LoadError
from gada_ray.evaluation import cross_dataset as cross_dataset_table
from gada_ray.study import baselines
from gada_ray.study.contrasts import Contrast, from_text
from gada_ray.study.summary import read_predictions
from gada_ray.tracking import links
from gada_ray.tracking.client import KEY, hash_tag
from gada_ray.tracking.database import relocate
from gada_ray.tracking.uri import PAGE, shown, sqlite_path

# MLflow reads these when it is first used. Without them, a call to a dead server blocks for four minutes.
for _name, _value in (("MAX_RETRIES", "2"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "10")):
    os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{_name}", _value)
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

PAGE_SIZE = 1000
MAX_REQUESTS = 8
"""Requests at the same time, for a server that is far away."""
COMMIT = "mlflow.source.git.commit"

Progress = Callable[[str, int, int], None]
"""Called with what is being read, how many are done, and how many there are (0 where that is not known)."""
T = TypeVar("T")
R = TypeVar("R")


def silent(what: str, done: int, of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Origin:
    """Where the runs of a study are."""

    uri: str
    experiment: str
    """Its id."""
    model: str = ""
    """URI of the model that was made of one of the runs; empty where there is none."""
    commit: str = ""
    """Of the code, where the runs recorded it."""

    def page(self, run_id: str) -> str:
        """The address of a run's page; of a sqlite file, while `mlflow server` shows it on this machine."""
        base = PAGE if self.is_file else shown(self.uri).rstrip("/")
        return f"{base}/{links.run(self.experiment, run_id)}"

    @property
    def is_file(self) -> bool:
        """Whether MLflow is a sqlite file."""
        return sqlite_path(self.uri) is not None


@dataclass(frozen=True, eq=False)
class Runs:
    """One study on one dataset with one preset, every variant in one configuration."""

    study: str
    splits: pd.DataFrame
    """One row for each finished test run of a split, in the study's order of variants, or, where that was not recorded,
    that of their first runs: run_id, key (of its configuration), signature, variant, place (of the variant), split,
    dataset, labels, preset, device (with the kind of kernels), seed, code_version, fingerprint, references_train,
    references_held_out, train and held_out (names), divided_by (reference, or group), start, end, and every final
    metric, such as srocc and srocc/jpeg. Facts that older versions did not record are empty: splits_hash, images,
    references, versions."""
    search: pd.DataFrame
    """The same for validation runs of a search; empty where nothing was searched."""
    configurations: pd.DataFrame
    """One row for each configuration: key, run_id, name, variant, stage, number, status, n, planned, diverged,
    device_hours, srocc_mean, dataset (short name), recipe, question, contrasts (as text)."""
    configs: Mapping[str, Mapping[str, Any]]
    """Every leaf of a configuration by its dotted path, by key."""
    client: MlflowClient = field(repr=False)
    origin: Origin
    brisque: pd.DataFrame | None = None
    """Scores of BRISQUE: split, srocc, plcc, srocc/jpeg and so on; None where no run of the whole study has them."""
    cross_dataset: pd.DataFrame | None = None
    """Scores of the test runs on other databases, summarised; None where there are none."""
    progress: Progress = silent

    @property
    def variants(self) -> list[str]:
        """Names of the variants, in the study's order."""
        return list(self.splits["variant"].drop_duplicates())

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """The pre-specified comparisons of the study; of one that was recorded twice, the words of the latest run."""
        named = (one for text in self.configurations["contrasts"] for one in from_text(text))
        return tuple({(one.first, one.second, one.measure): one for one in named}.values())

    @property
    def of_variants(self) -> dict[str, Mapping[str, Any]]:
        """The tested configuration of every variant, by its leaves."""
        first = self.splits.drop_duplicates("variant")
        return {variant: self.configs[key] for variant, key in zip(first["variant"], first["key"], strict=True)}

    def curve(self, metric: str) -> pd.DataFrame:
        """A metric over optimiser steps of the test runs: variant, split, step, value."""
        frame = self.splits
        wanted = list(zip(frame["run_id"], frame["variant"], frame["split"], strict=True))
        histories = _each(lambda one: self.client.get_metric_history(one[0], metric), wanted, "curves", self.progress)
        rows = [
            (variant, split, point.step, point.value)
            for (_, variant, split), history in zip(wanted, histories, strict=True)
            for point in history
        ]
        return pd.DataFrame(rows, columns=["variant", "split", "step", "value"])

    def predictions(self) -> pd.DataFrame:
        """Predictions of the test runs: variant, split, image, reference, distortion, target, prediction."""
        frame = self.splits
        with tempfile.TemporaryDirectory() as folder:
            read = functools.partial(_file, self.client, name="predictions.csv", folder=Path(folder))
            files = _each(read, list(frame["run_id"]), "predictions", self.progress)
            parts = [
                read_predictions(file).assign(variant=variant, split=split)
                for file, variant, split in zip(files, frame["variant"], frame["split"], strict=True)
                if file is not None
            ]
        columns = ["variant", "split", "image", "reference", "distortion", "target", "prediction"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def picture(self, run_id: str, name: str) -> bytes | None:
        """A picture of a run; None where it has none."""
        with tempfile.TemporaryDirectory() as folder:
            file = _file(self.client, run_id, name, Path(folder))
            return None if file is None else file.read_bytes()


def read(
    uri: str,
    study: str,
    dataset: str | None = None,
    preset: str | None = None,
    where: Mapping[str, str] | None = None,
    keys: Collection[str] | None = None,
    progress: Progress = silent,
) -> Runs:
    """Read a study.

    `where` keeps configurations with some values, such as {"seed": "1"} (`plans.facts`); `keys` those of some keys.

    Raises:
        LoadError: for an address that cannot be read, an unknown study, a study without finished test runs, and runs
            that do not mix; the message says how to choose.
    """
    if (file := sqlite_path(uri)) is not None:
        if not file.is_file():
            raise LoadError(f"there is no MLflow file {file}; run a study, or give --tracking-uri")
        with contextlib.suppress(sqlite3.Error):  # a file that may only be read, or that is no database
            relocate(uri)
    try:
        client = MlflowClient(tracking_uri=uri)
        found = _runs(client, uri, study, {"dataset_name": dataset, "preset": preset}, progress)
        if keys is not None:
            found = [run for run in found if hash_tag(run, KEY) in keys]
        splits = pd.DataFrame([_split(run) for run in found if run.data.tags["kind"] == "split"])
        configurations = pd.DataFrame([_configuration(run) for run in found if run.data.tags["kind"] != "split"])
        finished = splits[splits["status"] == "finished"] if len(splits) else splits
        if not len(finished) or not (finished["stage"] == "test").any():
            chosen = {"dataset": dataset, "preset": preset}
            which = "".join(f", {name} '{value}'" for name, value in chosen.items() if value)
            raise LoadError(
                f"MLflow at {uri} has no finished test runs of study '{study}'{which}; other runs of splits: "
                f"{len(splits)}"
            )
        configs = _configs(client, configurations, progress)
        finished = finished.sort_values(["place", "start", "split"], kind="stable")
        chosen_splits, configurations = plans.choose(study, finished, configurations, configs, where or {})
        test, search = (
            chosen_splits[chosen_splits["stage"] == stage].reset_index(drop=True) for stage in ("test", "search")
        )
        brisque, cross_dataset = _study_files(client, study, test)
        origin = _origin(client, uri, study, found, test)
    except MlflowException as error:
        raise LoadError(f"MLflow at {uri} cannot be read: {str(error).splitlines()[0][:300]}") from error
    return Runs(study, test, search, configurations, configs, client, origin, brisque, cross_dataset, progress)


def _origin(client: MlflowClient, uri: str, study: str, found: Iterable[Run], test: pd.DataFrame) -> Origin:
    """Where the runs are, the best variant's model, and the commit of the code."""
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    tested, signatures = set(test["key"]), set(test["signature"])
    models = [
        one
        for one in client.search_logged_models([experiment.experiment_id])
        if "best_of" in one.tags and one.tags.get("signature") in signatures
    ]
    newest = max(models, key=lambda one: one.creation_timestamp, default=None)
    commits = {run.data.tags[COMMIT] for run in found if hash_tag(run, KEY) in tested and COMMIT in run.data.tags}
    model = f"models:/{newest.model_id}" if newest else ""
    return Origin(uri, experiment.experiment_id, model, ", ".join(sorted(commits)))


def _runs(
    client: MlflowClient, uri: str, study: str, wanted: Mapping[str, str | None], progress: Progress
) -> list[Run]:
    """All runs of a study, those of configurations and those of splits."""
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        known = sorted(one.name for one in client.search_experiments() if one.name != "Default")
        raise LoadError(f"MLflow at {uri} has no study '{study}'; available: {', '.join(known) or 'none'}")
    rule = " and ".join(f"tags.{name} = '{value}'" for name, value in wanted.items() if value)
    runs: list[Run] = []
    token = None
    while True:
        progress("runs", len(runs), 0)
        page = client.search_runs([experiment.experiment_id], rule, max_results=PAGE_SIZE, page_token=token)
        runs += [run for run in page if run.data.tags.get("kind") in ("configuration", "split")]
        token = page.token
        if not token:
            return runs


def _study_files(
    client: MlflowClient, study: str, test: pd.DataFrame
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Scores of BRISQUE and on other databases, which runs of the whole study keep, for the same images and trials."""
    experiment = client.get_experiment_by_name(study)
    kept: dict[str, list[pd.DataFrame]] = {baselines.FILE: [], cross_dataset_table.FILE: []}
    assert experiment is not None
    with tempfile.TemporaryDirectory() as folder:
        for scheme in test["splits_hash"].unique():
            rule = f"tags.kind = 'study' and tags.splits_hash = '{scheme}'"
            for run in client.search_runs([experiment.experiment_id], rule):
                for name, frames in kept.items():
                    if (file := _file(client, run.info.run_id, name, Path(folder))) is not None:
                        frames.append(pd.read_csv(file))
    brisque, others = (pd.concat(frames) if frames else None for frames in kept.values())
    if brisque is not None:
        brisque = brisque[brisque["fingerprint"].isin(test["fingerprint"])].drop_duplicates("split")
    if others is not None:
        others = others[others["signature"].isin(test["signature"])]
        others = cross_dataset_table.summary(others.drop_duplicates(["signature", "tested_on", "images"]))
    return brisque, others


def _split(run: Run) -> dict[str, Any]:
    tags, sides = run.data.tags, {"training": "train", "testing": "held_out"}
    names: dict[str, tuple[str, ...]] = {"train": (), "held_out": ()}
    fingerprint = ""
    for one in run.inputs.dataset_inputs if run.inputs else []:
        context = {tag.key: tag.value for tag in one.tags}.get("mlflow.data.context")
        if context in sides:
            names[sides[context]] = tuple(json.loads(one.dataset.profile or "{}").get("references", ()))
            fingerprint = json.loads(one.dataset.source)["fingerprint"]
    facts = {
        "run_id": run.info.run_id,
        "key": hash_tag(run, KEY),
        "signature": tags["signature"],
        "variant": tags["variant"],
        "place": int(tags.get("variant_place", 0)),
        "stage": tags["stage"],
        "status": tags["status"],
        "split": int(tags["split"]),
        "dataset": tags["dataset_name"],
        "labels": tags["labels"],
        "preset": tags["preset"],
        "device": _device(tags),
        "seed": run.data.params.get("seed", ""),
        "code_version": tags["code_version"],
        "fingerprint": fingerprint,
        "references_train": int(tags["references_train"]),
        "references_held_out": int(tags["references_held_out"]),
        "start": run.info.start_time,
        "end": run.info.end_time,
    }
    later = {name: tags.get(name, "") for name in ("splits_hash", "images", "references", "versions")}
    later["divided_by"] = tags.get("divided_by", "reference")
    metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith(("curve/", "loss/"))}
    return facts | names | later | metrics


def _device(tags: Mapping[str, str]) -> str:
    """The device of a training, and how it computed: "NVIDIA H200 (compiled, deterministic)"."""
    how = [name for name in ("compiled", "deterministic") if tags.get(name) == "True"]
    return f"{tags['device']} ({', '.join(how)})" if how else tags["device"]


def _configuration(run: Run) -> dict[str, Any]:
    tags, metrics = run.data.tags, run.data.metrics
    number = re.search(r"#(\d+)$", run.info.run_name or "")
    return {
        "key": hash_tag(run, KEY),
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "variant": tags["variant"],
        "stage": tags["stage"],
        "number": int(number[1]) if number and tags["stage"] == "search" else 0,
        "status": run.info.status,
        "n": int(metrics.get("n", 0)),
        "planned": int(metrics.get("splits_planned", 0)),
        "diverged": int(metrics.get("diverged", 0)),
        "device_hours": metrics.get("device_hours", 0.0),
        "srocc_mean": metrics.get("srocc_mean", float("nan")),
        "dataset": run.data.params.get("dataset", ""),
        "recipe": run.data.params.get("recipe", ""),
        "question": tags.get("question", ""),
        "contrasts": tags.get("contrasts", ""),
    }


def _configs(client: MlflowClient, configurations: pd.DataFrame, progress: Progress) -> dict[str, dict[str, Any]]:
    """The configurations themselves, by key; empty where their files cannot be reached."""
    with tempfile.TemporaryDirectory() as folder:
        read = functools.partial(_file, client, name="config.json", folder=Path(folder))
        files = _each(read, list(configurations["run_id"]), "configurations", progress)
        texts = [None if file is None else file.read_text() for file in files]
    pairs = zip(configurations["key"], texts, strict=True)
    return {key: {} if text is None else plans.leaves(json.loads(text)) for key, text in pairs}


def _file(client: MlflowClient, run_id: str, name: str, folder: Path) -> Path | None:
    """A file of a run, copied below a folder; None if the run has none, or its files are out of reach."""
    place = folder / run_id
    place.mkdir(exist_ok=True)
    try:
        return Path(client.download_artifacts(run_id, name, str(place)))
    except (MlflowException, OSError):
        return None


def _each(function: Callable[[T], R], items: Sequence[T], what: str, progress: Progress) -> list[R]:
    """The function's value for every item, a few at a time."""
    results: list[R] = []
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        for result in pool.map(function, items):
            results.append(result)
            progress(what, len(results), len(items))
    return results
