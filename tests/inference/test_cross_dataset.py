"""A model on a database that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from gada_ray.__main__ import app
from gada_ray.config import DataConfig
from gada_ray.data import load_dataset
from gada_ray.evaluation import scenes
from gada_ray.evaluation.cross_dataset import ALL, WITHOUT
from gada_ray.evaluation.metrics import agreement
from gada_ray.inference import scoring
from gada_ray.inference.cross_dataset import cross_test, same_name, unseen
from gada_ray.inference.scoring import ModelError
from gada_ray.trials.store import FoldRecord
from tests.helpers_manifest import make_manifest
from tests.toy import tiny, toy_card, toy_dataset, toy_scorer


def test_all_images_and_every_distortion_are_measured_as_quality_for_any_direction_and_scale() -> None:
    scorer, dataset = toy_scorer(), toy_dataset()
    tested = cross_test(scorer, dataset, {"ref2": "bikes"})
    frame, rows = tested.predictions, tested.metrics.set_index("images")
    assert list(rows.index) == [ALL, WITHOUT, "blocks", "dark", "noise"]
    assert rows["n"].tolist() == [54, 45, 18, 18, 18]
    expected = agreement(dataset.quality.astype(float), frame["prediction"].to_numpy())
    assert rows.loc[ALL, "srocc"] == expected["srocc"] and rows.loc[ALL, "plcc_fitted"] == expected["plcc_fitted"]
    assert rows["plcc_fitted"].isna().tolist() == [False, False, True, True, True]
    assert np.allclose(frame["predicted_score"], 100 * (1 - frame["prediction"]))
    assert set(frame.loc[frame["reference"] == "ref2", "shared"]) == {"bikes"}
    by_hand = scorer.score_crops([scorer.crops(dataset.distorted_image(7))])[0]
    assert frame.loc[7, "prediction"] == pytest.approx(by_hand.quality, abs=1e-6)


def test_distortions_that_the_training_data_lack_are_named_under_no_second_name() -> None:
    dataset = toy_dataset()
    assert unseen(toy_card(distortions=("blocks", "01_dark")), dataset) == ("noise",)
    assert unseen(toy_card(distortions=("unspecified",)), dataset) == ()
    assert {same_name(name) for name in ("wn", "awgn", "01_gaussian_noise")} == {"white noise"}
    assert same_name("10_jpeg") == same_name("JPEG") != same_name("jpeg2000") == same_name("jp2k")


def test_images_that_are_smaller_than_crops_are_refused() -> None:
    with pytest.raises(ModelError, match="images of toy are smaller than the model's crops of 64x64"):
        cross_test(toy_scorer(tiny({"data.crop_px": 64})), toy_dataset(), {})


def put(folder: Path, name: str, image: np.ndarray) -> None:
    Image.fromarray(image).save(folder / name)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two of five references are a crop and the same pixels of photographs that the model below was trained on."""
    root = tmp_path / "there"
    make_manifest(root, references=5, levels=2)
    scenes_of = {"a": data.astronaut()[40:440, 60:460], "b": data.coffee()}
    for letter, picture in scenes_of.items():
        put(root, f"{letter}.png", picture)
        for number in range(4):
            put(root, f"{letter}_{number}.png", (picture * (1 - 0.2 * number)).astype(np.uint8))
    table = pd.read_csv(root / "scores.csv")
    table = table[table["reference"].str[0].isin(list("abcde"))]
    table = table[[(root / name).exists() for name in table["distorted"]]]
    table.to_csv(root / "scores.csv", index=False)
    return root


def model(folder: Path, with_scenes: bool) -> Path:
    scorer = toy_scorer(fold=FoldRecord(split=0, scored_on="test", train=("x", "y"), held_out=("z",)))
    known = [scenes.scene("astronaut", data.astronaut()), scenes.scene("coffee", data.coffee())]
    scoring.save(
        folder, scorer.card, scorer.quality_network.state_dict(), scenes.to_bytes(known) if with_scenes else b""
    )
    return folder


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output + repr(done.exception)


def test_the_command_prints_agreement_shared_scenes_and_unseen_distortions(tmp_path: Path, database: Path) -> None:
    code, text = invoke(
        *("test", "--model", model(tmp_path / "model", True), "--dataset", "manifest", "--data-root", database),
        *("--out", tmp_path / "out"),
    )
    assert code == 0, text
    assert (
        "shares 2 scenes with the training data, whose names for them stand in brackets: a (astronaut), b (coffee)"
        in text
    )
    assert "all without shared scenes" in text and "PLCC after logistic" in text
    frame = pd.read_csv(tmp_path / "out/predictions.csv", keep_default_na=False)
    assert set(frame.loc[frame["shared"] != "", "reference"]) == {"a", "b"}
    metrics = pd.read_csv(tmp_path / "out/metrics.csv").set_index("images")
    assert metrics.loc[WITHOUT, "n"] == (frame["shared"] == "").sum()
    assert (tmp_path / "out/scatter.png").stat().st_size > 1000


def test_a_model_without_scenes_is_reported_and_other_training_data_are_refused(tmp_path: Path, database: Path) -> None:
    without = model(tmp_path / "model", False)
    arguments = ("test", "--model", without, "--dataset", "manifest", "--data-root", database, "--out", tmp_path / "o")
    code, text = invoke(*arguments)
    assert code == 0, text
    assert "give its training data with --trained-on NAME=DIR" in text
    code, text = invoke(*arguments, "--trained-on", f"manifest={database}")
    assert "has other images or scores than the data on which the model was trained" in text


@pytest.mark.parametrize(("images", "words"), [(1, "it has 1 image"), (3, "all 3 images have the score 50")])
def test_a_database_without_different_scores_is_refused(tmp_path: Path, images: int, words: str) -> None:
    (tmp_path / "data").mkdir()
    names = [f"{number}.png" for number in range(images)]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 40), (20 * number, 0, 0)).save(tmp_path / "data" / name)
    (tmp_path / "data/scores.csv").write_text("\n".join(["distorted,score", *(f"{name},50" for name in names)]))
    declared = 'name = "flat"\ndirection = "higher_is_better"\nrange = [0.0, 100.0]'
    (tmp_path / "data/scores.toml").write_text(declared)
    folder = model(tmp_path / "model", True)
    result = invoke("test", "--model", folder, "--dataset", "manifest", "--data-root", tmp_path / "data")
    assert result[0] != 0 and f"flat: a test needs images with different scores, but {words}" in result[1]


def test_scenes_are_taken_from_training_data_that_are_named(tmp_path: Path, database: Path) -> None:
    dataset = load_dataset("manifest", database, DataConfig())
    record = toy_card().dataset.model_copy(update={"fingerprint": dataset.fingerprint})
    fold = FoldRecord(split=0, scored_on="test", train=("a", "c"), held_out=("b",))
    scorer = toy_scorer(fold=fold, dataset=record)
    scoring.save(tmp_path / "model", scorer.card, scorer.quality_network.state_dict())
    code, text = invoke(
        *("test", "--model", tmp_path / "model", "--dataset", "manifest", "--data-root", database),
        *("--out", tmp_path / "o", "--trained-on", f"manifest={database}"),
    )
    assert code == 0, text
    assert "shares 2 scenes with the training data, whose names for them stand in brackets: a (a), c (c)" in text
