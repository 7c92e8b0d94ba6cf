from __future__ import annotations

import numpy as np
import pytest

from benchmarks import search as benchmark
from gada_ray.study.adjustment import adjusted_means


def test_a_candidate_that_was_trained_on_every_split_keeps_its_plain_mean():
    scores = [{0: 0.9, 1: 0.5, 2: 0.7}, {0: 0.8, 1: 0.5, 2: 0.2}, {0: 0.95}]
    assert adjusted_means(scores)[:2] == pytest.approx([0.7, 0.5])


def test_the_difficulty_of_splits_is_taken_out_exactly_where_there_is_no_noise():
    candidates, splits = np.array([0.8, 0.7, 0.85]), np.array([0.1, -0.3, 0.05, 0.15])
    table = candidates[:, None] + splits
    seen = [(0, 1, 2, 3), (0, 3), (2, 1)]
    found = adjusted_means([{s: float(table[c, s]) for s in of} for c, of in enumerate(seen)])
    assert found == pytest.approx(candidates)


def test_neither_the_order_in_which_scores_came_in_nor_that_of_candidates_changes_a_value():
    random = np.random.default_rng(0)
    scores = [{split: float(random.random()) for split in range(4 + 2 * (c % 4))} for c in range(9)]
    shuffled = [dict(sorted(one.items(), reverse=True)) for one in scores]
    assert adjusted_means(shuffled) == adjusted_means(scores)
    assert adjusted_means(scores[::-1]) == adjusted_means(scores)[::-1]


def test_a_candidate_without_scores_has_no_value():
    assert adjusted_means([]) == []
    assert adjusted_means([{}, {}]) == [None, None]
    assert adjusted_means([{}, {3: 0.5}]) == [None, 0.5]


def test_with_splits_of_different_difficulty_adjusted_means_rank_candidates_and_plain_ones_do_not():
    """The simulation of benchmarks/search.py, shortened: splits differ five times as much as candidates."""
    found, _ = benchmark.simulate(100, 10, 10, candidate_sd=0.01, split_sd=0.05, residual_sd=0.01)
    plain, adjusted = found[benchmark.PLAIN], found[benchmark.ADJUSTED]
    assert np.mean(plain.pruned_first) > 0.2 and np.mean(adjusted.pruned_first) < 0.05
    assert np.mean(plain.correlation) < 0.75 and np.mean(adjusted.correlation) > 0.8
    assert np.mean(adjusted.regret) < np.mean(plain.regret) / 2
