"""Trainings with few labelled images, and with references and unlabelled photographs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gada_ray import DataConfig
from gada_ray.data.crops import CropSource, Pictures
from gada_ray.data.dataset import Photographs
from gada_ray.data.labelled import labelled_rows
from gada_ray.training.phases import Phase
from gada_ray.trials.run import independent_evaluator, run_trial
from gada_ray.trials.store import Store
from tests.toy import tiny, toy_dataset, toy_fold, toy_trial

FEW = {"data.labelled_images": 5}
WITHHELD = {**FEW, "phases.augmentation.generated_from": "training"}
PRISTINE = {**WITHHELD, "data.pristine_fraction": 0.5, "data.pristine_from": "training"}
NUMBERS = ("predictions.csv", "curves.csv", "patches.npz", "weights.pt")


def photographs(count=4, seed=1):
    random = np.random.default_rng(seed)
    shapes = np.array([(40 + 8 * n, 56) for n in range(count)], dtype=np.int64)
    pictures = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    return Photographs(
        names=tuple(f"photo{n}.png" for n in range(count)),
        pixels=np.concatenate([picture.ravel() for picture in pictures]),
        offsets=np.cumsum([0, *(picture.size for picture in pictures)]),
        shapes=shapes,
    )


EXTRA = photographs()
WITH_EXTRA = {
    **FEW,
    "phases.augmentation.generated_from": "extra",
    "phases.augmentation.extra_fingerprint": EXTRA.fingerprint,
}


@pytest.fixture(scope="module")
def dataset():
    return dataclasses.replace(toy_dataset(), extra=EXTRA)


def labelled(dataset):
    return set(labelled_rows(dataset, toy_fold(dataset).train, DataConfig(labelled_images=5), 0, 0))


def numbers(result, store):
    return result.metrics, [store.read(result.signature, name) for name in NUMBERS]


@pytest.mark.parametrize("values", [WITHHELD, PRISTINE, WITH_EXTRA], ids=["withheld", "pristine", "extra"])
def test_neither_pixels_nor_scores_of_withheld_images_matter(dataset, tmp_path, values):
    """The same training on data whose withheld images are other images with other scores ends in the same bits."""
    fold, random = toy_fold(dataset), np.random.default_rng(0)
    pixels, score, distortion = dataset.pixels.copy(), dataset.score.copy(), dataset.distortion
    withheld = sorted(set(dataset.rows_of(fold.train)) - labelled(dataset))
    assert len(withheld) > 20
    for row in withheld:
        image = dataset.first + row
        pixels[dataset.offsets[image] : dataset.offsets[image + 1]] = random.integers(0, 256)
        score[row] = random.uniform(0, 100)
    other = dataclasses.replace(dataset, pixels=pixels, score=score, distortion=distortion)
    found = []
    for data in (dataset, other):
        store = Store(tmp_path / data.fingerprint)
        result = run_trial(toy_trial(data, tiny({**values, "evaluation.independent_evaluator_steps": 0})), data, store)
        assert result.status == "finished"
        found.append(numbers(result, store))
    assert dataset.fingerprint != other.fingerprint
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("values", "own", "extra"),
    [
        (FEW, "labelled", False),
        ({**FEW, "data.pristine_fraction": 0.5}, "labelled", False),
        (WITHHELD, "training", False),
        (PRISTINE, "everywhere", False),
        (WITH_EXTRA, "training", True),
    ],
    ids=["labelled", "pristine labelled", "withheld", "pristine", "extra"],
)
def test_training_gathers_rated_images_and_the_references_that_it_may(
    dataset, tmp_path, monkeypatch, values, own, extra
):
    """Training sees labelled distorted images alone, and never held-out references."""
    gathered: dict[str, list[tuple[str, int]]] = {}
    now: list[str] = []
    gather, step = Pictures.gather, Phase.step

    def noted_gather(self, images, *arguments):
        if now:
            kind = "own" if isinstance(self, CropSource) else "extra"
            gathered.setdefault(now[0], []).extend((kind, int(image)) for image in images)
        return gather(self, images, *arguments)

    def noted_step(self, *arguments):
        now.append(self.phase.name)
        losses = step(self, *arguments)
        now.clear()
        return losses

    monkeypatch.setattr(Pictures, "gather", noted_gather)
    monkeypatch.setattr(Phase, "step", noted_step)
    run_trial(
        toy_trial(dataset, tiny({**values, "phases.gan.steps": 20, "phases.augmentation.steps": 30})),
        dataset,
        Store(tmp_path),
    )
    rows, fold = labelled(dataset), toy_fold(dataset)
    training = {number for number, name in enumerate(dataset.references) if name in fold.train}
    of_labelled = {int(dataset.reference[row]) for row in rows}
    for phase, found in gathered.items():
        inside = {number for source, number in found if source != "extra"}
        assert {number - dataset.first for number in inside if number >= dataset.first} == rows
        references = {number for number in inside if number < dataset.first}
        allowed = training if own == "everywhere" or (phase, own) == ("augmentation", "training") else of_labelled
        if phase == "finetuning":  # four steps, which may not show all of them
            assert references <= allowed and bool(references) == ("data.pristine_fraction" in values)
        else:
            assert references == allowed
        outside = {number for source, number in found if source == "extra"}
        assert outside == (set(range(len(EXTRA))) if extra and phase == "augmentation" else set())


def test_few_rated_images_fill_a_batch_with_several_crops_of_each(dataset, tmp_path, monkeypatch):
    seen = []
    step = Phase.step

    def noted(self, *arguments):
        batches = self.batches
        counts = np.bincount(batches.chosen(0, 0, "epoch")).tolist()
        seen.append((batches.size, len(batches.rows), sorted(counts)))
        return step(self, *arguments)

    monkeypatch.setattr(Phase, "step", noted)
    config = tiny({"data.batch": 8, "data.labelled_images": 3})
    run_trial(toy_trial(dataset, config), dataset, Store(tmp_path))
    assert all(one == (8, 3, [2, 3, 3]) for one in seen) and seen


def test_photographs_that_no_phase_distorts_change_nothing_and_others_change_the_signature(dataset, tmp_path):
    bare = toy_dataset()
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    trial = toy_trial(dataset, tiny(WITHHELD))
    assert trial == toy_trial(bare, tiny(WITHHELD))
    assert numbers(run_trial(trial, dataset, one), one) == numbers(run_trial(trial, bare, other), other)
    signatures = {
        toy_trial(dataset, tiny(values)).signature
        for values in (
            FEW, WITHHELD, WITH_EXTRA, {**FEW, "data.labelled_by": "random"},
            {**WITH_EXTRA, "phases.augmentation.extra_fingerprint": photographs(seed=2).fingerprint},
        )
    }  # fmt: skip
    assert len(signatures) == 5


def test_other_photographs_than_those_of_the_trial_are_refused(dataset, tmp_path):
    trial = toy_trial(dataset, tiny(WITH_EXTRA))
    for other in (None, photographs(seed=2)):
        with pytest.raises(ValueError, match=f"distorts photographs {EXTRA.fingerprint[:12]}, given are "):
            run_trial(trial, dataclasses.replace(dataset, extra=other), Store(tmp_path))


def test_the_judge_of_generated_images_has_all_scores_and_is_the_same_for_any_number(dataset):
    evaluators = {
        independent_evaluator(
            toy_trial(dataset, tiny({"data.labelled_images": n, "evaluation.independent_evaluator_steps": 3}))
        ).signature
        for n in (5, 20, None)
    }
    assert len(evaluators) == 1
