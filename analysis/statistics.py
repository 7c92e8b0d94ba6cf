"""Comparisons of variants on the same splits, which overlap.

Random 80/20 splits share references, so their scores are correlated and a plain paired t finds differences where there
are none, about four times too often. Nadeau and Bengio (2003) correct its variance.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from gada_ray.study.contrasts import Contrast

ALPHA, POWER = 0.05, 0.8
SMALLEST_EFFECT = 0.01
"""The smallest difference of correlations that a verdict counts as worth something."""
MOST_SPLITS = 10_000
"""Splits beyond which more are as good as infinitely many."""


@dataclass(frozen=True)
class Paired:
    """A comparison of two variants."""

    n: int
    """Splits that both have."""
    difference: float
    """Mean over splits of the first variant less the second."""
    low: float
    high: float
    """Ends of the 95 % interval."""
    p: float
    """Two-sided, of the corrected t."""
    won: float
    """Share of splits on which the first variant is higher."""
    detectable: float
    """Smallest true difference that would be found with a power of 80 %."""
    p_worth: float
    """One-sided, of the hypothesis that the first variant is higher by `SMALLEST_EFFECT` or more."""
    splits_for_worth: float
    """Splits with which a true difference of `SMALLEST_EFFECT` would be found with a power of 80 %; infinite if none would do."""


def paired(first: ArrayLike, second: ArrayLike, ratio: float, alpha: float = ALPHA) -> Paired:
    """Compare two variants by their scores on the same splits.

    `ratio` is the number of test references over that of training references. The standard error of the mean
    difference is `sd * sqrt(1 / J + ratio)`, with J - 1 degrees of freedom. `alpha` is the variant of the test whose
    power is reckoned; the interval is always that of 95 %.

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
    half = float(stdtrit(j - 1, 0.975)) * error
    p = float(2 * stdtr(j - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    p_worth = float(stdtr(j - 1, (mean - SMALLEST_EFFECT) / error)) if error > 0 else float(mean >= SMALLEST_EFFECT)
    return Paired(
        n=j,
        difference=mean,
        low=mean - half,
        high=mean + half,
        p=p,
        won=float((differences > 0).mean()),
        detectable=detectable(sd, j, ratio, alpha),
        p_worth=p_worth,
        splits_for_worth=splits_for(SMALLEST_EFFECT, sd, ratio, alpha),
    )


def detectable(sd: float, splits: float, ratio: float, alpha: float = ALPHA) -> float:
    """The smallest true difference that a test at `alpha` finds with a power of 80 %, by the corrected t.

    `sd` is the standard deviation of the differences over splits, `ratio` as for `paired`.
    """
    quantiles = stdtrit(splits - 1, [1 - alpha / 2, POWER])
    return float(quantiles.sum()) * sd * math.sqrt(1 / splits + ratio)


def splits_for(difference: float, sd: float, ratio: float, alpha: float = ALPHA) -> float:
    """How many splits would do to find a true difference; infinite where none would.

    Splits of the same references overlap: however many there are, their mean keeps an error of `sd * sqrt(ratio)`.
    """
    if detectable(sd, MOST_SPLITS, ratio, alpha) > difference:
        return math.inf
    return float(
        bisect.bisect_left(range(2, MOST_SPLITS), -difference, key=lambda j: -detectable(sd, j, ratio, alpha)) + 2
    )


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
    """All pairs of variants, with Holm over all: first, second, and the fields of `Paired` with p_holm.

    `frame` has the columns variant, split, references_train, references_held_out and the metric.
    """
    variants = list(frame["variant"].drop_duplicates())
    every = [Contrast(*pair, "", metric) for pair in itertools.combinations(variants, 2)]
    return _compared(frame, every, ALPHA).drop(columns="question", errors="ignore")


def contrasts(frame: pd.DataFrame, named: Sequence[Contrast]) -> pd.DataFrame:
    """Comparisons that were named, each by its measure, with Holm over them alone; question, and as `comparisons`.

    Both p and p_worth are corrected, p_holm and p_worth_holm. Powers are those of tests at .05 over the number of
    contrasts, which is what Holm asks of the first of them.
    """
    table = _compared(frame, named, ALPHA / max(1, len(named)))
    return table if table.empty else table.assign(p_worth_holm=holm(table["p_worth"].tolist()))


def _compared(frame: pd.DataFrame, asked: Sequence[Contrast], alpha: float) -> pd.DataFrame:
    """Pairs of variants with two splits or more on which both have the measure."""
    scores = {
        name: frame.pivot(index="split", columns="variant", values=name)
        for name in {one.measure for one in asked}
        if name in frame
    }
    ratio = float((frame["references_held_out"] / frame["references_train"]).mean())
    rows = []
    for one in asked:
        if one.measure not in scores:
            continue
        both = scores[one.measure].reindex(columns=[one.first, one.second]).dropna()
        if len(both) > 1:
            found = vars(paired(both[one.first], both[one.second], ratio, alpha))
            names = {"question": one.question, "first": one.first, "second": one.second, "metric": one.measure}
            rows.append(names | found)
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].tolist())) if len(table) else table
