"""How many labelled images without a method are worth as many as with it: the baseline's curve, read backwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import MIN_SPLITS, paired, repeated

POINTS = 120
"""Numbers of labels, evenly spaced in their logarithm, at which the two methods are compared."""
COLUMNS = ["method", "labelled", "n", "equivalent", "low", "high"]


class Equivalent(NamedTuple):
    """A number of labels and its 95% confidence interval; infinite above the numbers that were tried, 0 below them."""

    labels: float
    low: float
    high: float


def equivalent(
    scores: pd.Series[float], baseline: pd.DataFrame, ratio: float, parts: Mapping[Any, Any] | None = None
) -> Equivalent:
    """The number of labels with which the baseline has the mean score of a method with a fixed number of them.

    Args:
        scores: of the method, by split.
        baseline: its scores, one row a split and one column a number of labels, which are at least two. Between two
            numbers, each split's score is interpolated on the logarithm of the number.
        ratio: test references over training references, as for `statistics.paired`.
        parts: what each split holds out, if some are repetitions.

    The interval holds the numbers at which the paired, corrected test finds no difference. With fewer than `MIN_SPLITS`
    splits in common it is (nan, nan).
    """
    both = baseline.dropna().join(scores.rename("method").dropna(), how="inner")
    known = np.sort(baseline.columns.to_numpy(dtype=np.float64))
    numbers = np.geomspace(known[0], known[-1], POINTS)
    curves = both[list(known)].to_numpy(dtype=np.float64)
    at = np.array([np.interp(np.log(numbers), np.log(known), curve) for curve in curves])  # split x number
    method = both["method"].to_numpy(dtype=np.float64)
    labels = _first_above(numbers, at.mean(axis=0) - method.mean(), below=0.0, beyond=math.inf)
    if len(both) < MIN_SPLITS:
        return Equivalent(labels, math.nan, math.nan)
    held_out = None if parts is None else [parts[split] for split in both.index]
    tests = [paired(method, values, ratio, held_out=held_out) for values in at.T]
    # Differences that are equal on all splits have no interval.
    lows, highs = (
        np.array([test.difference if math.isnan(end) else end for test, end in zip(tests, ends, strict=True)])
        for ends in ([test.low for test in tests], [test.high for test in tests])
    )
    low = _first_above(numbers, -lows, below=0.0, beyond=math.inf)
    high = _first_above(numbers[::-1], highs[::-1], below=math.inf, beyond=0.0)
    return Equivalent(labels, low, high)


def _first_above(numbers: np.ndarray, values: np.ndarray, below: float, beyond: float) -> float:
    """The number at which values first reach 0, interpolated; `below` if the first one has, `beyond` if none does."""
    reached = np.flatnonzero(values >= 0)
    if not len(reached):
        return beyond
    if reached[0] == 0:
        return below
    ends = slice(reached[0] - 1, reached[0] + 1)
    return float(np.exp(np.interp(0.0, values[ends], np.log(numbers[ends]))))


def table(
    splits: pd.DataFrame, numbers: Mapping[str, int | None], methods: Mapping[str, str], everything: float, against: str
) -> pd.DataFrame:
    """`equivalent` of every variant of another method than `against`, one row each, in the columns `COLUMNS`.

    `splits` has variant, split, srocc, references_held_out and references_train; `numbers` and `methods` are the
    labelled images (None: `everything`) and the method by variant. Empty where the baseline has fewer than two numbers.
    """
    ratio = float((splits["references_held_out"] / splits["references_train"]).mean())
    scores = splits.pivot(index="split", columns="variant", values="srocc")
    labelled = {variant: everything if number is None else float(number) for variant, number in numbers.items()}
    baseline = {variant: labelled[variant] for variant in numbers if methods[variant] == against}
    labels = repeated(splits, scores.index)
    parts = None if labels is None else dict(zip(scores.index, labels, strict=True))
    rows = []
    if len(baseline) > 1:
        curve = scores[list(baseline)].rename(columns=baseline)
        for variant in numbers:
            if methods[variant] != against:
                found = equivalent(scores[variant], curve, ratio, parts)
                both = int((scores[variant].notna() & curve.notna().all(axis=1)).sum())
                rows.append([methods[variant], labelled[variant], both, *found])
    return pd.DataFrame(rows, columns=COLUMNS)


def text(row: pd.Series[float], smallest: float, largest: float) -> str:
    """A row of `table` for people: "about 96 [61, more than 200]"."""
    ends = "" if math.isnan(row["low"]) else f" [{_end(row['low'], smallest, largest)}, "
    ends += "" if math.isnan(row["low"]) else f"{_end(row['high'], smallest, largest)}]"
    return f"{_end(row['equivalent'], smallest, largest)}{ends}"


def _end(number: float, smallest: float, largest: float) -> str:
    if math.isinf(number):
        return f"more than {largest:.0f}"
    return f"fewer than {smallest:.0f}" if number < smallest else f"{number:.0f}"
