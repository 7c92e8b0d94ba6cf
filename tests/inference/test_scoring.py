"""Scores are those of the protocol; models are read back whole, without code, or refused by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gada_ray import PhaseConfig, TrainingConfig
from gada_ray.data import DataError
from gada_ray.data.crops import CropSource
from gada_ray.evaluation import protocol
from gada_ray.inference.scoring import CARD, WEIGHTS, Crops, ModelError, Score, load, save
from tests.toy import CPU, tiny, toy_card, toy_dataset, toy_scorer

RNG = np.random.default_rng(0)


def picture(height: int = 40, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def answer_always(head: torch.nn.Sequential, answer: torch.Tensor) -> None:
    last = head[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    last.bias.data = answer


def files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(picture(40 + number, 30)).save(path)
    return paths


@pytest.mark.parametrize(
    "values",
    [
        {"evaluation.pooling": "mean"},
        {"evaluation.pooling": "median"},
        {"evaluation.pooling": "mean", "data.aligned_fraction": 0.5},
        {"evaluation.pooling": "inverse", "evaluation.sampling": "activity"},
        {"evaluation.pooling": "learned", "model.weighs_crops": True, "data.crops_per_image": 2},
    ],
    ids=lambda values: ", ".join(f"{name}={value}" for name, value in values.items()),
)
def test_on_the_same_crops_quality_is_what_testing_predicts(values: dict[str, Any]) -> None:
    config, pooling = tiny(values), values["evaluation.pooling"]
    dataset, scorer = toy_dataset(), toy_scorer(config)
    source, rows, px = CropSource(dataset, CPU), torch.arange(5), config.data.crop_px
    corners = protocol.windows(dataset, source, rows, config)
    quality = protocol.predict(scorer.quality_network, source, rows, corners, config, config.evaluation.crops)
    wanted = protocol.table(dataset, rows, quality, pooling)["prediction"]
    crops = [
        Crops(
            np.stack([dataset.distorted_image(row)[t : t + px, s : s + px] for t, s in zip(top, left, strict=True)]), w
        )
        for row, (top, left, w) in enumerate(zip(*corners, strict=True))
    ]
    assert [score.quality for score in scorer.score_crops(crops)] == pytest.approx(wanted.tolist(), abs=1e-6)


def test_spread_is_the_standard_deviation_over_crops_and_none_for_one_crop() -> None:
    scorer = toy_scorer()
    crops = scorer.crops(picture())
    each = [scorer.score_crops([Crops(crop[None], crops.weight[:1])])[0] for crop in crops.pixels]
    (together,) = scorer.score_crops([crops])
    assert together.spread == pytest.approx(np.std([score.quality for score in each], ddof=1), abs=1e-6)
    assert {score.spread for score in each} == {0.0}


@pytest.mark.parametrize(("direction", "raw"), [("higher_is_better", 1 + 4 * 0.25), ("lower_is_better", 5 - 4 * 0.25)])
def test_the_raw_score_has_the_scale_and_direction_of_the_labels(direction: str, raw: float) -> None:
    scorer = toy_scorer()
    data = scorer.card.dataset.model_copy(update={"direction": direction, "score_range": (1.0, 5.0)})
    scorer.card = scorer.card.model_copy(update={"dataset": data})
    answer_always(scorer.quality_network.evaluator, torch.tensor([0.25]))
    (score,) = scorer.score_crops([scorer.crops(picture())])
    assert (score.quality, score.score) == (0.25, raw)


def test_the_distortion_is_the_most_probable_class_over_crops_where_a_classifier_was_trained() -> None:
    scorer = toy_scorer()
    answer_always(scorer.quality_network.classifier, torch.tensor([0.0, 0.0, 1.0]))
    assert scorer.score_crops([scorer.crops(picture())])[0].distortion == "noise"
    phase = PhaseConfig(name="direct", steps=1, trains=("backbone", "evaluator"), images="real")
    without = toy_scorer(tiny(config=TrainingConfig(phases=(phase,))))
    assert without.score_crops([without.crops(picture())])[0].distortion == ""


def test_no_distortion_is_named_where_the_classifier_had_no_loss() -> None:
    scorer = toy_scorer(tiny({"losses.class_weight": 0.0}))
    assert any("classifier" in phase.trains for phase in scorer.card.config.phases)
    (score,) = scorer.score_crops([scorer.crops(picture())])
    assert score.distortion == ""


def test_crops_depend_on_the_size_of_an_image_alone_and_lie_inside_it() -> None:
    scorer = toy_scorer()
    rows, columns = np.indices((40, 30), dtype=np.uint8)
    image = np.dstack([rows, columns, rows])
    first, second = scorer.crops(image).pixels, scorer.crops(image).pixels
    assert np.array_equal(first, second)
    assert first.shape == (3, 16, 16, 3)
    for crop in first:
        top, left = crop[0, 0, :2]
        assert np.array_equal(crop, image[top : top + 16, left : left + 16])
    assert scorer.crops(picture(16, 16)).pixels.shape == (3, 16, 16, 3)


def test_an_image_is_shrunk_as_those_of_the_training_were(tmp_path: Path) -> None:
    scorer, path = toy_scorer(tiny({"data.shorter_side": 20})), tmp_path / "large.png"
    large = Image.fromarray(picture(60, 40))
    large.save(path)
    small = np.asarray(large.resize((20, 30), Image.Resampling.BICUBIC))
    ((_, found),) = scorer.score_files([path], None, 1)
    assert found == scorer.score_crops([scorer.crops(small)])[0]
    assert np.array_equal(scorer.image(path, path), small)
    assert toy_scorer(tiny()).image(path, path).shape == (60, 40, 3)


def test_an_image_smaller_than_a_crop_is_refused_with_both_sizes() -> None:
    with pytest.raises(DataError, match="30x15 pixels; the model needs at least 16x16"):
        toy_scorer().crops(picture(15, 30))


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (2, 3), (50, 2), (None, 1), (None, 3)])
def test_files_are_scored_in_their_order_alike_in_any_batch_and_bad_ones_are_named(
    tmp_path: Path, batch: int | None, workers: int
) -> None:
    paths = files(tmp_path, 5)
    paths[1].write_text("text")
    paths.insert(3, tmp_path / "none.png")
    scorer = toy_scorer()
    results = list(scorer.score_files(paths, batch, workers))
    assert [path for path, _ in results] == paths
    for path, result in results:
        if isinstance(result, Score):
            (alone,) = scorer.score_bytes([path.read_bytes()])
            assert result[:3] == pytest.approx(alone[:3], abs=1e-5)
            assert result.distortion == alone.distortion
        else:
            assert str(path) in str(result)
    assert [isinstance(result, Score) for _, result in results] == [True, False, True, False, True, True]


@pytest.mark.parametrize("batch", [1, None])
def test_an_error_of_the_program_is_not_reported_as_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int | None
) -> None:
    scorer = toy_scorer()
    monkeypatch.setattr(scorer, "crops", lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(scorer.score_files(files(tmp_path, 1), batch, 1))


@pytest.mark.parametrize("batch", [4, None])
def test_all_waiting_images_are_scored_before_a_path_that_has_not_arrived_is_requested(
    tmp_path: Path, batch: int | None
) -> None:
    paths = files(tmp_path, 7)
    scored: list[Path] = []
    seen: list[int] = []

    def piped() -> Iterator[Path | None]:
        yield from paths[:5]
        yield None
        seen.append(len(scored))
        yield from paths[5:]

    for path, _ in toy_scorer().score_files(piped(), batch, 2):
        scored.append(path)
    assert (seen, scored) == ([5], paths)


def test_a_model_is_read_back_with_its_card_and_scores_to_the_last_bit(tmp_path: Path) -> None:
    scorer = toy_scorer(tiny({"model.norm": "spectral"}))
    inside = tmp_path / "artifacts" / "model"  # of an MLflow model
    save(inside, scorer.card, scorer.quality_network.state_dict())
    for folder in (tmp_path, inside):
        read = load(folder)
        assert read.card == scorer.card
        crops = scorer.crops(picture())
        assert read.score_crops([crops]) == scorer.score_crops([crops])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no card", "no card.json"),
        ("cut card", "card.json"),
        ("later format", "format 99"),
        ("no weights", "weights.npz is missing, truncated or not a file of weights"),
        ("cut weights", "weights.npz is missing, truncated or not a file of weights"),
        ("pickle", "weights.npz is missing, truncated or not a file of weights"),
        ("other network", "do not fit the card's network"),
    ],
)
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, damage: str, says: str) -> None:
    card, weights = tmp_path / CARD, tmp_path / WEIGHTS
    scorer = toy_scorer()
    written = toy_card(tiny({"model.feature_maps": 8})) if damage == "other network" else scorer.card
    save(tmp_path, written, scorer.quality_network.state_dict())
    match damage:
        case "no card":
            card.unlink()
        case "cut card":
            card.write_bytes(card.read_bytes()[:99])
        case "later format":
            card.write_text(card.read_text().replace('"format": 1', '"format": 99'))
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-99])
        case "pickle":
            with weights.open("wb") as file:
                np.savez(file, allow_pickle=True, weight=np.array([print], dtype=object))
    with pytest.raises(ModelError, match=says):
        load(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ""),
        ({"device": "cpu"}, "Trained on cpu: the same bits again with as many threads."),
        ({"device": "GPU"}, "Trained on GPU: kernels that are not deterministic, so that last digits vary."),
        (
            {"device": "GPU", "compiled": True, "deterministic": True},
            "Trained on GPU, compiled: deterministic kernels, as far as torch has them.",
        ),
    ],
)
def test_a_card_says_whether_its_training_can_be_repeated_and_one_of_before_says_nothing(values, words):
    card = toy_card(**values)
    assert card.arithmetic == words
    assert type(card).model_validate_json(card.model_dump_json()) == card
    assert {"device", "compiled", "deterministic"} & set(card.model_dump()) == set(values)
