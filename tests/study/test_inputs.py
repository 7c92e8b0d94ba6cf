"""Data that a plan cannot be trained on: too few images, and photographs that are too small or show what is tested."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from gada_ray import Choice, Preset, Study, TrainingConfig, direct, gada, with_values
from gada_ray.data import DataError, make_splits
from gada_ray.data.dataset import IqaDataset, Photographs
from gada_ray.data.photos import load_photographs
from gada_ray.evaluation import scenes
from gada_ray.study import inputs
from gada_ray.study.definition import StudyError, make_plan
from gada_ray.study.inputs import check_references
from tests.toy import TINY, toy_dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def photographs(*pictures):
    return Photographs(
        names=tuple(f"{n}.png" for n in range(len(pictures))),
        pixels=np.concatenate([picture.ravel() for picture in pictures]),
        offsets=np.cumsum([0, *(picture.size for picture in pictures)]),
        shapes=np.array([picture.shape[:2] for picture in pictures]),
    )


def plan(values=None, extra="f" * 64):
    presets = {"p": Preset(cost="-", splits=2, values=TINY)}
    variants = {"with": {"phases.augmentation.generated_from": "extra"}, "few": values or {}}
    return make_plan("toy", Study(question="?", base=gada(3, 2, 1), variants=variants, presets=presets), "p", "toy", {},
                     extra=extra)  # fmt: skip


def loaded(monkeypatch, extra=None, values=None):
    monkeypatch.setattr(inputs, "load_dataset", lambda *_: toy_dataset())
    return inputs.load_data(plan(values), None, None, extra)


def test_photographs_are_added_to_the_dataset_and_are_no_part_of_its_fingerprint(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    dataset, _ = loaded(monkeypatch, photographs(noise)).first
    assert dataset.extra is not None and (dataset.extra.image(0) == noise).all()
    assert dataset.fingerprint == toy_dataset().fingerprint
    assert "0.png" not in (*dataset.references, *dataset.images)


def test_a_photograph_of_a_scene_that_is_tested_is_refused_by_name_each_time(monkeypatch):
    dataset = toy_dataset()
    split = make_splits(dataset.references, 2)[1]
    tested = dataset.image(dataset.references.index(split.test[0]))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for _ in range(2):  # the second time from what was kept
        with pytest.raises(
            DataError, match=rf"must not show what is tested on, but these do: 1\.png \(shows {split.test[0]}\)"
        ):
            loaded(monkeypatch, photographs(noise, tested))
        monkeypatch.setattr(scenes, "shown", None)


def test_a_photograph_may_show_a_scene_of_the_training_part(monkeypatch):
    dataset = toy_dataset()
    tested = {name for split in make_splits(dataset.references, 2) for name in split.test}
    free = next(name for name in dataset.references if name not in tested)
    assert loaded(monkeypatch, photographs(dataset.image(dataset.references.index(free)).copy()))


def test_a_crop_of_a_tested_picture_is_found_however_many_photographs_there_are(monkeypatch):
    monkeypatch.setattr(scenes, "MAX_PAIRS", 1)
    coffee = data.coffee()
    here = [scenes.scene("coffee", coffee)]
    found = scenes.shown(here, photographs(data.rocket(), np.ascontiguousarray(coffee[40:360, 100:520])))
    assert found == {"1.png": "coffee"}


def test_features_of_what_is_tested_are_made_however_many_pictures_that_are(monkeypatch):
    monkeypatch.setattr(scenes, "MAX_PAIRS", 0)
    made, scene = [], scenes.scene

    def noted(name, image, with_features=True):
        made.append(with_features)
        return scene(name, image, with_features)

    monkeypatch.setattr(scenes, "scene", noted)
    assert loaded(monkeypatch, photographs(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    assert made and all(made)


def test_photographs_that_are_smaller_than_a_crop_are_named(monkeypatch):
    with pytest.raises(DataError, match=re.escape("crops of 16x16 pixels do not fit into 0.png; take them out")):
        loaded(monkeypatch, photographs(np.zeros((15, 40, 3), np.uint8)))


def searched(values):
    presets = {"p": Preset(cost="-", splits=2, values=TINY, space=values, candidates=2)}
    of = Study(question="?", base=with_values(gada(3, 2, 1), TINY), variants={"a": {}}, presets=presets)
    return make_plan("toy", of, "p", "toy", {})


def test_images_that_are_smaller_than_a_crop_that_may_be_proposed_are_refused(monkeypatch):
    monkeypatch.setattr(inputs, "load_dataset", lambda *_: toy_dataset())
    largest = int(toy_dataset().shapes.min())
    assert inputs.load_data(searched({"data.crop_px": Choice(16, largest)}), None)
    for load in (inputs.load_data, lambda plan, _: inputs.load_others(["toy=there"], plan)):
        with pytest.raises(DataError, match=f"crops of {largest + 8}x{largest + 8} pixels do not fit"):
            load(searched({"data.crop_px": Choice(16, largest + 8)}), None)


def test_data_are_loaded_and_checked_for_all_that_may_be_proposed(monkeypatch):
    whole = toy_dataset()
    monkeypatch.setattr(inputs, "load_dataset", lambda *_: whole)
    space = {"data.sampling": Choice("activity", "saliency", "difference")}
    assert inputs.load_data(searched(space), None) and {"activity", "saliency", "difference"} <= set(whole.maps)
    alone = replace(whole, has_references=False)
    monkeypatch.setattr(inputs, "check_references", lambda plan, _: check_references(plan, alone))
    baseline = Study(
        question="?",
        base=with_values(TrainingConfig(phases=(direct(3),)), TINY),
        variants={"a": {}},
        presets={"p": Preset(cost="-", splits=2, space=space, candidates=2)},
    )
    with pytest.raises(StudyError, match="has no references, which a of study 'toy' distort; none can run"):
        inputs.load_data(make_plan("toy", baseline, "p", "toy", {}), None)


def test_variants_that_divide_other_references_are_refused_before_anything_is_trained(monkeypatch):
    whole = toy_dataset()
    fewer = replace(whole, references=("another", *whole.references[1:]))
    monkeypatch.setattr(inputs, "load_dataset", lambda _, __, config: fewer if config.dmos == "realigned" else whole)
    with pytest.raises(StudyError, match="few of study 'toy' have other references than variant 'plain'"):
        inputs.load_data(two({"data.dmos": "realigned"}), None)
    assert inputs.load_data(two({}), None)


def two(values):
    presets = {"p": Preset(cost="-", splits=2, values=TINY)}
    of = Study(question="?", base=gada(3, 2, 1), variants={"plain": {}, "few": values}, presets=presets)
    return make_plan("toy", of, "p", "toy", {})


def test_a_dataset_with_a_problem_is_refused_before_anything_is_trained(monkeypatch):
    dataset = toy_dataset()
    monkeypatch.setattr(inputs, "load_dataset", lambda *_: replace(dataset, score=np.full(len(dataset), 50.0)))
    with pytest.raises(DataError, match=r"^toy: all scores are 50: there is nothing to learn$"):
        inputs.load_data(plan(), None, None, None)


def test_a_test_part_of_one_image_is_refused_before_anything_is_trained(monkeypatch):
    dataset = toy_dataset()
    splits = make_splits(dataset.references, 1)
    one = set(splits[0].test)
    monkeypatch.setattr(IqaDataset, "rows_of", lambda self, names: np.arange(1 if set(names) == one else 9))
    with pytest.raises(DataError, match=r"^toy: the test part of split 0 has 1 image, and a correlation needs two"):
        inputs.check_held_out(plan(), dataset, splits)


def test_where_data_come_from_is_the_same_from_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splits.json").touch()
    found = (str(tmp_path / "live"), str(tmp_path / "splits.json"))
    assert inputs.source(Path("live"), "splits.json") == inputs.source(tmp_path / "live", found[1]) == found
    assert inputs.source(None, "published") == ("", "published") and inputs.source(None, None) == ()


def test_more_labelled_images_than_there_are_are_refused_before_anything_is_trained(monkeypatch):
    with pytest.raises(DataError, match=r"data\.labelled_images is 46, but a training part of toy has 45 images"):
        loaded(monkeypatch, photographs(np.zeros((40, 40, 3), np.uint8)), {"data.labelled_images": 46})


def test_a_folder_of_photographs_is_read_in_the_order_of_names_and_other_files_are_left_alone(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    one, two = (np.full((20 + n, 30, 3), 50 + n, np.uint8) for n in range(2))
    Image.fromarray(two).save(folder / "more" / "b.PNG")
    Image.fromarray(one).save(folder / "a.png")
    (folder / "LICENCE.txt").write_text("free")
    found = load_photographs(folder)
    assert found.names == ("a.png", "more/b.PNG") and len(found) == 2
    assert (found.image(0) == one).all() and (found.image(1) == two).all()
    assert found.fingerprint == load_photographs(folder).fingerprint
    Image.fromarray(one + 1).save(folder / "a.png")
    assert found.fingerprint != load_photographs(folder).fingerprint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no folder; --extra-references takes"),
        (lambda folder: folder.mkdir(), "no images in it"),
        (lambda folder: (folder.mkdir(), (folder / "a.png").write_text("no image")), "a.png: not an image"),
    ],
    ids=["no folder", "empty", "broken"],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, make, words):
    make(tmp_path / "photos")
    with pytest.raises(DataError, match=re.escape(words)):
        load_photographs(tmp_path / "photos")


@pytest.mark.parametrize("skip", [False, True])
def test_a_class_without_a_procedure_is_refused_by_name_before_training_unless_it_shall_be_skipped(monkeypatch, skip):
    by_procedures = {
        "phases.augmentation.generated_by": "procedural",
        "phases.augmentation.generated_from": "extra",
        "phases.augmentation.conditions": "uniform",
        "phases.augmentation.skip_unmatched": skip,
    }
    extra = photographs(np.zeros((40, 40, 3), np.uint8))
    if skip:  # of blocks, dark and noise, noise has one
        assert loaded(monkeypatch, extra, by_procedures).first
        return
    with pytest.raises(DataError) as error:
        loaded(monkeypatch, extra, by_procedures)
    assert str(error.value).startswith(
        "phase 'augmentation' of variant 'few': toy: no procedure distorts as blocks, dark (there is one for: noise)"
    )
