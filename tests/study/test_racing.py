from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gada_ray.study.racing import Racing, clearly_worse, losers, replay, simulate


def table(configurations: int = 40, splits: int = 10, noise: float = 0.008, seed: int = 0) -> np.ndarray:
    """Scores with a spread between configurations, one between splits, and noise."""
    random = np.random.default_rng(seed)
    quality = 0.9 - 0.05 * random.exponential(size=(configurations, 1))
    return quality + random.normal(0, 0.02, (1, splits)) + random.normal(0, noise, (configurations, splits))


def test_no_decision_is_taken_before_four_splits_whatever_the_difference():
    assert not clearly_worse([0.1, 0.1, 0.1], [0.9, 0.9, 0.9], Racing())
    assert clearly_worse([0.1, 0.2, 0.1, 0.15], [0.9, 0.8, 0.7, 0.85], Racing())


def test_a_configuration_with_the_higher_mean_is_never_clearly_worse():
    best = [0.80, 0.80, 0.80, 0.80, 0.10, 0.80]
    mine = [0.79, 0.78, 0.77, 0.76, 0.90, 0.75]
    assert np.mean(mine) > np.mean(best)
    assert not clearly_worse(mine, best, Racing(p=0.9))


def test_equal_scores_are_not_clearly_worse():
    assert not clearly_worse([0.5] * 6, [0.5] * 6, Racing())


def test_ties_with_the_best_are_dealt_with():
    assert clearly_worse([0.5, 0.4, 0.4, 0.3, 0.35, 0.2, 0.3], [0.5, 0.5, 0.6, 0.55, 0.5, 0.6, 0.52], Racing())


def test_the_comparison_is_paired_so_hard_splits_harm_nobody():
    easy_and_hard = np.array([0.9, 0.3, 0.8, 0.2, 0.95, 0.25])
    assert clearly_worse((easy_and_hard - 0.01).tolist(), easy_and_hard.tolist(), Racing())


def test_losers_are_compared_on_the_splits_that_both_have_seen():
    complete = {0: [0.8, 0.8, 0.8, 0.8, 0.0, 0.0]}
    assert losers({1: [0.7, 0.71, 0.72, 0.7], 2: [0.81, 0.79, 0.8, 0.82]}, complete, Racing()) == {1}


def test_the_best_of_a_generation_without_incumbent_stays():
    running = {0: [0.5, 0.5, 0.5, 0.5], 1: [0.6, 0.61, 0.6, 0.62]}
    assert losers(running, {}, Racing()) == {0}


def test_blocks_cover_every_split_once():
    for splits in range(1, 15):
        blocks = Racing().blocks(splits)
        assert [position for block in blocks for position in block] == list(range(splits))
    assert Racing().blocks(10)[0] == range(4)


@pytest.mark.parametrize("broken", [{"first": 3}, {"block": 0}, {"p": 0.0}, {"p": 1.0}])
def test_thresholds_that_cannot_work_are_refused(broken):
    with pytest.raises(ValueError, match="racing needs"):
        Racing(**broken)


def test_without_racing_everything_is_trained_and_the_best_is_chosen():
    scores = table()
    outcome = replay(scores, 4, None)
    assert outcome.trainings == scores.size
    assert outcome.chosen == scores.mean(axis=1).argmax()
    assert not outcome.pruned


@pytest.mark.slow
def test_racing_saves_a_third_at_little_regret_on_a_plausible_table():
    outcome = simulate(table(), 4, Racing(), orders=100)
    assert outcome.trainings.mean() < 2 / 3
    assert outcome.regret.mean() < 1e-3
    assert outcome.best_pruned < 0.2


def test_the_same_seed_replays_the_same_orders():
    first, second = (simulate(table(), 4, Racing(), orders=10, seed=3) for _ in range(2))
    assert (first.trainings == second.trainings).all() and (first.regret == second.regret).all()


def test_racing_on_pure_noise_chooses_among_complete_configurations():
    outcome = replay(np.random.default_rng(0).random((12, 10)), 4, Racing())
    assert outcome.chosen not in outcome.pruned


@pytest.mark.slow
def test_on_recorded_scores_of_a_real_search_racing_saves_a_third_within_the_regret_of_chance():
    """16 configurations of learning_rates on 10 splits of live20 (validation SROCC), recorded with --no-racing."""
    frame = pd.read_csv(Path(__file__).parents[1] / "golden" / "rates_live20.csv")
    scores = frame.pivot(index="configuration", columns="split", values="srocc").to_numpy()
    outcome = simulate(scores, 4, Racing(), orders=200)
    assert outcome.trainings.mean() < 2 / 3
    assert outcome.regret.mean() < 0.005
