"""The table of a study: scores of every variant on the test references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Split
from gada_ray.evaluation.metrics import image_blind
from gada_ray.study.definition import Plan
from gada_ray.study.search import Configuration
from gada_ray.trials.store import Folder, write_whole

IMAGE_BLIND, BRISQUE = "image-blind baseline", "classical baseline (BRISQUE)"


def table(configurations: Sequence[Configuration]) -> pd.DataFrame:
    """One row a configuration: variant, stage, n, and mean, standard deviation and median over splits."""
    rows = []
    for configuration in configurations:
        # Not in the order in which they came in, on which the last bit of a sum depends.
        found = (configuration.results.get(job.trial.fold.split) for job in configuration.jobs)
        results = [result for result in found if result is not None]
        finished = [r.metrics for r in results if r.status == "finished"]
        row = {
            "variant": configuration.run.name,
            "stage": configuration.run.stage,
            "n": len(finished),
            "planned": len(configuration.run.splits),
            "pruned": configuration.pruned,
            "failed": len(configuration.results) - len(finished),
            **_summary(finished),
            "device_hours": sum(r.run.seconds for r in results) / 3600,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def untested(plan: Plan, configurations: Sequence[Configuration], splits: int) -> pd.DataFrame:
    """A row without scores for every variant that was not tested, as where all candidates of its search failed."""
    tested = {configuration.run.variant for configuration in configurations if configuration.run.stage == "test"}
    row = {"stage": "test", "n": 0, "planned": splits, "pruned": False, "failed": 0, **_summary([])}
    return pd.DataFrame(
        [{"variant": v.name, **row, "device_hours": 0.0} for v in plan.variants if v.name not in tested]
    )


def same_trainings(configurations: Sequence[Configuration]) -> list[tuple[str, ...]]:
    """Names of tested variants that are the same trainings, by their signatures, one tuple for each such group."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for configuration in configurations:
        if configuration.run.stage == "test":
            signatures = tuple(job.trial.signature for job in configuration.jobs)
            alike.setdefault(signatures, []).append(configuration.run.variant)
    return [tuple(names) for names in alike.values() if len(names) > 1]


def by_split(configurations: Sequence[Configuration]) -> pd.DataFrame:
    """One row a trial: configuration, stage, split, status, srocc, plcc, seconds, signature, and what was searched."""
    rows = []
    for configuration in configurations:
        for job in configuration.jobs:
            result = configuration.results.get(job.trial.fold.split)
            if result is not None:
                scores = {name: result.metrics.get(name, np.nan) for name in ("srocc", "plcc")}
                rows.append(
                    {
                        "configuration": configuration.run.name,
                        "stage": configuration.run.stage,
                        "split": job.trial.fold.split,
                        "status": result.status,
                        **scores,
                        "seconds": result.run.seconds,
                        "signature": result.signature,
                        **{path: v for path, v in configuration.run.values.items() if isinstance(v, (str, int, float))},
                    }
                )
    return pd.DataFrame(rows)


def _summary(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    values = {}
    for name in ("srocc", "plcc"):
        scores = np.array([m[name] for m in metrics])
        values[f"{name}_mean"] = float(scores.mean()) if len(scores) else np.nan
        values[f"{name}_sd"] = float(scores.std(ddof=1)) if len(scores) > 1 else np.nan
        values[f"{name}_median"] = float(np.median(scores)) if len(scores) else np.nan
    return values


def image_blind_row(dataset: IqaDataset, splits: Sequence[Split]) -> pd.DataFrame:
    """The row of a predictor that never sees the image and predicts the mean training quality of its distortion class.

    Empty for a dataset of one class: a constant prediction has no correlation.
    """
    frame = dataset.frame()
    if frame["distortion"].nunique() < 2:
        return pd.DataFrame()
    metrics = []
    for split in splits:
        fold = split.for_test()
        metrics.append(image_blind(frame, fold.train, fold.held_out))
    return _baseline_row(IMAGE_BLIND, metrics)


def _baseline_row(name: str, metrics: Sequence[dict[str, float]]) -> pd.DataFrame:
    n = len(metrics)
    return pd.DataFrame([{"variant": name, "stage": "test", "n": n, "planned": n, "failed": 0, **_summary(metrics)}])


def write_tables(
    folder: Folder,
    plan: Plan,
    configurations: Sequence[Configuration],
    dataset: IqaDataset,
    splits: Sequence[Split],
    brisque: pd.DataFrame | None = None,
) -> tuple[Folder, pd.DataFrame]:
    """Write the table with the baselines as a CSV file, and `by_split` beside it; returns its path and the table.

    Every variant of the plan has a row. `brisque` holds BRISQUE's srocc and plcc on every split.
    """
    second = [] if brisque is None else [_baseline_row(BRISQUE, brisque.to_dict("records"))]  # type: ignore[arg-type]
    parts = [
        table(configurations),
        untested(plan, configurations, len(splits)),
        image_blind_row(dataset, splits),
        *second,
    ]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    path = folder / f"{plan.name}.csv"
    write_whole(path, frame.to_csv(index=False).encode())
    write_whole(path.with_stem(f"{path.stem}-splits"), by_split(configurations).to_csv(index=False).encode())
    return path, frame
