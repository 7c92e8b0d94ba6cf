"""What the size of a generation costs and saves: whole searches, replayed on scores that were recorded.

The search is the real one, Optuna and racing, in virtual time on one slot. A candidate scores what the recorded
configuration nearest to it scored on the same split, so the figures are as good as the recorded ones lie close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gada_ray.config import TrainingConfig
from gada_ray.data.splits import make_splits
from gada_ray.study.definition import Plan, VariantPlan, selection
from gada_ray.study.racing import Racing
from gada_ray.study.search import Job, Search
from gada_ray.study.space import Dimension, Range
from gada_ray.study.virtual import play

REFERENCES = [f"r{number}" for number in range(20)]


@dataclass(frozen=True)
class Replayed:
    """Searches with generations of one size."""

    trainings: float
    """Mean share of all splits of all candidates."""
    regret: np.ndarray
    """Mean score of the best recorded configuration less that of the chosen one, by seed."""


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
    rows = table.pivot(index=names, columns="split", values="srocc")
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
    """Values `[n, dimensions]` in [0, 1], along the space's own scale."""
    columns = []
    for column, name in zip(values.T, names, strict=True):
        kind = space[name]
        assert isinstance(kind, Range)
        low, high, own = kind.low, kind.high, column
        if kind.log:
            low, high, own = np.log(low), np.log(high), np.log(column)
        columns.append((own - low) / (high - low))
    return np.stack(columns, axis=1)
