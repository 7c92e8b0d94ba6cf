"""Comparisons of variants on the same splits, which overlap.

Random 80/20 splits share references, so their scores are correlated, and a plain paired t test finds differences
where there are none, about four times too often. Nadeau and Bengio (2003) correct its variance.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from gada_ray.study.contrasts import Contrast
from gada_ray.study.summary import Mean, by_split, mean_over_splits

ALPHA, POWER = 0.05, 0.8
SMALLEST_EFFECT = 0.01
"""The smallest difference of correlations that matters in practice."""
MIN_SPLITS = 3
"""Fewer splits give no interval and no p value: the spread of two differences is no estimate."""
NO_SPREAD = 1e-12
"""A standard deviation below this one is rounding: equal differences are no evidence of precision."""
MAX_SPLITS = 10_000
"""More splits than these change nothing: the error that overlap leaves dominates."""


@dataclass(frozen=True)
class Paired:
    """A comparison of two variants.

    Everything but `n`, `difference` and `won` is NaN for fewer than `MIN_SPLITS` splits and for differences that do
    not vary.
    """

    n: int
    """Splits that both variants have; repeated ones count once."""
    repeats: float
    """Trainings of each variant on a split, as a mean."""
    difference: float
    """Mean over splits of the first variant minus the second."""
    low: float
    high: float
    """Ends of the 95% confidence interval, within [-2, 2], the range of a difference of correlations."""
    p: float
    """Two-sided, of the corrected t test."""
    won: float
    """Share of splits on which the first variant is higher, by the mean of repetitions."""
    detectable: float
    """Minimum detectable difference: the smallest true difference that is found with a power of 80%."""
    p_gain: float
    """One-sided, of the hypothesis that the first variant is better by `SMALLEST_EFFECT` or more."""
    p_loss: float
    """One-sided, of the hypothesis that the first variant is worse by `SMALLEST_EFFECT` or more."""
    splits_required: float
    """Splits with which a true difference of `SMALLEST_EFFECT` is found with a power of 80%; infinite if no number is
    enough."""


def paired(
    first: ArrayLike,
    second: ArrayLike,
    ratio: float,
    alpha: float = ALPHA,
    held_out: Sequence[Any] | None = None,
) -> Paired:
    """Compare two variants by their scores on the same splits.

    `ratio` is the number of test references over that of training references. The standard error of the mean
    difference is `sd * sqrt(1 / J + ratio)`, with J - 1 degrees of freedom. `held_out` are labels of the references
    that each split holds out: splits with the same ones are repetitions (`summary.mean_over_splits`). `alpha` is the
    level of the test whose power is computed; the interval always has 95%.

    Raises:
        ValueError: for fewer than two splits, or different numbers of them.
    """
    one, two = (np.asarray(scores, dtype=np.float64) for scores in (first, second))
    if one.shape != two.shape or len(one) < 2:
        raise ValueError(f"a paired comparison needs the same 2 or more splits of both, got {len(one)} and {len(two)}")
    differences = one - two
    found = mean_over_splits(differences, ratio, held_out)
    j, mean = found.splits, found.mean
    won = float(np.mean([np.mean(of_split) > 0 for of_split in by_split(differences, held_out)]))
    if j < MIN_SPLITS or found.variance < NO_SPREAD**2:
        nan = math.nan
        return Paired(j, found.repeats, mean, nan, nan, nan, won, nan, nan, nan, nan)
    error = found.error()
    half = float(stdtrit(j - 1, 0.975)) * error
    return Paired(
        n=j,
        repeats=found.repeats,
        difference=mean,
        low=max(-2.0, mean - half),
        high=min(2.0, mean + half),
        p=float(2 * stdtr(j - 1, -abs(mean) / error)),
        won=won,
        detectable=detectable(found, j, alpha),
        p_gain=float(stdtr(j - 1, (mean - SMALLEST_EFFECT) / error)),
        p_loss=float(stdtr(j - 1, (-mean - SMALLEST_EFFECT) / error)),
        splits_required=splits_required(SMALLEST_EFFECT, found, alpha),
    )


def detectable(spread: Mean, splits: int, alpha: float = ALPHA) -> float:
    """The smallest true difference that the corrected t test at `alpha` finds with a power of 80% on some splits.

    `spread` is that of the differences, of as many repetitions.
    """
    quantiles = stdtrit(splits - 1, [1 - alpha / 2, POWER])
    return float(quantiles.sum()) * spread.error(splits)


def splits_required(difference: float, spread: Mean, alpha: float = ALPHA) -> float:
    """The number of splits with which a true difference is found; infinite where no number is enough.

    Splits of the same references overlap: with any number of them, their mean keeps an error of
    `sqrt(ratio * spread.variance)`.
    """
    if detectable(spread, MAX_SPLITS, alpha) > difference:
        return math.inf
    return float(bisect.bisect_left(range(2, MAX_SPLITS), -difference, key=lambda j: -detectable(spread, j, alpha)) + 2)


def holm(p: Sequence[float], family: int = 0) -> list[float]:
    """P values adjusted for the number of comparisons by Holm's method, in the given order.

    `family` is the number of comparisons where more were specified than `p` holds; missing ones, and NaN, count as 1.
    """
    size = max(family, len(p))
    adjusted = np.full(len(p), np.nan)
    highest = 0.0
    for rank, position in enumerate(np.argsort(p)):  # NaN last
        if not math.isnan(p[position]):
            highest = max(highest, min(1.0, (size - rank) * p[position]))
            adjusted[position] = highest
    return [float(value) for value in adjusted]


def comparisons(frame: pd.DataFrame, metric: str = "srocc") -> pd.DataFrame:
    """All pairs of variants, with Holm over all: first, second, and the fields of `Paired` with p_holm.

    `frame` has the columns variant, split, references_train, references_held_out and the metric; signature and device
    where they are known (`_compared`).
    """
    variants = list(frame["variant"].drop_duplicates())
    every = [Contrast(*pair, "", metric) for pair in itertools.combinations(variants, 2)]
    return _compared(frame, every, ALPHA).drop(columns="question", errors="ignore")


def contrasts(frame: pd.DataFrame, named: Sequence[Contrast]) -> pd.DataFrame:
    """The pre-specified comparisons, each by its measure, with Holm over all of them; question, and as `comparisons`.

    The family is all of `named`, also those that have not been run: a part of a study adjusts as the whole study does.
    p_gain and p_loss are adjusted too, p_gain_holm and p_loss_holm. Powers are those of tests at 0.05 over the number
    of contrasts, which is what Holm asks of the first of them.
    """
    table = _compared(frame, named, ALPHA / max(1, len(named)), len(named))
    one_sided = {f"{name}_holm": holm(table[name].tolist(), len(named)) for name in ("p_gain", "p_loss") if len(table)}
    return table.assign(**one_sided)


def repeated(frame: pd.DataFrame, splits: Iterable[int]) -> list[Any] | None:
    """What some splits hold out, for `paired`; None where a frame has no column "held_out"."""
    if "held_out" not in frame:
        return None
    parts = frame.drop_duplicates("split").set_index("split")["held_out"]
    return [parts[split] or split for split in splits]


def _compared(frame: pd.DataFrame, requested: Sequence[Contrast], alpha: float, family: int = 0) -> pd.DataFrame:
    """Pairs of variants with two splits or more on which both have the measure.

    `same` says that both are the same trainings, by their signatures, and `devices` names the devices, and how they
    computed, where a split's two trainings differ in that.
    """
    wide = {
        name: frame.pivot(index="split", columns="variant", values=name)
        for name in {"signature", "device", *(one.measure for one in requested)}
        if name in frame
    }
    ratio = float((frame["references_held_out"] / frame["references_train"]).mean())
    rows = []
    for one in requested:
        if one.measure not in wide:
            continue
        pair = [one.first, one.second]
        both = wide[one.measure].reindex(columns=pair).dropna()
        if len(both) > 1:
            names = {"question": one.question, "first": one.first, "second": one.second, "metric": one.measure}
            found = vars(paired(both[one.first], both[one.second], ratio, alpha, repeated(frame, both.index)))
            signatures, devices = (
                wide[name].loc[both.index, pair] if name in wide else None for name in ("signature", "device")
            )
            same = signatures is not None and bool((signatures[one.first] == signatures[one.second]).all())
            mixed = devices is not None and bool((devices[one.first] != devices[one.second]).any())
            text = ", ".join(sorted(set(devices.to_numpy().ravel()))) if devices is not None and mixed else ""
            rows.append(names | found | {"same": same, "devices": text})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].tolist(), family)) if len(table) else table
