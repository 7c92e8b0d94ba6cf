"""The search in a report, from frames made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import search, tables


def configurations(count, splits=4, pruned=()):
    """Candidates of one variant and its test; those pruned have half the splits."""
    n = [splits // 2 if number in pruned else splits for number in range(count)]
    frame = pd.DataFrame(
        {"key": [f"k{number}" for number in range(count)], "number": range(count), "n": n, "planned": n}
    )
    frame = frame.assign(variant="a", stage="search", status="FINISHED", srocc_mean=0.5, device_hours=0.1 * frame["n"])
    test = {"key": "t", "number": 0, "n": splits, "planned": splits, "variant": "a", "stage": "test"}
    test |= {"status": "FINISHED", "srocc_mean": 0.6, "device_hours": 1.0}
    return pd.concat([frame, pd.DataFrame([test])], ignore_index=True)


def searched(count, splits=4, pruned=()):
    """Candidates, and scores that one of their two values decides, on splits of very different difficulty."""
    random = np.random.default_rng(0)
    rates, others = 10 ** random.uniform(-5, -2, count), random.uniform(0, 1, count)
    configs = {f"k{i}": {"rates.generator": rates[i], "losses.l1_weight": others[i], "fixed": 1} for i in range(count)}
    table = search.candidates(configurations(count, splits, pruned), configs)
    rows = [
        (f"k{i}", split, -abs(np.log10(rates[i]) + 3.5) / 10 + 0.2 * split + random.normal(0, 0.005))
        for i in range(count)
        for split in range(splits // 2 if i in pruned else splits)
    ]
    return table, pd.DataFrame(rows, columns=["key", "split", "srocc"])


def test_candidates_show_what_differs_and_which_were_pruned():
    table, _ = searched(6, pruned=(2, 5))
    assert set(search.searched(table)) == {"rates.generator", "losses.l1_weight"}
    assert table.loc[table["pruned"], "number"].tolist() == [2, 5]
    assert table.loc[table["complete"], "number"].tolist() == [0, 1, 3, 4]


def test_the_time_saved_by_racing_is_estimated_from_the_splits_that_were_not_trained():
    cost = tables.cost(configurations(6, splits=4, pruned=(2, 5))).iloc[0]
    assert (cost["candidates"], cost["pruned"]) == (6, 2)
    assert cost["saved"] == pytest.approx(2 * 2 * 0.1)
    assert (cost["test"], cost["search"]) == pytest.approx((1.0, 4 * 0.4 + 2 * 0.2))


def test_importance_finds_the_decisive_value_although_pruned_candidates_have_other_splits():
    table, scores = searched(40, pruned=tuple(range(0, 40, 3)))
    found = search.importances(table, scores)
    decides = found[found["parameter"] == "rates.generator"]
    assert set(decides["method"]) == {"PED-ANOVA", "fANOVA"}
    assert (decides["mean"] > 0.8).all()
    assert (decides["low"] <= decides["mean"]).all() and (decides["mean"] <= decides["high"]).all()
    assert found.groupby("method")["mean"].sum().tolist() == pytest.approx([1, 1])


def test_importance_is_not_computed_from_too_few_candidates():
    assert search.importances(*searched(search.MIN_CANDIDATES - 1)).empty


def test_a_scale_is_logarithmic_for_positive_values_over_more_than_a_factor_of_ten():
    assert search.is_logarithmic(pd.Series([1e-4, 1e-2]))
    assert not search.is_logarithmic(pd.Series([0.0, 1.0]))
    assert not search.is_logarithmic(pd.Series([1, 5]))
    assert not search.is_logarithmic(pd.Series(["a", "b"]))
