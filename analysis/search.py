"""The candidates of a search, and the importance of the searched values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from optuna import Study
    from optuna.importance import BaseImportanceEvaluator

MIN_CANDIDATES = 30
"""Candidates of a variant below which importances are noise."""
RESAMPLES = 8
TREES = 16
FIXED = ["key", "variant", "number", "n", "complete", "pruned", "srocc"]


def candidates(configurations: pd.DataFrame, configs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Every candidate: key, variant, number, n, complete, pruned, srocc (validation) and the searched values.

    Searched are the fields in which candidates of a variant differ. A candidate is complete when it was trained on as
    many splits as any other of its variant, and pruned when racing ended it before that.
    """
    search = configurations[configurations["stage"] == "search"].sort_values(["variant", "number"], kind="stable")
    search = search.drop_duplicates(["variant", "number"], keep="last")
    values = pd.DataFrame([dict(configs.get(str(key), {})) for key in search["key"]], index=search.index)
    paths = [path for path in values if values[path].groupby(search["variant"]).nunique().max() > 1]
    most = search.groupby("variant")["planned"].transform("max")
    table = search[["key", "variant", "number", "n"]].assign(
        complete=search["n"] == most,
        pruned=(search["status"] == "FINISHED") & (search["planned"] < most),
        srocc=search["srocc_mean"],
    )
    return table.join(values[paths]).reset_index(drop=True)


def searched(table: pd.DataFrame) -> list[str]:
    """The fields in which one variant's candidates differ."""
    return [str(path) for path in table.columns.difference(FIXED, sort=False) if table[path].nunique() > 1]


def is_logarithmic(values: pd.Series[Any]) -> bool:
    """Whether values are positive and reach over more than a factor of ten."""
    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().all() and numbers.min() > 0 and numbers.max() > 10 * numbers.min())


def importances(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The importance of each searched value, by PED-ANOVA and fANOVA: parameter, method, mean, low, high.

    `table` holds the candidates of one variant, `scores` key, split and srocc of their runs. Shares of a method add up
    to 1. PED-ANOVA (Watanabe et al., 2023) is about reaching the best tenth, fANOVA (Hutter et al., 2014) about the
    variance. Low and high are the extremes over bootstrap samples of the splits. A candidate's score is its mean
    difference from the complete candidates on the same splits, since pruned ones have few splits.
    Empty for fewer than MIN_CANDIDATES candidates.
    """
    grid = scores.pivot(index="key", columns="split", values="srocc")
    table = table[table["key"].isin(grid.index)]
    if len(table) < MIN_CANDIDATES or not table["complete"].any():
        return pd.DataFrame(columns=["parameter", "method", "mean", "low", "high"])
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    grid = grid.loc[table["key"]]
    centred = (grid - grid[table["complete"].to_numpy()].mean()).to_numpy()
    random = np.random.default_rng(0)
    rows = []
    for draw in range(RESAMPLES):
        columns = random.integers(centred.shape[1], size=centred.shape[1])
        drawn = centred[:, columns]
        known = ~np.isnan(drawn).all(axis=1)
        study = _study(table[known], np.nanmean(drawn[known], axis=1))
        methods = {
            "PED-ANOVA": PedAnovaImportanceEvaluator(),
            "fANOVA": FanovaImportanceEvaluator(n_trees=TREES, seed=0),
        }
        for method, evaluator in methods.items():
            rows += [(name, method, draw, share) for name, share in _shares(study, evaluator).items()]
    frame = pd.DataFrame(rows, columns=["parameter", "method", "draw", "share"])
    groups = frame.groupby(["parameter", "method"], sort=False)["share"]
    return groups.agg(mean="mean", low="min", high="max").reset_index()


def _study(table: pd.DataFrame, values: np.ndarray) -> Study:
    """An Optuna study of these candidates; ranges are those of the candidates."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    space: dict[str, BaseDistribution] = {}
    for path in searched(table):
        column = table[path]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            space[path] = FloatDistribution(float(column.min()), float(column.max()), log=is_logarithmic(column))
        else:
            space[path] = CategoricalDistribution(sorted(map(str, column.unique())))
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(before)
    for (_, row), value in zip(table.iterrows(), values, strict=True):
        params = {
            path: float(row[path]) if isinstance(one, FloatDistribution) else str(row[path])
            for path, one in space.items()
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(value)))
    return study


def _shares(study: Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    from optuna.importance import get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both methods are marked experimental
        found = get_param_importances(study, evaluator=evaluator)
    return {name: 0.0 if math.isnan(share) else share for name, share in found.items()}
