"""What is read from the files of runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pandas as pd

from analysis import load


def test_a_class_that_is_a_number_keeps_its_leading_zero(tmp_path, monkeypatch) -> None:
    row = {"image": "7", "reference": "001", "distortion": "01", "target": 0.5, "prediction": 0.4}
    file = tmp_path / "predictions.csv"
    pd.DataFrame([row]).to_csv(file, index=False)
    monkeypatch.setattr(load, "_file", lambda *given, **named: file)
    splits = pd.DataFrame({"run_id": ["a"], "variant": ["baseline"], "split": [0]})
    runs = cast("load.Runs", SimpleNamespace(splits=splits, client=None, progress=load.silent))
    found = load.Runs.predictions(runs)
    assert found.iloc[0].to_dict() == {"variant": "baseline", "split": 0} | row
