from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gada_ray import SMOKE, LogUniform, gada, with_values
from gada_ray.study.racing import Racing
from gada_ray.study.regret import replay_searches

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
