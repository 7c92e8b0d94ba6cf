"""How many labels of the baseline a method is worth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.equivalent_labels import equivalent, table, text

RATIO = 0.25


def curve(splits=10, spread=0.0, seed=0):
    """A baseline that gains .1 from each doubling of 10 labels, with an effect of the split."""
    random = np.random.default_rng(seed)
    effect = random.normal(0, 0.03, splits)
    return pd.DataFrame(
        {n: 0.5 + 0.1 * math.log2(n / 10) + effect + random.normal(0, spread, splits) for n in (10, 20, 40, 80)}
    )


def test_a_curve_that_is_known_is_read_backwards_and_the_effect_of_splits_cancels():
    baseline = curve(spread=0.001)
    found = equivalent(baseline[10] + 0.15, baseline, RATIO)
    assert found.labels == pytest.approx(10 * 2**1.5, rel=0.05)
    assert found.low < found.labels < found.high
    assert found.high / found.low < 1.1


def test_more_spread_widens_the_interval_and_two_splits_have_none():
    narrow, wide = (equivalent(curve(spread=s)[10] + 0.15, curve(spread=s), RATIO) for s in (0.005, 0.02))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert all(math.isnan(end) for end in equivalent(curve(2)[20], curve(2), RATIO)[1:])


def test_ends_beyond_the_numbers_that_were_tried_are_open():
    baseline = curve(spread=0.005)
    assert equivalent(baseline[80] + 0.2, baseline, RATIO) == (math.inf, math.inf, math.inf)
    assert equivalent(baseline[10] - 0.2, baseline, RATIO) == (0, 0, 0)
    near = equivalent(baseline[80], curve(spread=0.005, seed=1).set_axis(baseline.columns, axis=1), 1.0)
    assert math.isinf(near.high) and near.low < 80


def test_the_interval_covers_the_true_number_about_as_often_as_it_says():
    random, hits = np.random.default_rng(1), 0
    for seed in range(200):
        baseline = curve(spread=0.03, seed=seed)
        found = equivalent(pd.Series(0.65 + random.normal(0, 0.03, 10)), baseline, 0.0)
        hits += found.low <= 10 * 2**1.5 <= found.high
    assert 0.9 <= hits / 200 <= 0.995


def test_the_table_has_a_row_for_each_variant_of_another_method():
    numbers = {"base, 10 labelled": 10, "base, all labelled": None, "ranking, 10 labelled": 10}
    methods = {name: name.partition(",")[0] for name in numbers}
    rows = [
        (name, split, 0.5 + 0.2 * (n is None) + 0.1 * name.startswith("r") + 0.001 * split * (split % 2 or -1))
        for name, n in numbers.items()
        for split in range(4)
    ]
    splits = pd.DataFrame(rows, columns=["variant", "split", "srocc"])
    splits["srocc"] += np.random.default_rng(0).normal(0, 1e-3, len(splits))
    splits = splits.assign(references_held_out=4, references_train=16)
    found = table(splits, numbers, methods, 40.0, "base")
    assert found[["method", "labelled", "n"]].to_numpy().tolist() == [["ranking", 10.0, 4]]
    row = found.iloc[0]
    assert row["equivalent"] == pytest.approx(20, rel=0.1)
    assert text(row, 10, 40).startswith(f"{row['equivalent']:.0f} [")
    assert table(splits, {"base, all labelled": None, "ranking, 10 labelled": 10}, methods, 40.0, "base").empty


def test_open_ends_are_named():
    row = pd.Series({"equivalent": math.inf, "low": 61.2, "high": math.inf})
    assert text(row, 10, 200) == "more than 200 [61, more than 200]"
    assert text(pd.Series({"equivalent": 0.0, "low": math.nan, "high": math.nan}), 10, 200) == "fewer than 10"
