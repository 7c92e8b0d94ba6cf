"""Which images have scores where few do: fewer among more, and every class among them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gada_ray import DataConfig
from gada_ray.data import DataError
from gada_ray.data.labelled import labelled_rows
from tests.toy import toy_dataset

TRAIN = ("ref0", "ref2", "ref3", "ref5")
WAYS = ("reference", "random")


@pytest.fixture(scope="module")
def dataset():
    """Six references, three classes, five images of each."""
    return toy_dataset(per_kind=5)


def rows(dataset, number, by="reference", seed=0, split=0):
    return labelled_rows(dataset, TRAIN, DataConfig(labelled_images=number, labelled_by=by), seed, split)


@pytest.mark.parametrize("by", WAYS)
def test_a_smaller_set_of_labelled_images_is_part_of_a_larger_one_and_of_the_training_part(dataset, by):
    everything = set(dataset.rows_of(TRAIN))
    before: set[int] = set()
    for number in range(1, len(everything) + 1):
        now = rows(dataset, number, by)
        assert len(set(now)) == number and list(now) == sorted(now)
        assert before < set(now) <= everything
        before = set(now)
    assert (rows(dataset, len(everything), by) == rows(dataset, None, by)).all()
    assert (rows(dataset, None, by) == dataset.rows_of(TRAIN)).all()


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_labelled_as_far_as_the_number_allows(dataset, by, seed):
    for number in range(1, 8):
        assert len(set(dataset.distortion[rows(dataset, number, by, seed)])) == min(number, 3)


def test_a_class_that_the_first_reference_lacks_is_taken_from_another(dataset):
    """References 0 and 2 alone have noise."""
    without = np.isin(dataset.reference, (3, 5)) & (dataset.distortion == 2)
    other = dataclasses.replace(dataset, distortion=np.where(without, 0, dataset.distortion))
    for seed in range(8):
        assert len(set(other.distortion[rows(other, 3, seed=seed)])) == 3


def test_by_reference_all_images_of_one_come_before_the_next_with_classes_in_turn(dataset):
    for seed in range(4):
        for whole in (1, 2, 3):
            assert len(set(dataset.reference[rows(dataset, 15 * whole, seed=seed)])) == whole
        counts = np.bincount(dataset.distortion[rows(dataset, 8, seed=seed)])
        assert counts.max() - counts.min() <= 1
    assert any(len(set(dataset.reference[rows(dataset, 15, "random", seed)])) > 1 for seed in range(4))


def test_the_choice_depends_on_seed_and_split_alone(dataset):
    first = rows(dataset, 7)
    assert (first == rows(toy_dataset(per_kind=5), 7)).all()
    assert any((first != rows(dataset, 7, seed=seed)).any() for seed in (1, 2, 3))
    assert any((first != rows(dataset, 7, split=split)).any() for split in (1, 2, 3))
    shuffled = labelled_rows(dataset, TRAIN[::-1], DataConfig(labelled_images=7), 0, 0)
    assert (first == shuffled).all()


def test_more_labelled_images_than_a_training_part_has_are_refused_with_its_number(dataset):
    with pytest.raises(DataError, match=r"data\.labelled_images is 61, but a training part of toy has 60 images; ask"):
        rows(dataset, 61)
