"""Tables of a report, from frames alone."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import tables


def test_crops_are_counted_for_the_first_variants_spread() -> None:
    splits = pd.DataFrame({"variant": ["a", "a", "b", "b"], "crop_spread": [0.01, 0.01, 0.012, 0.016]})
    frame = tables.crop_draws(splits, {"a": 30, "b": 15})
    assert frame["variant"].tolist() == ["a", "b"]
    assert frame["spread"].tolist() == pytest.approx([0.01, 0.0002**0.5])
    assert frame["crops_needed"].tolist() == pytest.approx([30, 30])


def test_a_floor_stands_once_or_once_for_every_variant_that_has_another() -> None:
    rows = [
        (variant, split, floor)
        for split in (0, 1)
        for variant, floor in (("5 labelled", 0.1), ("20 labelled", 0.2 + split))
    ]
    splits = pd.DataFrame(rows, columns=["variant", "split", "image_blind_srocc"]).assign(
        references_held_out=4, references_train=16, srocc=0.9, plcc=0.9, brisque_srocc=0.95
    )
    floors = tables.scores(splits).query("source == 'image_blind'").set_index("variant")["mean"]
    name = "a distortion's mean score, image unseen (images as in “{}”)"
    wanted = {name.format("5 labelled"): 0.1, name.format("20 labelled"): 0.7, "BRISQUE": 0.95}
    assert floors.to_dict() == pytest.approx(wanted)
    assert floors.index.tolist() == list(wanted), "in the order of the variants"
    shared = pd.concat([splits, splits[splits["variant"] == "5 labelled"].assign(variant="1st, 5 labelled")])
    assert tables.scores(shared).query("source == 'image_blind'")["variant"].iloc[0] == name.format("5 labelled")
    same = tables.scores(splits.assign(image_blind_srocc=0.1)).query("source == 'image_blind'")
    assert same["variant"].tolist() == ["a distortion's mean score, image unseen", "BRISQUE"]


def test_results_from_before_the_spread_was_recorded_have_no_table() -> None:
    assert tables.crop_draws(pd.DataFrame({"variant": ["a"]}), {"a": 30}).empty
