"""Tables of a report, from frames alone."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import tables


def test_crops_are_counted_for_the_first_levels_spread() -> None:
    splits = pd.DataFrame({"level": ["a", "a", "b", "b"], "crop_spread": [0.01, 0.01, 0.012, 0.016]})
    frame = tables.crop_draws(splits, {"a": 30, "b": 15})
    assert frame["level"].tolist() == ["a", "b"]
    assert frame["spread"].tolist() == pytest.approx([0.01, 0.0002**0.5])
    assert frame["crops_needed"].tolist() == pytest.approx([30, 30])


def test_a_floor_stands_once_or_once_for_every_level_that_has_another() -> None:
    rows = [(level, split, floor) for split in (0, 1) for level, floor in (("5 rated", 0.1), ("20 rated", 0.2 + split))]
    splits = pd.DataFrame(rows, columns=["level", "split", "floor_srocc"]).assign(
        references_held_out=4, references_train=16, srocc=0.9, lcc=0.9, brisque_srocc=0.95
    )
    floors = tables.scores(splits).query("source == 'floor'").set_index("level")["mean"]
    name = "a distortion's mean score, image unseen (images as in “{}”)"
    wanted = {name.format("5 rated"): 0.1, name.format("20 rated"): 0.7, "BRISQUE": 0.95}
    assert floors.to_dict() == pytest.approx(wanted)
    assert floors.index.tolist() == list(wanted), "in the order of the levels"
    shared = pd.concat([splits, splits[splits["level"] == "5 rated"].assign(level="1st, 5 rated")])
    assert tables.scores(shared).query("source == 'floor'")["level"].iloc[0] == name.format("5 rated")
    same = tables.scores(splits.assign(floor_srocc=0.1)).query("source == 'floor'")
    assert same["level"].tolist() == ["a distortion's mean score, image unseen", "BRISQUE"]


def test_results_from_before_the_spread_was_recorded_have_no_table() -> None:
    assert tables.crop_draws(pd.DataFrame({"level": ["a"]}), {"a": 30}).empty
