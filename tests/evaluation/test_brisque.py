"""BRISQUE's statistics against an independent implementation, and its regression."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from skimage import data

from benchmarks.brisque import of_piq
from gada_ray.data.splits import make_splits
from gada_ray.evaluation import brisque
from tests.toy import toy_dataset

PICTURES = {"astronaut": data.astronaut(), "coffee": data.coffee(), "cat": data.chelsea()[:300, :450]}


def damaged(image: np.ndarray, kind: str) -> np.ndarray:
    if kind == "noise":
        noise = np.random.default_rng(0).normal(0, 20, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)
    if kind == "blur":
        small = Image.fromarray(image).resize((image.shape[1] // 4, image.shape[0] // 4))
        return np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.BICUBIC))
    return image


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kind", ["as it is", "noise", "blur"])
def test_the_statistics_are_those_of_an_independent_implementation(name: str, kind: str) -> None:
    image = damaged(PICTURES[name], kind)
    ours = brisque.features(image, border="constant")  # piq's images go on in black
    theirs = of_piq(image)
    assert ours.shape == (brisque.FEATURES,)
    assert np.allclose(ours[:18], theirs[:18], rtol=2e-3, atol=2e-3)
    assert np.allclose(ours[18:], theirs[18:], rtol=3e-2, atol=2e-2)  # the halves are resized by other code


def test_the_border_matters_little() -> None:
    image = PICTURES["coffee"]
    assert np.allclose(brisque.features(image), brisque.features(image, border="constant"), rtol=0.15, atol=0.03)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_or_tiny_image_has_finite_statistics(value: int) -> None:
    assert np.isfinite(brisque.features(np.full((40, 30, 3), value, np.uint8))).all()
    assert np.isfinite(brisque.features(np.full((1, 2, 3), value, np.uint8))).all()


def test_gaussians_with_equal_and_with_different_sides_have_their_own_shape() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=200_000)
    assert brisque._shape(float(np.abs(x).mean()), float((x**2).mean())) == pytest.approx(2, abs=0.05)
    sides = np.where(random.random(len(x)) < 0.75, 3 * np.abs(x), -np.abs(x))  # as its density is continuous at 0
    shape, mean, left, right = brisque._asymmetric(sides)
    assert shape == pytest.approx(2, abs=0.05)
    assert right / left == pytest.approx(9, rel=0.03)
    assert mean == pytest.approx(sides.mean(), rel=0.02)


@pytest.mark.slow
def test_the_regression_learns_what_is_there_and_never_sees_the_test_part() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(240, 36))
    quality = 0.5 + 0.2 * np.tanh(x[:, 0]) + 0.02 * random.normal(size=240)
    groups = np.repeat(np.arange(24), 10)
    prediction = brisque.predict(x[:200], quality[:200], groups[:200], x[200:])
    assert stats.spearmanr(prediction, quality[200:]).statistic > 0.75
    alone = brisque.predict(x[:200], quality[:200], groups[:200], x[200:205])
    assert np.allclose(alone, prediction[:5])


@pytest.mark.slow
def test_the_floor_of_a_split_is_close_to_the_independent_statistics_with_the_same_regression() -> None:
    dataset = toy_dataset(references=10)
    split = make_splits(dataset.references, 1)[0].for_test()
    statistics = brisque.of_dataset(dataset)
    found = brisque.baseline(dataset, statistics, split.train, split.held_out)
    theirs = np.stack([of_piq(dataset.distorted_image(row)) for row in range(len(dataset))])
    other = brisque.baseline(dataset, theirs, split.train, split.held_out)
    assert found["srocc"] == pytest.approx(other["srocc"], abs=0.1)
    assert found["srocc"] > 0.3


def test_rates_are_chosen_on_whole_references_of_a_bounded_part() -> None:
    groups = np.repeat(np.arange(40), 100)
    some = brisque._some(groups)
    assert len(some) == brisque.MAX_IMAGES and set(np.bincount(groups[some], minlength=40)) == {0, 100}
