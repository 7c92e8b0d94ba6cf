from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gada_ray.evaluation.metrics import agreement, by_distortion, image_blind, logistic


def test_hand_numbers_without_ties_follow_eq_5():
    target, prediction = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 1.0, 4.0, 3.0, 5.0])
    metrics = agreement(target, prediction)
    assert metrics["srocc"] == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert metrics["plcc"] == pytest.approx(0.8)
    assert metrics["rmse"] == pytest.approx(np.sqrt(4 / 5))
    assert metrics["constant"] == 0


def test_ties_get_average_ranks():
    target, prediction = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0, 3.0])
    expected = stats.pearsonr([1.5, 1.5, 3, 4], [1, 2.5, 2.5, 4]).statistic
    assert agreement(target, prediction)["srocc"] == pytest.approx(expected)


def test_random_numbers_agree_with_scipy():
    random = np.random.default_rng(0)
    target, prediction = random.random(80), random.random(80)
    metrics = agreement(target, prediction)
    assert metrics["srocc"] == pytest.approx(stats.spearmanr(target, prediction).statistic)
    assert metrics["krcc"] == pytest.approx(stats.kendalltau(target, prediction).statistic)


def test_values_that_differ_by_their_rounding_alone_count_as_constant_without_a_warning():
    target, prediction = np.array([0.1, 0.5, 0.9, 0.3]), 0.5 + np.array([0.0, 1.0, 0.0, 2.0]) * 1.2e-16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = agreement(target, prediction)
        single = agreement(target, np.array([0.5, 0.5, 0.5, 0.5 + 2**-24], np.float32))
    assert (metrics["srocc"], metrics["constant"]) == (0.0, 1)
    assert single["constant"] == 0  # in float32, one step is a difference


@pytest.mark.parametrize("which", ["prediction", "target"])
def test_constant_values_count_as_no_correlation_without_a_warning(which):
    varied, constant = np.array([0.1, 0.5, 0.9]), np.full(3, 0.4)
    pair = (varied, constant) if which == "prediction" else (constant, varied)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = agreement(*pair)
    assert {metrics[name] for name in ("srocc", "plcc", "krcc", "plcc_fitted")} == {0.0}
    assert metrics["constant"] == 1


def test_a_logistic_relation_is_fitted_to_1():
    prediction = np.linspace(-3, 3, 50)
    target = logistic(prediction, 0.9, 0.1, 0.4, 0.6)
    metrics = agreement(target, prediction)
    assert metrics["plcc"] < 0.99 < metrics["plcc_fitted"]
    assert metrics["plcc_fitted"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e-4])
def test_the_fit_is_safe_on_noise_and_never_below_the_raw_correlation(scale):
    random = np.random.default_rng(1)
    for n in (5, 25, 300):
        target, prediction = random.random(n), scale * random.random(n)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            metrics = agreement(target, prediction)
        assert metrics["plcc"] <= metrics["plcc_fitted"] <= 1 + 1e-12


def test_all_images_are_not_the_mean_of_the_distortions():
    frame = pd.DataFrame(
        {
            "distortion": ["a"] * 3 + ["b"] * 3,
            "target": [0.1, 0.2, 0.3, 0.7, 0.8, 0.9],
            "prediction": [0.3, 0.2, 0.1, 0.9, 0.8, 0.7],
        }
    )
    metrics = by_distortion(frame)
    assert metrics["srocc/a"] == metrics["srocc/b"] == pytest.approx(-1)
    assert metrics["srocc"] > 0.5
    assert not any(name.startswith("plcc_fitted/") for name in metrics)


@pytest.mark.parametrize("bad", [([0.1], [0.2]), ([0.1, 0.2], [0.1]), ([0.1, np.nan], [0.1, 0.2])])
def test_what_has_no_correlation_is_refused(bad):
    with pytest.raises(ValueError, match=r"must be"):
        agreement(np.array(bad[0]), np.array(bad[1]))


def test_the_floor_predicts_the_mean_training_quality_of_a_distortion_and_sees_no_label_held_out():
    rows = [("a", "jpeg", 0.2), ("a", "wn", 0.8), ("b", "jpeg", 0.4), ("b", "wn", 0.6)]
    rows += [("c", "jpeg", 0.5), ("c", "wn", 0.9), ("c", "gblur", 0.1)]
    labels = pd.DataFrame(rows, columns=["reference", "distortion", "quality"])
    floor = image_blind(labels, ["a", "b"], ["c"])
    # gblur was not trained, so it gets the mean of 0.3 and 0.7.
    expected = agreement(np.array([0.5, 0.9, 0.1]), np.array([0.3, 0.7, 0.5]), fit=False)
    assert floor == pytest.approx(expected)
