import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from gada_ray.config import DataConfig
from gada_ray.data import DataError, demo, load_dataset
from gada_ray.data.demo_images import DISTORTIONS, HEIGHT, PHOTOGRAPHS, WIDTH, WITH_LOCAL, dead_leaves, photograph


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands in for the making of the pictures; counts how often they are made."""
    made: list[int] = []

    def make(local: bool) -> dict[str, np.ndarray]:
        made.append(len(made))
        return {
            "pixels": np.arange(2 * 8 * 9 * 3, dtype=np.int64).astype(np.uint8),
            "shapes": np.array([[8, 9], [8, 9]]),
            "references": np.array(["r"]),
            "images": np.array(["wn/r_1"]),
            "reference": np.array([0]),
            "distortions": np.array(["wn"]),
            "distortion": np.array([0]),
            "score": np.array([0.4 if local else 0.3]),
        }

    monkeypatch.setattr(demo, "_make", make)
    return made


def test_the_demo_is_made_once_and_then_read_back_unchanged(tmp_path: Path, tiny: list[int]) -> None:
    first, second = (load_dataset("demo", tmp_path / "cache", DataConfig()) for _ in range(2))
    assert len(tiny) == 1
    assert first.fingerprint == second.fingerprint
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"demo-v{demo.VERSION}.npz"]
    assert np.array_equal(second.distorted_image(0), first.pixels[216:].reshape(8, 9, 3))


def test_the_demo_with_local_distortions_has_a_name_and_a_cache_of_its_own(tmp_path: Path, tiny: list[int]) -> None:
    usual, local = DataConfig(), DataConfig(demo_local=True)
    loaded = [load_dataset("demo", tmp_path, config) for config in (usual, local, usual, local)]
    assert len(tiny) == 2
    assert [dataset.name for dataset in loaded] == ["demo", "demo with local distortions"] * 2
    assert loaded[0].fingerprint == loaded[2].fingerprint != loaded[1].fingerprint == loaded[3].fingerprint
    assert len(list(tmp_path.iterdir())) == 2


def test_the_demo_is_cached_under_xdg_cache_home(
    tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_dataset("demo", None, DataConfig())
    assert (tmp_path / "gada-ray" / f"demo-v{demo.VERSION}.npz").is_file()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "lacking"])
def test_a_damaged_cache_is_made_again_with_a_warning(
    tmp_path: Path, tiny: list[int], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    whole = load_dataset("demo", tmp_path, DataConfig())
    path = tmp_path / f"demo-v{demo.VERSION}.npz"
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            path.write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
        case "text" | "empty":
            path.write_text("text" if damage == "text" else "")
        case "lacking":
            np.savez(path, pixels=whole.pixels)
    with caplog.at_level(logging.WARNING):
        again = load_dataset("demo", tmp_path, DataConfig())
    assert len(tiny) == 2
    assert str(path) in caplog.text and "damaged" in caplog.text
    assert again.fingerprint == whole.fingerprint
    assert load_dataset("demo", tmp_path, DataConfig()).fingerprint == whole.fingerprint
    assert len(tiny) == 2


def test_a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path, tiny: list[int]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be cached in .*file.* name a folder with --data-root"):
        load_dataset("demo", tmp_path / "file", DataConfig())


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_photograph_is_found_in_its_wheel(name: str) -> None:
    image = photograph(name)
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    assert image.std() > 15
    assert np.array_equal(image, photograph(name))


def test_textures_depend_on_their_seed_and_their_contrast() -> None:
    options = {"radii": (3, 40), "saturation": 0.2, "grain": 0.1}
    bold = dead_leaves(1, contrast=1.0, **options)  # type: ignore[arg-type]
    assert np.array_equal(bold, dead_leaves(1, contrast=1.0, **options))  # type: ignore[arg-type]
    assert not np.array_equal(bold, dead_leaves(2, contrast=1.0, **options))  # type: ignore[arg-type]
    assert bold.std() > 2 * dead_leaves(1, contrast=0.3, **options).std()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WITH_LOCAL)
def test_every_distortion_grows_with_its_severity_from_slight_to_strong(kind: str) -> None:
    image = photograph("chelsea")
    severities = (0.0, 0.25, 0.5, 0.75, 1.0)
    distorted = np.stack([WITH_LOCAL[kind](image, s, np.random.default_rng(0)) for s in severities])
    assert distorted.shape == (5, HEIGHT, WIDTH, 3) and distorted.dtype == np.uint8
    scores = demo._mdsi(distorted, np.stack([image] * 5))
    assert all(a < b for a, b in pairwise(scores)), scores
    strongest = 0.4 if kind in DISTORTIONS else 0.3  # most of the picture is left as it is
    assert 0 < scores[0] < 0.35 and strongest < scores[-1] < 0.8
    assert np.array_equal(distorted[2], WITH_LOCAL[kind](image, 0.5, np.random.default_rng(0)))


def test_errors_of_fast_fading_differ_more_between_rows_than_those_of_jpeg2000() -> None:
    image = photograph("grass")

    def unevenness(kind: str) -> float:
        difference = DISTORTIONS[kind](image, 0.5, np.random.default_rng(0)) - image.astype(float)
        by_rows = (difference**2).mean(axis=(1, 2))
        return float(np.percentile(by_rows, 95) / np.median(by_rows))

    assert unevenness("ff_like") > 3 > 2 > unevenness("jp2k")


@pytest.mark.parametrize(("kind", "most"), [("patches", 0.2), ("misplaced", 0.3)])
def test_local_distortions_leave_the_rest_of_the_picture_as_it_is(kind: str, most: float) -> None:
    image = photograph("grass")
    for severity in (0.0, 0.3, 0.7, 1.0):
        changed = (WITH_LOCAL[kind](image, severity, np.random.default_rng(1)) != image).any(axis=2)
        assert 0 < changed.mean() <= 1.02 * most  # a whole number of squares comes near


@pytest.mark.parametrize("kind", ["patches", "misplaced"])
def test_local_distortions_of_one_severity_trade_extent_for_strength(
    kind: str,
) -> None:
    image = photograph("gravel")
    extents, strengths = [], []
    for seed in range(12):
        difference = np.abs(WITH_LOCAL[kind](image, 0.5, np.random.default_rng(seed)) - image.astype(float))
        changed = difference.any(axis=2)
        extents.append(changed.mean())
        strengths.append(difference[changed].mean())
    assert max(extents) > 3 * min(extents)
    assert spearmanr(extents, strengths).statistic < (-0.9 if kind == "patches" else 0)


def test_patches_change_whole_squares_by_one_amount_towards_where_there_is_room() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    image[:, WIDTH // 2 :] = 210
    shifted = WITH_LOCAL["patches"](image, 0.6, np.random.default_rng(3)).astype(int) - image
    left, right = shifted[:, : WIDTH // 2 - 16], shifted[:, WIDTH // 2 + 16 :]
    assert len(np.unique(left)) == len(np.unique(right)) == 2
    assert left.max() == -right.min() > 12
    assert (left != 0).any(axis=(0, 2)).sum() >= 16


def test_misplaced_patches_show_another_region_of_the_picture() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)
    moved = WITH_LOCAL["misplaced"](image, 1.0, np.random.default_rng(0)).astype(int) - image
    distances = np.hypot(moved[..., 0], moved[..., 1])
    assert set(np.round(distances[distances > 0])) <= {23, 24, 25}
    assert len(np.unique(moved.reshape(-1, 3), axis=0)) > 10, "in all directions"


def test_identical_images_score_zero() -> None:
    image = photograph("coffee")[None]
    assert demo._mdsi(image, image).tolist() == [0.0]


@pytest.mark.slow
def test_the_demo_is_balanced_says_that_its_scores_are_not_human_and_is_not_predicted_by_type_and_severity(
    tmp_path: Path,
) -> None:
    dataset = load_dataset("demo", tmp_path, DataConfig())
    frame = dataset.frame()
    assert (len(dataset), len(dataset.references)) == (400, 20)
    assert (frame.groupby(["reference", "distortion"]).size() == 4).all()
    assert dataset.distortions == ("jp2k", "jpeg", "wn", "gblur", "ff_like")
    assert "not human" in dataset.labels and dataset.direction == "lower_is_better"
    assert dataset.quality.min() > 0 and dataset.quality.max() < 1
    assert np.ptp(dataset.quality) > 0.5
    rows = dataset.rows_of(["rocket"])
    distorted, reference = (
        np.stack([image(row) for row in rows]) for image in (dataset.distorted_image, dataset.reference_image)
    )
    assert np.array_equal(demo._mdsi(distorted, reference), dataset.score[rows])
    severity = demo.severities(dataset)
    assert (severity * demo.LEVELS).astype(int).tolist() == [int(name[-1]) - 1 for name in dataset.images]
    for kind in range(len(dataset.distortions)):
        rows = dataset.distortion == kind
        assert spearmanr(severity[rows], dataset.score[rows]).statistic > 0.5
    local = load_dataset("demo", tmp_path, DataConfig(demo_local=True))
    assert np.array_equal(demo.severities(local).reshape(20, 7, 4)[:, :5], severity.reshape(20, 5, 4))
    present = {name: row for row, name in enumerate(local.images)}
    same = [present[name] for name in dataset.images]
    assert len(local) == 560 and local.distortions[5:] == ("patches", "misplaced")
    assert np.array_equal(local.score[same], dataset.score)
    assert all(
        np.array_equal(local.distorted_image(there), dataset.distorted_image(row)) for row, there in enumerate(same)
    )
    blind = frame.groupby(["distortion", frame["image"].str[-1]])["score"].transform("mean")
    assert spearmanr(blind, frame["score"]).statistic < 0.92
