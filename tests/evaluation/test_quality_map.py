"""Quality by place: crops stay on the grid and in the image, and the map says of a place what the crops over it say."""

import numpy as np
import pytest
import torch
from torch import nn

from gada_ray.evaluation import quality_map
from gada_ray.evaluation.quality_map import QualityMap, compute_quality_map, lattice
from tests.toy import CPU, tiny

PX = tiny().data.crop_px


class Brightness(nn.Module):
    """Says of a crop how bright it is, and counts the crops that it sees at once."""

    most = 0

    def evaluate(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.most = max(self.most, len(images))
        return images.mean(dim=(1, 2, 3)), torch.ones(len(images))


@pytest.mark.parametrize(("side", "px", "grid"), [(100, 32, 8), (101, 32, 8), (97, 36, 8), (64, 64, 8), (50, 16, 1)])
def test_crops_overlap_by_at_least_half_lie_on_the_grid_and_reach_the_far_end(side: int, px: int, grid: int) -> None:
    corners = lattice(side, px, grid)
    assert corners[0] == 0 and (corners % grid == 0).all()
    assert side - px - grid < corners[-1] <= side - px
    assert (np.diff(corners) > 0).all() and (np.diff(corners) <= max(grid, px / 4)).all()


def test_an_even_image_has_an_even_map() -> None:
    image = np.full((3 * PX + 5, 2 * PX + 3, 3), 51, dtype=np.uint8)
    found = compute_quality_map(Brightness(), image, tiny(), CPU)  # type: ignore[arg-type]
    assert found.resized(*image.shape[:2]) == pytest.approx(np.full(image.shape[:2], 0.2))


def test_the_map_is_low_where_the_image_is_and_high_where_it_is_not() -> None:
    image = np.full((6 * PX, 8 * PX, 3), 255, dtype=np.uint8)
    image[PX : 3 * PX, 5 * PX : 7 * PX] = 0
    found = compute_quality_map(Brightness(), image, tiny(), CPU)  # type: ignore[arg-type]
    shown = found.resized(6 * PX, 8 * PX)
    assert shown[2 * PX, 6 * PX] < 0.1
    assert shown[4 * PX :, : 4 * PX].min() == pytest.approx(1)
    assert shown[2 * PX, 4 * PX] > 0.9 and shown[2 * PX, 5 * PX] == pytest.approx(0.5, abs=0.1)


def test_crops_are_those_of_the_image_and_no_more_are_in_memory_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_map, "CROPS_AT_ONCE", 7)
    image = np.random.default_rng(0).integers(0, 256, (3 * PX, 4 * PX, 3), dtype=np.uint8)
    image.flags.writeable = False
    quality_network = Brightness()
    found = compute_quality_map(quality_network, image, tiny(), CPU)  # type: ignore[arg-type]
    wanted = [[image[t : t + PX, s : s + PX].mean() / 255 for s in found.left] for t in found.top]
    assert found.quality == pytest.approx(np.array(wanted), abs=1e-6)
    assert quality_network.most == 7


def test_a_smaller_picture_shows_the_same_map_and_no_value_leaves_the_crops_range() -> None:
    quality = np.random.default_rng(1).random((9, 13))
    found = QualityMap(quality, np.arange(9) * 8, np.arange(13) * 8, 32)
    large = found.resized(96, 128)
    assert quality.min() <= large.min() <= large.max() <= quality.max()
    halved = large.reshape(48, 2, 64, 2).mean(axis=(1, 3))
    assert found.resized(48, 64, 0.5) == pytest.approx(halved, abs=0.01)
    assert (found.resized(103, 135)[96:, 128:] == large[-1, -1]).all(), "what no crop reaches is as its neighbour"


def test_an_image_of_one_crop_has_one_value() -> None:
    found = compute_quality_map(Brightness(), np.full((PX, PX, 3), 102, dtype=np.uint8), tiny(), CPU)  # type: ignore[arg-type]
    assert found.quality.shape == (1, 1)
    assert found.resized(5, 7, 0.3) == pytest.approx(np.full((5, 7), 0.4))
