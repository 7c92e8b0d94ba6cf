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


def test_results_from_before_the_spread_was_recorded_have_no_table() -> None:
    assert tables.crop_draws(pd.DataFrame({"level": ["a"]}), {"a": 30}).empty
