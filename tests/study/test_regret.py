from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gada_ray import SMOKE, LogUniform, gada, with_values
from gada_ray.study.definition import StudyError
from gada_ray.study.racing import Racing
from gada_ray.study.regret import grid, read_searches, replay_searches

SPACE = {f"rates.{part}": LogUniform(1e-5, 5e-3) for part in ("discriminator", "generator", "classifier", "evaluator")}


@pytest.mark.slow
def test_a_search_on_recorded_scores_costs_what_its_generation_costs():
    frame = pd.read_csv(Path(__file__).parents[1] / "golden" / "rates_live20.csv")
    base = with_values(gada(1, 1, 1), SMOKE)
    found = {
        generation: replay_searches(frame, base, SPACE, 16, generation, Racing(), seeds=3) for generation in (4, 16)
    }
    for replayed in found.values():
        assert 0.4 <= replayed.trainings <= 1.0
        assert len(replayed.regret) == 3 and (replayed.regret >= 0).all()
    assert found[16].regret.mean() < 0.05
    again = replay_searches(frame, base, SPACE, 16, 4, Racing(), seeds=3)
    assert (again.regret == found[4].regret).all() and again.trainings == found[4].trainings


def recorded(variants=("a",), candidates=3, splits=5) -> pd.DataFrame:
    """A table of a study's searches."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"configuration": f"{variant} #{number}", "stage": "search", "split": split, "srocc": random.random()}
            for variant in variants
            for number in range(candidates)
            for split in range(splits)
        ]
    )


def test_a_table_of_several_searched_variants_is_read_variant_by_variant(tmp_path):
    frame = recorded(("32 px", "64 px"))
    test = frame[:5].assign(configuration="32 px", stage="test")
    pd.concat([frame, test]).to_csv(tmp_path / "t.csv", index=False)
    found = read_searches(tmp_path / "t.csv", Racing())
    assert list(found) == ["32 px", "64 px"]
    assert [grid(one).shape for one in found.values()] == [(3, 5), (3, 5)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda frame: frame.drop(index=[9, 14]),
            "variant 'a' has no score of 2 of 3 configurations on some of 5 splits",
        ),
        (lambda frame: frame.assign(srocc=frame["srocc"].where(frame.index != 3)), "no score of 1 of 3"),
        (lambda frame: pd.concat([frame, frame[:1]]), "variant 'a' has a configuration twice on a split"),
        (lambda frame: frame[:5], "variant 'a' has 1 configurations on 5 splits; a replay needs at least 2"),
        (lambda frame: frame.assign(stage="test"), "has no candidates of a search"),
        (lambda frame: frame.drop(columns="srocc"), "is not a table with the columns configuration, split and srocc"),
        (lambda frame: frame.assign(srocc="high"), "is not a table with the columns"),
    ],
)
def test_a_table_that_cannot_be_replayed_is_refused_with_the_reason(tmp_path, damage, words):
    damage(recorded()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(StudyError, match=re.escape(words)):
        read_searches(tmp_path / "t.csv", Racing())
