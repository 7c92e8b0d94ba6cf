"""Where a test looked: the worst image of every distortion, its crops in the thumbnail's pixels, in a small file."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gada_ray.evaluation import worst as worst_images
from gada_ray.inference import pictures
from tests.toy import toy_dataset

PX = 16


def kept(maps: bool = False) -> tuple[dict[str, np.ndarray], object]:
    """What is kept of a test of all images, and the predictions, of which one of every distortion is far off."""
    dataset, random = toy_dataset(), np.random.default_rng(0)
    rows = torch.arange(len(dataset)).flip(0)
    frame = dataset.frame().iloc[rows.numpy()].reset_index(drop=True).rename(columns={"quality": "target"})
    frame["prediction"] = frame["target"] + random.uniform(-0.1, 0.1, len(frame))
    frame.loc[frame.groupby("distortion").head(2).groupby("distortion").tail(1).index, "prediction"] -= 0.5
    corners = tuple(torch.arange(len(rows) * 3).view(-1, 3) % 9 for _ in range(2))
    cells = [np.full((2, 3), row, dtype=np.uint8) for row in range(len(dataset))] if maps else None
    quality = torch.rand(len(rows), 3, generator=torch.Generator().manual_seed(0))
    file = worst_images.worst(dataset, rows, corners, PX, quality, frame, cells)  # type: ignore[arg-type]
    return dict(np.load(io.BytesIO(file), allow_pickle=False)), frame


def test_the_worst_image_of_every_distortion_is_kept_with_its_own_crops_and_map() -> None:
    arrays, frame = kept(maps=True)
    dataset = toy_dataset()
    assert list(arrays["distortion"]) == sorted(dataset.distortions)
    for i, (distortion, image) in enumerate(zip(arrays["distortion"], arrays["image"], strict=True)):
        group = frame[frame["distortion"] == distortion]  # type: ignore[index]
        worst = (group["prediction"] - group["target"]).abs().idxmax()
        assert image == group["image"][worst]
        assert list(arrays["top"][i]) == [n % 9 for n in range(3 * worst, 3 * worst + 3)]
        assert (arrays["map"].reshape(-1, 6)[i] == dataset.images.index(image)).all()


def test_large_images_become_thumbnails_and_corners_go_with_them() -> None:
    file, factor = worst_images._thumbnail(np.zeros((600, 768, 3), dtype=np.uint8))
    assert factor == 0.5 and Image.open(io.BytesIO(file)).size == (384, 300)
    assert worst_images._thumbnail(np.zeros((60, 70, 3), dtype=np.uint8))[1] == 1


@pytest.mark.parametrize("maps", [False, True])
def test_the_picture_draws_every_crop_and_says_what_was_predicted(maps: bool) -> None:
    arrays, _ = kept(maps)
    figure = pictures.worst_images(arrays)
    drawn = [axes for axes in figure.axes if axes.patches]
    assert len(drawn) == len(arrays["distortion"])
    assert all(len(axes.patches) == 2 * 3 for axes in drawn)
    assert f"predicted {arrays['prediction'][0]:.2f}, true {arrays['target'][0]:.2f}" in drawn[0].get_title(loc="left")
    assert sum("drawn from" in axes.get_title(loc="left") for axes in figure.axes) == maps * len(drawn)
    figure.canvas.draw()
