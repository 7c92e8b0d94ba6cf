from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics import comparisons, contrasts, detectable, holm, paired, splits_for
from gada_ray.study.contrasts import Contrast


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
@pytest.mark.slow
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


@pytest.mark.parametrize("sd", [0.004, 0.01, 0.03])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 4])
def test_without_overlap_the_splits_that_are_needed_are_those_of_statsmodels(sd, alpha):
    theirs = TTestPower().solve_power(0.01 / sd, None, alpha, 0.8)
    assert splits_for(0.01, sd, 0.0, alpha) == pytest.approx(math.ceil(theirs), abs=1)


def test_the_splits_that_are_needed_are_the_fewest_that_do_and_none_does_where_overlap_alone_is_too_much():
    needed = int(splits_for(0.01, 0.006, 0.25))
    assert detectable(0.006, needed, 0.25) <= 0.01 < detectable(0.006, needed - 1, 0.25)
    limit = 0.01 / (stats.norm.ppf([0.975, 0.8]).sum() * math.sqrt(0.25))
    assert splits_for(0.01, 1.01 * limit, 0.25) == math.inf
    assert splits_for(0.01, 0.0, 0.25) == 2


@pytest.mark.parametrize("true", [0.0, 0.01])
def test_a_difference_of_that_size_is_found_as_often_as_the_power_says(true):
    """Without overlap, at the number of splits that is said to do."""
    random, sd = np.random.default_rng(3), 0.012
    needed = int(splits_for(0.01, sd, 0.0))
    found = [paired(true + random.normal(0, sd, needed), np.zeros(needed), 0.0).p < 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8 if true else 0.05, abs=0.04)


def test_that_a_variant_is_not_worth_it_is_the_one_sided_t_of_scipy_and_agrees_with_the_interval():
    random = np.random.default_rng(4)
    for middle in np.linspace(-0.02, 0.02, 9):
        differences = middle + random.normal(0, 0.01, 12)
        ours = paired(differences, np.zeros(12), 0.0)
        assert ours.p_worth == pytest.approx(stats.ttest_1samp(differences, 0.01, alternative="less").pvalue)
        corrected = paired(differences, np.zeros(12), 0.25)
        assert (corrected.p_worth < 0.025) == (corrected.high < 0.01)


def test_contrasts_have_holm_over_themselves_their_own_direction_and_the_power_that_this_leaves():
    random = np.random.default_rng(5)
    rows = [(variant, split, random.random()) for variant in "abcd" for split in range(6)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(references_train=16, references_held_out=4)
    named = (Contrast("c", "a", "c?"), Contrast("b", "d", "b?"))
    table = contrasts(frame, named)
    assert list(table["question"]) == ["c?", "b?"]
    assert list(table["p_holm"]) == pytest.approx(multipletests(table["p"], method="holm")[1])
    assert list(table["p_worth_holm"]) == pytest.approx(multipletests(table["p_worth"], method="holm")[1])
    explored = comparisons(frame).set_index(["first", "second"])
    assert table["difference"][0] == pytest.approx(-explored["difference"]["a", "c"])
    assert (table["detectable"].to_numpy() > explored["detectable"][[("a", "c"), ("b", "d")]].to_numpy()).all()
    alone = contrasts(frame, named[:1])
    assert alone["detectable"][0] == pytest.approx(explored["detectable"]["a", "c"])
    assert contrasts(frame[frame["variant"] != "c"], named[:1]).empty


def test_holm_agrees_with_statsmodels():
    random = np.random.default_rng(0)
    for size in (1, 2, 6, 15):
        p = random.random(size) ** 3
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_multiplies_by_the_number_of_hypotheses_left_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_comparisons_pair_by_split_and_leave_out_splits_that_one_variant_lacks():
    rows = [("a", 0, 0.9), ("a", 1, 0.8), ("a", 2, 0.7), ("b", 1, 0.7), ("b", 0, 0.85)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(references_train=16, references_held_out=4)
    table = comparisons(frame)
    assert list(table.loc[0, ["first", "second", "n"]]) == ["a", "b", 2]
    assert table.loc[0, "difference"] == pytest.approx(0.075)
    assert table.loc[0, "won"] == 1


@pytest.mark.parametrize("bad", [([0.1], [0.2]), ([0.1, 0.2], [0.1])])
def test_a_comparison_needs_two_splits_that_both_have(bad):
    with pytest.raises(ValueError, match="two or more splits"):
        paired(bad[0], bad[1], 0.25)


def test_equal_variants_differ_by_nothing():
    outcome = paired([0.5, 0.6], [0.5, 0.6], 0.25)
    assert (outcome.difference, outcome.p, outcome.won) == (0, 1, 0)
