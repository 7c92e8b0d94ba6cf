"""Summary over splits of tests on other databases."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gada_ray.evaluation.metrics import CORRELATIONS

MEASURES = (*CORRELATIONS, "plcc_fitted", "rmse")
ALL, WITHOUT = "all", "all without shared scenes"
FILE = "cross-dataset.csv"
"""Name of the table in the study's MLflow run."""


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over splits: tested_on, variant, images, splits, and `srocc_mean`, `srocc_sd`, ...

    `frame` has a row a trial, database and part of its images: `running.cross_dataset.run_tests`.
    """
    whole = frame[(frame["stage"] == "test") & frame["images"].isin([ALL, WITHOUT])]
    groups = whole.groupby(["tested_on", "variant", "images"], sort=False)
    parts: dict[str, Any] = {"splits": groups["split"].nunique()}
    for measure in MEASURES:
        parts[f"{measure}_mean"] = groups[measure].mean()
        parts[f"{measure}_sd"] = groups[measure].std()
    return pd.DataFrame(parts).reset_index()
