"""Comparisons of levels on the same splits, which overlap.

Random 80/20 splits share references, so their scores are correlated and a plain paired t finds differences where there
are none, about four times too often. Nadeau and Bengio (2003) correct its variance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Paired:
    """A comparison of two levels."""

    n: int
    """Splits that both have."""
    difference: float
    """Mean over splits of the first level less the second."""
    low: float
    high: float
    """Ends of the 95 % interval."""
    p: float
    """Two-sided, of the corrected t."""
    won: float
    """Share of splits on which the first level is higher."""
    detectable: float
    """Smallest true difference that would be found at .05 with a power of 80 %."""


def paired(first: ArrayLike, second: ArrayLike, ratio: float) -> Paired:
    """Compare two levels by their scores on the same splits.

    `ratio` is the number of test references over that of training references. The standard error of the mean
    difference is `sd * sqrt(1 / J + ratio)`, with J - 1 degrees of freedom.

    Raises:
        ValueError: for fewer than two splits, or different numbers of them.
    """
    one, two = (np.asarray(scores, dtype=np.float64) for scores in (first, second))
    if one.shape != two.shape or len(one) < 2:
        raise ValueError(f"a paired comparison needs two or more splits that both have, got {len(one)}, {len(two)}")
    differences = one - two
    j = len(differences)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    error = sd * math.sqrt(1 / j + ratio)
    quantile = float(stats.t.ppf(0.975, j - 1))
    p = float(2 * stats.t.sf(abs(mean) / error, j - 1)) if error > 0 else float(mean == 0)
    detectable = (quantile + float(stats.t.ppf(0.8, j - 1))) * error
    won = float((differences > 0).mean())
    return Paired(j, mean, mean - quantile * error, mean + quantile * error, p, won, detectable)


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for the number of comparisons by Holm's method, in the given order."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    highest = 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[position]))
        adjusted[position] = highest
    return [float(value) for value in adjusted]


def comparisons(frame: pd.DataFrame, metric: str = "srocc") -> pd.DataFrame:
    """All pairs of levels: first, second, and the fields of `Paired` with p_holm.

    `frame` has the columns level, split, references_train, references_held_out and the metric.
    """
    scores = frame.pivot(index="split", columns="level", values=metric)
    ratio = float((frame["references_held_out"] / frame["references_train"]).mean())
    levels = list(frame["level"].drop_duplicates())
    rows = []
    for first, second in itertools.combinations(levels, 2):
        both = scores[[first, second]].dropna()
        if len(both) > 1:
            rows.append({"first": first, "second": second} | vars(paired(both[first], both[second], ratio)))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].tolist())) if len(table) else table
