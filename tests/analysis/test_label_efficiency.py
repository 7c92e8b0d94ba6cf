"""Label efficiency: variants of one method on one line, differences paired by split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import label_efficiency
from analysis.statistics import paired

NUMBERS = {
    "base, 5 labelled": 5,
    "GADA, 5 labelled": 5,
    "base, all labelled": None,
    "GADA, all labelled": None,
    "GADA, 20 labelled": 20,
}


@pytest.fixture
def splits():
    random = np.random.default_rng(0)
    rows = [(variant, split, random.uniform(0.7, 0.9)) for variant in NUMBERS for split in range(4)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"])
    return frame.assign(references_held_out=4, references_train=16, images="438")


def test_variants_are_methods_with_numbers_and_differ_from_the_variant_with_as_many(splits):
    table = label_efficiency.by_method(splits, NUMBERS, 350.0, "base").set_index(["method", "labelled"])
    assert list(table.index) == [("base", 5), ("GADA", 5), ("base", 350), ("GADA", 350), ("GADA", 20)]
    scores = splits.pivot(index="split", columns="variant", values="srocc")
    for number, name in ((5, "5 labelled"), (350, "all labelled")):
        wanted = paired(scores[f"GADA, {name}"], scores[f"base, {name}"], 0.25)
        row: Any = table.loc[("GADA", number)]
        assert row["mean"] == pytest.approx(scores[f"GADA, {name}"].mean())
        found = row[["difference", "difference_low", "difference_high"]]
        assert list(found) == pytest.approx([wanted.difference, wanted.low, wanted.high])
    assert table["difference"].isna().to_list() == [True, False, True, False, True]
    assert (table["low"] < table["mean"]).all() and (table["n"] == 4).all()


def test_the_figure_has_a_line_a_method_and_names_all_images(splits):
    figure = label_efficiency.draw(label_efficiency.by_method(splits, NUMBERS, 350.0, "base"), 350.0)
    left, right = figure.axes  # above and below
    assert [text.get_text() for text in left.get_xticklabels()] == ["5", "20", "all, 350"]
    assert left.get_legend_handles_labels()[1] == ["base", "GADA"]
    assert right.get_legend_handles_labels()[1] == ["GADA"]


def test_a_single_split_has_no_interval(splits):
    table = label_efficiency.by_method(splits[splits["split"] == 0], NUMBERS, 350.0, "base")
    assert table[["low", "high", "difference"]].isna().all(axis=None)
    assert label_efficiency.draw(table, 350.0).axes
