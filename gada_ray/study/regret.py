"""Searches replayed on recorded scores: the tables that can be replayed, and the cost of the size of a generation.

The search is the real one, Optuna and racing, in virtual time on one slot. A candidate scores what the recorded
configuration nearest to it scored on the same split, so that the results are as good as the recorded ones lie close.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gada_ray.config import TrainingConfig
from gada_ray.data.splits import make_splits
from gada_ray.study.definition import Plan, StudyError, VariantPlan, selection
from gada_ray.study.racing import Racing
from gada_ray.study.search import Job, Search
from gada_ray.study.space import Dimension, Range
from gada_ray.study.virtual import play

REFERENCES = [f"r{number}" for number in range(20)]


@dataclass(frozen=True)
class Replayed:
    """Outcome of searches with generations of one size."""

    trainings: float
    """Mean share of all splits of all candidates."""
    regret: np.ndarray
    """Mean score of the best recorded configuration minus that of the chosen one, by seed."""


def read_searches(path: Path, racing: Racing) -> dict[str, pd.DataFrame]:
    """The searches in a table with the columns configuration, split and srocc, such as a study's `*-splits.csv`.

    By variant, where configurations are named after one ("64 px #3"), else under "". A replay needs the score of every
    configuration on every split, which a race does not leave behind.

    Raises:
        StudyError: for another table, too few configurations or splits, or missing scores.
    """
    try:
        frame = pd.read_csv(path)
        if "stage" in frame:
            frame = frame[frame["stage"] == "search"]
        frame = frame.assign(srocc=pd.to_numeric(frame["srocc"]), split=frame["split"])
        names = frame["configuration"].astype(str)
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{path} is not a table with the columns configuration, split and srocc: {error}") from None
    of = names.map(lambda name: found[1] if (found := re.fullmatch(r"(.+) #\d+", name)) else "")
    searches = {str(variant): rows for variant, rows in frame.groupby(of, sort=False)}
    for variant, rows in searches.items():
        what = f"{path}: variant '{variant}'" if variant else f"{path}"
        if rows.duplicated(["configuration", "split"]).any():
            raise StudyError(f"{what} has a configuration twice on a split; keep one score of each")
        scores = grid(rows)
        if len(scores) < 2 or scores.shape[1] < racing.first:
            raise StudyError(
                f"{what} has {len(scores)} configurations on {scores.shape[1]} splits; a replay needs at least 2 "
                f"configurations on {racing.first} splits"
            )
        partial = int(np.isnan(scores).any(axis=1).sum())
        if partial:
            raise StudyError(
                f"{what} has no score of {partial} of {len(scores)} configurations on some of {scores.shape[1]} "
                f"splits, as after a race or a failed training; record a search with --no-racing to replay it"
            )
    if not searches:
        raise StudyError(f"{path} has no candidates of a search (stage 'search'); name the table of a searched study")
    return searches


def grid(frame: pd.DataFrame) -> np.ndarray:
    """Scores `[configurations, splits]` of a table; NaN where there is none."""
    return frame.pivot(index="configuration", columns="split", values="srocc").to_numpy()


def replay_searches(
    table: pd.DataFrame,
    base: TrainingConfig,
    space: Mapping[str, Dimension],
    candidates: int,
    generation: int,
    racing: Racing,
    seeds: int = 20,
) -> Replayed:
    """Search with several seeds. `table` has one row a configuration and split: split, srocc, and the space's paths."""
    names = sorted(space)
    rows = table.pivot_table(index=names, columns="split", values="srocc")  # configurations may have equal values
    scores = rows.to_numpy()
    places = _places(rows.index.to_frame().to_numpy(dtype=float), names, space)
    means = scores.mean(axis=1)

    def nearest(config_values: Mapping[str, float]) -> int:
        here = _places(np.array([[config_values[name] for name in names]], dtype=float), names, space)
        return int(((places - here) ** 2).sum(axis=1).argmin())

    def score(job: Job) -> float:
        return float(scores[nearest(job.run.values), job.trial.fold.split])

    shares, regrets = [], []
    for seed in range(seeds):
        variant = VariantPlan(f"replay {seed}", {}, base, space, candidates, generation)
        plan = Plan("replay", "", "", "", (variant,), scores.shape[1], seed, racing)
        splits = {selection(base): make_splits(REFERENCES, plan.splits, seed)}
        search = Search(plan, splits, {selection(base): ""}, lambda signature: None)
        play(search, 1, lambda job, skipped: 1.0, score)
        best = search.variants[0].best
        assert best is not None
        shares.append(sum(len(c.results) for c in search.variants[0].proposed) / (candidates * plan.splits))
        regrets.append(means.max() - means[nearest(best.run.values)])
    return Replayed(float(np.mean(shares)), np.array(regrets))


def _places(values: np.ndarray, names: list[str], space: Mapping[str, Dimension]) -> np.ndarray:
    """Values `[n, dimensions]` scaled to [0, 1], evenly along each range's own scale."""
    columns = []
    for column, name in zip(values.T, names, strict=True):
        kind = space[name]
        assert isinstance(kind, Range)
        low, high, own = kind.low, kind.high, column
        if kind.log:
            low, high, own = np.log(low), np.log(high), np.log(column)
        columns.append((own - low) / (high - low))
    return np.stack(columns, axis=1)
