from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics import comparisons, contrasts, detectable, holm, paired, splits_required
from gada_ray.study.contrasts import Contrast
from gada_ray.study.summary import Mean, interval


def of(sd: float, ratio: float) -> Mean:
    """The spread of differences with a standard deviation over splits without repetitions."""
    return Mean(0.0, 10, 1.0, sd**2, ratio)


def test_without_overlap_it_is_the_ordinary_paired_t_test():
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
def test_on_overlapping_splits_the_corrected_t_keeps_its_level_and_the_plain_t_does_not(splits):
    """29 references, 6 in the test: each reference has an effect of mean 0 on the difference."""
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


@pytest.mark.parametrize("repeats", [2, 3])
def test_repeated_splits_are_compared_by_the_means_of_their_repetitions(repeats):
    random = np.random.default_rng(1)
    differences = random.normal(0.1, 1, (10, repeats))
    held_out = [split for split in range(10) for _ in range(repeats)]
    outcome = paired(differences.ravel(), np.zeros(differences.size), 5 / 19, held_out=held_out)
    alone = paired(differences.mean(axis=1), np.zeros(10), 5 / 19)
    assert astuple(outcome) == pytest.approx(astuple(replace(alone, repeats=repeats)))


def test_without_repetitions_labels_of_splits_change_nothing():
    random = np.random.default_rng(0)
    first, second = random.random(10), random.random(10)
    assert paired(first, second, 0.25, held_out=list("abcdefghij")) == paired(first, second, 0.25)


def test_contrasts_read_repetitions_from_what_splits_hold_out():
    rows = [
        {"variant": variant, "split": split, "srocc": 0.5 + 0.1 * (variant == "b") + random, "held_out": (split % 4,)}
        for variant in "ab"
        for split, random in enumerate(np.random.default_rng(ord(variant)).normal(0, 0.02, 8))
    ]
    frame = pd.DataFrame(rows).assign(references_train=16, references_held_out=4)
    (row,) = contrasts(frame, [Contrast("b", "a", "?")]).to_dict("records")
    assert (row["n"], row["repeats"]) == (4, 2)
    assert "held_out" in frame and row["low"] < row["difference"] < row["high"]
    assert row["won"] == 1


def test_a_split_is_won_by_the_mean_of_its_repetitions():
    first, second = np.array([0.3, 0.9, 0.5, 0.4, 0.7, 0.2]), np.full(6, 0.5)
    assert paired(first, second, 0.25).won == pytest.approx(2 / 6)
    assert paired(first, second, 0.25, held_out=(1, 1, 2, 2, 3, 3)).won == pytest.approx(1 / 3)


def test_without_overlap_interval_and_p_are_those_of_statsmodels():
    random = np.random.default_rng(0)
    first, second = random.random(10), random.random(10)
    ours, theirs = paired(first, second, 0.0), DescrStatsW(first - second)
    assert ours.p == pytest.approx(theirs.ttest_mean(0.0)[1])
    assert (ours.low, ours.high) == pytest.approx(theirs.tconfint_mean(0.05))


@pytest.mark.parametrize("splits", [5, 10, 30])
def test_the_minimum_detectable_difference_has_the_power_that_statsmodels_computes(splits):
    difference = np.random.default_rng(splits).normal(0, 0.02, splits)
    smallest = paired(difference, np.zeros(splits), 0.0).detectable
    power = TTestPower().power(smallest / difference.std(ddof=1), splits, 0.05)
    assert power == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("sd", [0.004, 0.01, 0.03])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 4])
def test_without_overlap_the_splits_required_are_those_of_statsmodels(sd, alpha):
    theirs = TTestPower().solve_power(0.01 / sd, None, alpha, 0.8)
    assert splits_required(0.01, of(sd, 0.0), alpha) == pytest.approx(math.ceil(theirs), abs=1)


def test_the_splits_required_are_the_fewest_and_infinite_where_overlap_alone_is_too_much():
    needed = int(splits_required(0.01, of(0.006, 0.25)))
    assert detectable(of(0.006, 0.25), needed) <= 0.01 < detectable(of(0.006, 0.25), needed - 1)
    limit = 0.01 / (stats.norm.ppf([0.975, 0.8]).sum() * math.sqrt(0.25))
    assert splits_required(0.01, of(1.01 * limit, 0.25)) == math.inf
    assert splits_required(0.01, of(0.0, 0.25)) == 2


@pytest.mark.parametrize("true", [0.0, 0.01])
def test_with_the_splits_required_a_difference_is_found_as_often_as_the_power_says(true):
    """Without overlap."""
    random, sd = np.random.default_rng(3), 0.012
    needed = int(splits_required(0.01, of(sd, 0.0)))
    found = [paired(true + random.normal(0, sd, needed), np.zeros(needed), 0.0).p < 0.05 for _ in range(600)]
    assert np.mean(found) == pytest.approx(0.8 if true else 0.05, abs=0.04)


def test_ruling_out_a_gain_or_a_loss_is_the_one_sided_t_of_scipy_and_agrees_with_the_interval():
    random = np.random.default_rng(4)
    for middle in np.linspace(-0.02, 0.02, 9):
        differences = middle + random.normal(0, 0.01, 12)
        ours = paired(differences, np.zeros(12), 0.0)
        assert ours.p_gain == pytest.approx(stats.ttest_1samp(differences, 0.01, alternative="less").pvalue)
        assert ours.p_loss == pytest.approx(stats.ttest_1samp(differences, -0.01, alternative="greater").pvalue)
        corrected = paired(differences, np.zeros(12), 0.25)
        assert (corrected.p_gain < 0.025) == (corrected.high < 0.01)
        assert (corrected.p_loss < 0.025) == (corrected.low > -0.01)


