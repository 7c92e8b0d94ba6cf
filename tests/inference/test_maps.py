"""Pictures of quality by place: one for every image, where its own path says, on the model's own scale."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gada_ray.data import DataError
from gada_ray.evaluation.quality_map import QualityMap
from gada_ray.inference import maps
from gada_ray.inference.scoring import Score
from gada_ray.trials.store import DatasetRecord
from tests.toy import toy_scorer

RNG = np.random.default_rng(0)
SCORE = Score(0.5, 3.0, 0.1, "noise")


def scale(direction: str) -> DatasetRecord:
    return toy_scorer().card.dataset.model_copy(update={"direction": direction, "score_range": (1.0, 5.0)})


def ticks(quality: np.ndarray, direction: str) -> list[float]:
    """Numbers beside the bar of colours, from its lower end to the upper."""
    places = QualityMap(quality, np.arange(2) * 8, np.arange(2) * 8, 16)
    figure = maps.draw(np.zeros((24, 24, 3), dtype=np.uint8), places, SCORE, scale(direction))
    return [float(label.get_text()) for label in figure.axes[-1].get_yticklabels()]


def test_the_bar_is_on_the_labels_scale_with_the_better_end_up() -> None:
    quality = np.array([[0.25, 0.75], [0.25, 0.75]])
    rising, falling = ticks(quality, "higher_is_better"), ticks(quality, "lower_is_better")
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert rising == pytest.approx([6 - value for value in falling])
    assert 1 + 4 * 0.25 <= rising[0] < rising[-1] <= 1 + 4 * 0.75


def test_small_differences_do_not_span_the_colours() -> None:
    flat = ticks(np.full((2, 2), 0.5), "higher_is_better")
    assert flat[-1] - flat[0] == pytest.approx(4 * maps.LEAST_RANGE)


@pytest.mark.parametrize("shape", [(400, 30), (30, 400), (900, 1300), (16, 16)])
def test_images_of_any_shape_and_size_are_drawn_at_a_readable_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "photo $x$ \N{CJK UNIFIED IDEOGRAPH-4E2D}.png"
    Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    written = maps.write_map(toy_scorer(), path, SCORE, tmp_path / "maps")
    with Image.open(written) as picture:
        assert min(picture.size) > 200 and max(picture.size) < 1400


def test_equal_names_in_two_folders_do_not_collide_and_none_leaves_the_folder() -> None:
    named = ["a/1.png", "b/1.png", "/a/2.png", "../a/1.png", "1.png", "1.jpg"]
    found = [maps.place_of(Path(name), Path("maps")) for name in named]
    assert found[0] == Path("maps/a/1.png.png")
    assert len(set(found)) == len(named)
    assert all(".." not in path.parts and path.parts[0] == "maps" for path in found)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"--maps .*1\.png cannot be written"):
        maps.write_map(toy_scorer(), path, SCORE, path)
