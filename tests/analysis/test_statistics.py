from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics import comparisons, holm, paired


def test_with_disjoint_tests_of_no_weight_it_is_the_ordinary_paired_t():
    random = np.random.default_rng(0)
    first, second = random.random(10), random.random(10)
    ours, theirs = paired(first, second, 0.0), stats.ttest_rel(first, second)
    assert ours.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_the_correction_widens_the_interval_by_the_overlap():
    first, second = [0.9, 0.8, 0.85, 0.95], [0.88, 0.81, 0.8, 0.9]
    plain, corrected = paired(first, second, 0.0), paired(first, second, 6 / 23)
    assert (corrected.high - corrected.low) / (plain.high - plain.low) == pytest.approx(math.sqrt(1 + 4 * 6 / 23))


@pytest.mark.parametrize("splits", [5, 10, 30])
def test_overlapping_splits_without_difference_are_rarely_called_different_and_a_plain_t_does_it_often(splits):
    """29 references, 6 in the test: an effect of each reference on the difference, of mean 0."""
    random = np.random.default_rng(1)
    wrong, plain, covered, studies = 0, 0, 0, 1500
    for _ in range(studies):
        effect = random.normal(0, 1, 29)
        tests = [random.permutation(29)[:6] for _ in range(splits)]
        difference = np.array([effect[test].mean() for test in tests])
        outcome = paired(difference, np.zeros(splits), 6 / 23)
        wrong += outcome.p < 0.05
        plain += stats.ttest_1samp(difference, 0.0).pvalue < 0.05
        covered += outcome.low <= 0 <= outcome.high
    assert wrong / studies <= 0.06
    assert plain / studies > 0.1
    assert 0.93 <= covered / studies <= 0.97


def test_without_overlap_interval_and_p_are_those_of_statsmodels():
    random = np.random.default_rng(0)
    first, second = random.random(10), random.random(10)
    ours, theirs = paired(first, second, 0.0), DescrStatsW(first - second)
    assert ours.p == pytest.approx(theirs.ttest_mean(0.0)[1])
    assert (ours.low, ours.high) == pytest.approx(theirs.tconfint_mean(0.05))


@pytest.mark.parametrize("splits", [5, 10, 30])
def test_the_smallest_visible_difference_is_found_with_the_power_that_statsmodels_reckons(splits):
    difference = np.random.default_rng(splits).normal(0, 0.02, splits)
    visible = paired(difference, np.zeros(splits), 0.0).detectable
    power = TTestPower().power(visible / difference.std(ddof=1), splits, 0.05)
    assert power == pytest.approx(0.8, abs=0.03)


def test_holm_agrees_with_statsmodels():
    random = np.random.default_rng(0)
    for size in (1, 2, 6, 15):
        p = random.random(size) ** 3
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_multiplies_by_the_number_of_hypotheses_left_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_comparisons_pair_by_split_and_leave_out_splits_that_one_level_lacks():
    rows = [("a", 0, 0.9), ("a", 1, 0.8), ("a", 2, 0.7), ("b", 1, 0.7), ("b", 0, 0.85)]
    frame = pd.DataFrame(rows, columns=["level", "split", "srocc"]).assign(references_train=16, references_held_out=4)
    table = comparisons(frame)
    assert list(table.loc[0, ["first", "second", "n"]]) == ["a", "b", 2]
    assert table.loc[0, "difference"] == pytest.approx(0.075)
    assert table.loc[0, "won"] == 1


@pytest.mark.parametrize("bad", [([0.1], [0.2]), ([0.1, 0.2], [0.1])])
def test_a_comparison_needs_two_splits_that_both_have(bad):
    with pytest.raises(ValueError, match="two or more splits"):
        paired(bad[0], bad[1], 0.25)


def test_equal_levels_differ_by_nothing():
    outcome = paired([0.5, 0.6], [0.5, 0.6], 0.25)
    assert (outcome.difference, outcome.p, outcome.won) == (0, 1, 0)