def test_contrasts_have_their_own_direction_family_and_power():
    random = np.random.default_rng(5)
    rows = [(variant, split, random.random()) for variant in "abcd" for split in range(6)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(references_train=16, references_held_out=4)
    named = (Contrast("c", "a", "c?"), Contrast("b", "d", "b?"))
    table = contrasts(frame, named)
    assert list(table["question"]) == ["c?", "b?"]
    assert list(table["p_holm"]) == pytest.approx(multipletests(table["p"], method="holm")[1])
    for name in ("p_gain", "p_loss"):
        assert list(table[f"{name}_holm"]) == pytest.approx(multipletests(table[name], method="holm")[1])
    every = comparisons(frame).set_index(["first", "second"])
    assert table["difference"][0] == pytest.approx(-every["difference"]["a", "c"])
    assert (table["detectable"].to_numpy() > every["detectable"][[("a", "c"), ("b", "d")]].to_numpy()).all()
    alone = contrasts(frame, named[:1])
    assert alone["detectable"][0] == pytest.approx(every["detectable"]["a", "c"])
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
    with pytest.raises(ValueError, match="the same 2 or more splits"):
        paired(bad[0], bad[1], 0.25)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.5, 0.6], [0.978, 1.078]),  # two splits whose differences happen to be equal
        ([0.5, 0.6], [0.4, 0.58]),  # two splits
        ([0.5, 0.6, 0.7, 0.8], [0.47, 0.57, 0.67, 0.77]),  # no spread
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]),  # no difference
    ],
)
def test_two_splits_or_differences_without_spread_give_neither_interval_nor_p(first, second):
    outcome = paired(first, second, 0.25)
    assert outcome.difference == pytest.approx(np.mean(first) - np.mean(second))
    found = [outcome.low, outcome.high, outcome.p, outcome.detectable, outcome.p_gain, outcome.p_loss]
    assert np.isnan([*found, outcome.splits_required]).all()


def test_holm_counts_comparisons_that_are_missing_or_have_no_p():
    assert holm([0.01, math.nan, 0.02], 4)[::2] == pytest.approx([0.04, 0.06])
    assert math.isnan(holm([0.01, math.nan])[1])


def test_a_part_of_a_study_adjusts_for_all_contrasts_of_the_study():
    random = np.random.default_rng(5)
    rows = [(variant, split, random.random()) for variant in "abc" for split in range(6)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(references_train=16, references_held_out=4)
    named = (Contrast("a", "b", "?"), Contrast("a", "c", "?"), Contrast("c", "b", "?"))
    part = contrasts(frame[frame["variant"] != "c"], named)
    assert len(part) == 1
    assert part["p_holm"][0] == pytest.approx(min(1, 3 * part["p"][0]))
    assert part["p_gain_holm"][0] == pytest.approx(min(1, 3 * part["p_gain"][0]))
    assert part["detectable"][0] == pytest.approx(contrasts(frame, named)["detectable"][0])


def test_equal_signatures_are_the_same_training_and_other_devices_are_named():
    rows = [(v, s, 0.9 + s / 10, f"{'x' if v in 'ab' else v}{s}", "cpu" if v != "c" or s else "NVIDIA H200")
            for v in "abc" for s in range(3)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc", "signature", "device"])
    table = comparisons(frame.assign(references_train=16, references_held_out=4)).set_index(["first", "second"])
    assert table["same"].to_dict() == {("a", "b"): True, ("a", "c"): False, ("b", "c"): False}
    assert table["devices"].to_dict() == {
        ("a", "b"): "",
        ("a", "c"): "NVIDIA H200, cpu",
        ("b", "c"): "NVIDIA H200, cpu",
    }


@pytest.mark.parametrize("mean", [0.95, -0.02])
@pytest.mark.slow
def test_the_interval_of_a_mean_correlation_stays_inside_its_range_and_covers_the_truth(mean):
    """29 references, 6 in the test, 10 splits: each reference has an effect on Fisher's z of a split."""
    random, covered, studies = np.random.default_rng(7), 0, 1500
    centre = math.atanh(mean)
    truth = np.tanh(centre + random.normal(0, 0.9 / math.sqrt(6), 200_000)).mean()
    for _ in range(studies):
        effect = random.normal(0, 0.9, 29)
        scores = np.tanh([centre + effect[random.permutation(29)[:6]].mean() for _ in range(10)])
        low, high = interval(scores, 6 / 23)
        assert -1 < low < scores.mean() < high < 1
        covered += low <= truth <= high
    assert 0.93 <= covered / studies <= 0.97


def test_the_interval_of_a_mean_near_one_is_shorter_above_and_none_without_spread():
    low, high = interval(np.array([0.97, 0.95, 0.96, 0.99]), 0.25)
    assert low > 0.85 and high < 1 and high - 0.9675 < 0.9675 - low
    small = np.array([0.70, 0.702, 0.698, 0.701])
    plain = stats.t.interval(0.95, 3, small.mean(), small.std(ddof=1) * math.sqrt(1 / 4 + 0.25))
    assert interval(small, 0.25) == pytest.approx(plain, abs=1e-4)
    assert np.isnan(interval(np.array([0.5, 0.5]), 0.25)).all()
