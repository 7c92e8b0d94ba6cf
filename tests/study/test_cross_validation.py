"""`python -m gada_ray train`: cross-validation over scenes, and a model of all images."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gada_ray.__main__ as program
import gada_ray.trials.run
from gada_ray.data.dataset import DataError
from gada_ray.data.splits import cross_validation, whole
from gada_ray.inference.card import read_card
from gada_ray.study.cross_validation import make
from gada_ray.study.summary import read_predictions
from gada_ray.trials.store import Store
from tests.helpers_manifest import make_manifest
from tests.toy import TINY, toy_dataset, toy_trial

SETTINGS = {
    **{path: value for path, value in TINY.items() if "curve" not in path and "generator" not in path},
    "phases.direct.steps": 4,
    "phases.finetuning.steps": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "images"
    make_manifest(folder)
    # A kind with a procedure, so that its pairs can be ordered.
    table = (folder / "scores.csv").read_text().replace(",noise,", ",wn,")
    (folder / "scores.csv").write_text(table)
    return folder


def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    settings = [f"--set={path}={list(v) if isinstance(v, tuple) else v!s}" for path, v in SETTINGS.items()]
    monkeypatch.setattr(sys, "argv", ["gada_ray", "train", *map(str, arguments), *settings])
    with pytest.raises(SystemExit) as stop:
        program.run()
    captured = capfd.readouterr()
    return int(stop.value.code or 0), captured.out + captured.err


def test_every_reference_is_held_out_once_and_folds_depend_on_the_seed():
    names = [f"r{number:02d}" for number in range(13)]
    folds = cross_validation(names, 5, seed=3)
    assert sorted(name for fold in folds for name in fold.held_out) == names
    assert sorted(len(fold.held_out) for fold in folds) == [2, 2, 3, 3, 3]
    assert all(sorted((*fold.train, *fold.held_out)) == names for fold in folds)
    assert folds == cross_validation(names[::-1], 5, seed=3) != cross_validation(names, 5, seed=4)
    assert whole(names, 5).train == tuple(names) and not whole(names, 5).held_out


@pytest.mark.parametrize("count", [1, 4])
def test_folds_without_references_are_refused(count):
    with pytest.raises(DataError, match=f"3 references needs 2 to 3 folds, got {count}"):
        cross_validation("abc", count)


def test_a_model_of_all_images_comes_with_the_scores_of_trainings_that_had_not_seen_them(
    data, tmp_path, monkeypatch, capfd
):
    arguments = ["--data-root", data, "--folds", 3, "--storage", tmp_path / "runs"]
    code, said = command(monkeypatch, capfd, *arguments, "--out", tmp_path / "model")
    assert code == 0, said
    assert "48 labelled images of 6 scenes, ranking of procedural: 3 folds by scene, then one training on all" in said
    assert "fold 3: SROCC " in said and " on 16 images of 2 scenes" in said
    assert "means over 3 folds, each tested on scenes that its training has not seen" in said
    card = read_card(tmp_path / "model")
    assert len(card.fold.train) == 6 and not card.fold.held_out and not card.metrics
    assert card.over_splits["n"] == 3 and "srocc_ci_low" in card.over_splits
    assert card.chosen.startswith("One configuration, not chosen among others.")
    predictions = pd.read_csv(tmp_path / "model" / "predictions.csv")
    assert predictions["image"].is_unique and len(predictions) == 48
    assert predictions.groupby("reference")["fold"].nunique().max() == 1
    assert (tmp_path / "model" / "scatter.png").stat().st_size > 1000
    assert [phase.ranking.weight for phase in card.config.phases] == [1.2, 1.2]

    # Resumed, nothing is trained again, and the model is the same.
    monkeypatch.setattr(gada_ray.trials.run, "build", lambda *_: pytest.fail("trained again"))
    code, again = command(monkeypatch, capfd, *arguments, "--out", tmp_path / "again")
    assert code == 0, again
    assert (tmp_path / "again" / "weights.npz").read_bytes() == (tmp_path / "model" / "weights.npz").read_bytes()
    assert command(monkeypatch, capfd, *arguments, "--out", tmp_path / "model")[0] == 2  # would be overwritten
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["gada_ray", "score", str(data / "a_0.png"), "--model", str(tmp_path / "model")])
    with pytest.raises(SystemExit) as stop:
        program.run()
    assert not stop.value.code and "a_0.png" in capfd.readouterr().out


def test_photographs_are_distorted_too_unless_they_show_a_scene_of_the_labelled_images(
    data, tmp_path, monkeypatch, capfd
):
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(5).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(photos / "new.png")
    arguments = ["--data-root", data, "--folds", 3, "--storage", tmp_path / "runs", "--extra-references", photos]
    code, said = command(monkeypatch, capfd, *arguments, "--out", tmp_path / "model")
    assert code == 0 and "ranking of procedural + photographs" in said, said
    Image.open(data / "b.png").save(photos / "known.png")
    code, said = command(monkeypatch, capfd, *arguments, "--out", tmp_path / "other")
    assert code == 2 and "known.png (shows b)" in said
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", 9], "cross-validation over 6 references needs 2 to 6 folds, got 9"),
        (["--set", "phases.gan.steps=3"], "phases.gan"),
        (["--set", "oops"], "--set needs path.to.field=value, got 'oops'"),
        (["--dataset", "nothing"], "nothing"),
        (["--device", "nowhere"], "--device nowhere cannot be used here (Expected one of cpu, cuda"),
        (["--no-ranking", "--set", "phases.direct.images=both"], "'direct' trains on images of a generator that no"),
    ],
)
def test_wrong_input_is_one_message_before_any_training(data, tmp_path, monkeypatch, capfd, options, message):
    monkeypatch.setattr(gada_ray.trials.run, "build", lambda *_: pytest.fail("trained"))
    code, said = command(monkeypatch, capfd, "--data-root", data, "--out", tmp_path / "m", *options)
    assert code == 2 and message in said
    assert not (tmp_path / "m").exists()


def test_classes_that_are_numbers_stay_text_in_predictions(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text("image,reference,distortion,target,prediction\n7,007,01,0.5,0.25\n")
    (row,) = read_predictions(file).to_dict("records")
    assert row == {"image": "7", "reference": "007", "distortion": "01", "target": 0.5, "prediction": 0.25}


def test_without_ranking_it_is_the_baseline_and_photographs_are_not_needed():
    plan = make("manifest", {}, 0, None, ranking=False)
    assert plan.variants[0].name == "baseline" and not any(p.uses_procedures for p in plan.variants[0].config.phases)
    assert plan.variants[0].config.steps == 1000


def test_a_trial_without_held_out_images_has_weights_and_no_scores(tmp_path):
    from dataclasses import replace

    from gada_ray import baseline
    from tests.toy import tiny

    dataset = toy_dataset()
    trial = toy_trial(dataset)
    direct = replace(trial, config=tiny(config=baseline(4, 2)), fold=whole(dataset.references, 0))
    store = Store(tmp_path)
    result = gada_ray.trials.run.run_trial(direct, dataset, store)
    assert result.status == "finished" and not result.metrics
    assert store.read(direct.signature, "weights.pt")
    with pytest.raises(ValueError, match="measured on held-out references"):
        gada_ray.trials.run.run_trial(replace(trial, fold=whole(dataset.references, 0)), dataset, store)


@pytest.mark.parametrize("lacks", ["references", "procedures"])
def test_images_that_the_ranking_term_cannot_use_are_refused_with_the_option_that_leaves_it_out(
    lacks, data, tmp_path, monkeypatch, capfd
):
    shutil.copytree(data, tmp_path / "own")
    table = pd.read_csv(data / "scores.csv")
    if lacks == "references":
        table = table.drop(columns="reference").assign(group=table["reference"])
    else:
        table["distortion"] = table["distortion"].replace({"wn": "odd", "dark": "odder"})
    table.to_csv(tmp_path / "own" / "scores.csv", index=False)
    arguments = ("--data-root", tmp_path / "own", "--out", tmp_path / "model", "--storage", tmp_path / "runs")
    code, said = command(monkeypatch, capfd, *arguments)
    assert code == 2 and "--no-ranking" in said
    code, said = command(monkeypatch, capfd, *arguments, "--no-ranking", "--folds", "3")
    assert code == 0, said


def test_one_picture_under_two_names_is_refused_although_a_random_split_keeps_both_in_one_part(
    data, tmp_path, monkeypatch, capfd
):
    copied = tmp_path / "images"
    shutil.copytree(data, copied)
    names = sorted(path.name for path in copied.glob("?.png"))
    for one, other in ((names[0], names[1]), (names[1], names[2])):
        shutil.copy(data / one, copied / other)
        monkeypatch.setattr(gada_ray.trials.run, "build", lambda *_: pytest.fail("trained"))
        code, said = command(monkeypatch, capfd, "--data-root", copied, "--out", tmp_path / "m")
        assert code == 2 and "have the same pixels under several references" in said
