"""Where crops are taken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gada_ray.data import sampling
from gada_ray.data.dataset import DataError
from gada_ray.data.sampling import Sampler, Windows
from tests.toy import toy_dataset


def drawn(sampler: Sampler, count: int, image: int = 0) -> Windows:
    draws = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return sampler.windows(torch.full((count,), image), draws)


def spot(height: int = 64, width: int = 96) -> np.ndarray:
    """A dull picture with one bright square, at 40 px from the top and 64 from the left."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[40:48, 64:72] = 250
    return image


@pytest.mark.parametrize("grid", [1, 4, 8, 12, 16])
def test_a_flat_map_gives_every_window_on_the_grid_the_same_probability(grid: int) -> None:
    height, width, px = 44, 61, 16
    sampler = Sampler([np.full((6, 8), 7, np.uint8)], [(height, width)], px, grid, 1.0)
    rows, columns = (np.arange(0, side - px + 1, grid) for side in (height, width))
    everywhere = (torch.arange(len(rows) * len(columns), dtype=torch.float64) + 0.5) / (len(rows) * len(columns))
    windows = sampler.windows(torch.zeros(len(everywhere), dtype=torch.long), everywhere)
    places = set(zip(windows.top.tolist(), windows.left.tolist(), strict=True))
    assert places == {(top, left) for top in rows.tolist() for left in columns.tolist()}
    assert windows.weight.tolist() == [1.0] * len(everywhere)


def test_windows_lie_inside_images_of_any_size() -> None:
    random = np.random.default_rng(0)
    shapes = [(16, 16), (17, 40), (63, 23), (128, 128)]
    maps = [random.integers(0, 256, (-(-h // 8), -(-w // 8))).astype(np.uint8) for h, w in shapes]
    for grid in (1, 3, 8):
        sampler = Sampler(maps, shapes, 16, grid, 0.3)
        for image, (height, width) in enumerate(shapes):
            windows = drawn(sampler, 2000, image)
            assert windows.top.min() >= 0 and windows.top.max() <= height - 16
            assert windows.left.min() >= 0 and windows.left.max() <= width - 16
            assert not ((windows.top % grid).any() or (windows.left % grid).any())


def test_weights_are_the_inverse_probabilities_of_windows() -> None:
    cells = np.random.default_rng(2).integers(0, 256, (5, 6)).astype(np.uint8)
    sampler = Sampler([cells], [(40, 48)], 16, 8, 0.7)
    windows = drawn(sampler, 200_000)
    numbers = windows.top // 8 * 5 + windows.left // 8
    counted = torch.bincount(numbers, minlength=20) / 200_000
    said = torch.zeros(20).index_put_((numbers,), (1 / (20 * windows.weight)).float())
    torch.testing.assert_close(counted, said, atol=0.004, rtol=0)
    assert said.max() > 2 * said.min()


def test_temperature_changes_sampling_from_uniform_to_the_maximum() -> None:
    maps = [sampling.levels(sampling.activity(np.roll(spot(), 3, axis=1)))]
    shares = []
    for temperature in (1000.0, 1.0, 0.01):
        windows = drawn(Sampler(maps, [(64, 96)], 16, 8, temperature), 4000)
        inside = ((windows.top - 36).abs() <= 4) & ((windows.left - 64).abs() <= 8)
        shares.append(inside.float().mean().item())
    uniform = 6 / (7 * 11)
    assert shares[0] == pytest.approx(uniform, abs=0.02)
    assert shares[0] < shares[1] and shares[2] > 0.9


def test_maps_are_highest_at_a_square_on_a_flat_picture() -> None:
    image = spot()
    for found in (sampling.saliency(image), sampling.activity(np.roll(image, 3, axis=1))):
        top, left = np.unravel_index(found.argmax(), found.shape)
        assert abs(int(top) - 5) <= 1 and abs(int(left) - 8) <= 1
    changed = image.copy()
    changed[0:8, 0:16] += 9
    assert np.argwhere(sampling.difference(changed, image)).tolist() == [[0, 0], [0, 1]]
    assert sampling.difference(changed, image).max() == 9


def test_a_uniform_picture_has_a_flat_map() -> None:
    image = np.full((40, 52, 3), 128, np.uint8)
    assert set(sampling.levels(sampling.activity(image)).ravel()) == {255}
    assert sampling.saliency(image).shape == (5, 7)


def test_maps_of_a_dataset_are_made_once_and_fit_its_images() -> None:
    dataset = toy_dataset()
    found = sampling.maps(dataset, "difference")
    assert [each.shape for each in found] == [(h // 8, w // 8) for h, w in dataset.shapes[dataset.first :].tolist()]
    kept = dataset.maps["difference"]
    assert np.array_equal(sampling.maps(dataset, "difference")[3], found[3])
    assert dataset.maps["difference"] is kept
    assert len(kept) < len(dataset.pixels) / 100
    for row in (0, 5):
        expected = sampling.levels(sampling.difference(dataset.distorted_image(row), dataset.reference_image(row)))
        assert np.array_equal(found[row], expected)


def test_the_map_of_differences_needs_references() -> None:
    dataset = dataclasses.replace(toy_dataset(), has_references=False)
    with pytest.raises(DataError, match="no references"):
        sampling.maps(dataset, "difference")
