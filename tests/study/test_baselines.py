from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import studies.phases
from analysis import tables
from gada_ray.data.splits import make_splits
from gada_ray.evaluation import brisque
from gada_ray.study.baselines import brisque_baseline
from gada_ray.study.definition import make_plan
from gada_ray.study.results import BRISQUE, IMAGE_BLIND, write_tables
from tests.toy import toy_dataset


def test_brisque_is_computed_once_for_images_and_splits_and_then_read(tmp_path: Path, monkeypatch) -> None:
    dataset = toy_dataset(references=8)
    splits = make_splits(dataset.references, 2)
    found = brisque_baseline(dataset, splits, tmp_path)
    assert found["split"].tolist() == [0, 1] and found["srocc"].between(-1, 1).all()
    assert {f"{metric}/{name}" for metric in ("srocc", "plcc") for name in dataset.distortions} <= set(found)
    monkeypatch.setattr(brisque, "of_dataset", None)
    monkeypatch.setattr(brisque, "predict", None)
    pd.testing.assert_frame_equal(brisque_baseline(dataset, splits, tmp_path), found)


def test_both_baselines_stand_under_a_studys_table(tmp_path: Path) -> None:
    dataset = toy_dataset(references=8)
    splits = make_splits(dataset.references, 2)
    plan = make_plan("phases", studies.phases.STUDY, "smoke", "demo", {})
    frame = pd.DataFrame({"split": [0, 1], "srocc": [0.6, 0.8], "plcc": [0.5, 0.7]})
    _, table = write_tables(tmp_path, plan, [], dataset, splits, frame)
    assert table["variant"].tolist() == [*(variant.name for variant in plan.variants), IMAGE_BLIND, BRISQUE]
    assert abs(table["srocc_mean"].iloc[-1] - 0.7) < 1e-9 and table["n"].tolist()[-2:] == [2, 2]


def test_both_baselines_stand_in_the_reports_table() -> None:
    columns = {
        "references_train": 4,
        "references_held_out": 1,
        "plcc": 0.5,
        "image_blind_srocc": 0.3,
        "image_blind_plcc": 0.3,
    }
    splits = pd.DataFrame(
        [{"variant": variant, "split": s, "srocc": 0.9, **columns} for variant in "ab" for s in (0, 1)]
    )
    frame = pd.DataFrame({"split": [0, 1], "srocc": [0.6, 0.8], "plcc": [0.5, 0.7]})
    scores = tables.scores(tables.with_baselines(splits, frame))
    found = scores[(scores["source"] == tables.BASELINE) & (scores["metric"] == "srocc")].set_index("variant")["mean"]
    assert found.round(6).to_dict() == {tables.BASELINES["image_blind"]: 0.3, tables.BRISQUE: 0.7}


def test_the_image_blind_baseline_of_one_class_is_left_out(tmp_path: Path) -> None:
    """Its prediction is constant, and was shown as 0.000 ± 0.000."""
    whole = toy_dataset(references=8)
    dataset = replace(whole, distortions=("noise",), distortion=np.zeros_like(whole.distortion))
    plan = make_plan("phases", studies.phases.STUDY, "smoke", "demo", {})
    frame = pd.DataFrame({"split": [0, 1], "srocc": [0.6, 0.8], "plcc": [0.5, 0.7]})
    _, table = write_tables(tmp_path, plan, [], dataset, make_splits(dataset.references, 2), frame)
    assert table["variant"].tolist() == [*(variant.name for variant in plan.variants), BRISQUE]
